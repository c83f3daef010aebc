"""AdaMerging: coefficients of the task vectors that make the merged classifiers sure of unlabelled inputs."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Method, Need, Piece, Seen, parameter


class AdaMerging(Method):
    """One coefficient per expert, or per expert and parameter tensor (norms and biases included).

    Heads are frozen and stay with their tasks. Entropy needs classes: models that write text have none, and this
    method does not apply to them.
    """

    card: ClassVar[Card] = Card(
        title="AdaMerging",
        source="Yang et al. 2024, arXiv 2310.02575; released code, EnnengYang/AdaMerging; fusion_bench",
        summary="coefficients tuned by gradient descent on the entropy of predictions (transductive: it looks at "
        "inputs of the task, without their labels)",
        aliases={"lr": "learning_rate"},
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"

    granularity: Literal["task", "layer"] = parameter(
        "layer",
        "one coefficient per expert, or one per expert and tensor",
        "original code: both; layer is better",
    )
    initial: float = parameter(0.3, "coefficients at the start", "original code", ge=-10, le=10)
    learning_rate: float = parameter(
        1e-3, "step size of Adam", "original code; fusion_bench GPT-2: 1e-4", gt=0
    )
    beta1: float = parameter(0.9, "Adam's decay of the mean", "original code", ge=0, lt=1)
    beta2: float = parameter(0.999, "Adam's decay of the squares", "original code", ge=0, lt=1)
    steps: int = parameter(
        500, "optimiser steps; 0 leaves the start", "original code; fusion_bench: 1000", ge=0
    )
    batch: int = parameter(
        16, "inputs of each task in one step", "fusion_bench; original code: 2 batches of 16", ge=1
    )
    clamp: bool = parameter(True, "keep coefficients within 0 and 1", "original code; fusion_bench: off")
    entropy_of: Literal["example", "batch_mean"] = parameter(
        "example",
        "mean over inputs of the entropy of each, or the entropy of the batch's mean logits",
        "original code; fusion_bench GPT-2: batch_mean",
    )
    max_length: int = parameter(512, "tokens kept of one input", "our choice", ge=2)
    seed: int = parameter(42, "seed of the batches", "our choice", ge=0)

    def needs(self) -> tuple[Need, ...]:
        """The optimised coefficients."""
        options = {
            "initial": self.initial,
            "learning_rate": self.learning_rate,
            "beta1": self.beta1,
            "beta2": self.beta2,
            "steps": self.steps,
            "batch": self.batch,
            "clamp": self.clamp,
            "max_length": self.max_length,
            "seed": self.seed,
        }
        objective = mean_entropy if self.entropy_of == "example" else entropy_of_mean
        scope: Literal["model", "tensor"] = "model" if self.granularity == "task" else "tensor"
        return (
            Need("coefficients", "optimised", "base", options, data="all", scope=scope, objective=objective),
        )

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32: theta_0 + sum_m coefficient_m tau_m."""
        (found,) = seen.of("coefficients", piece.info)
        return piece.base + torch.tensordot(found.float(), piece.deltas, dims=1)

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Every coefficient."""
        return [
            (layer, f"coefficient_{m}", float(value))
            for layer, (found,) in seen.all("coefficients").items()
            for m, value in enumerate(found)
        ]


def mean_entropy(logits: Tensor) -> Tensor:
    """Mean over a batch of the entropy of softmax(logits), in nats; logits [batch, classes] to a scalar."""
    log_p = logits.log_softmax(-1)
    return -(log_p.exp() * log_p).sum(-1).mean()


def entropy_of_mean(logits: Tensor) -> Tensor:
    """Entropy of the softmax of a batch's mean logits, in nats; logits [batch, classes] to a scalar."""
    return mean_entropy(logits.mean(0, keepdim=True))


METHOD = AdaMerging
