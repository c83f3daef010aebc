"""Sens-Merging: coefficients per layer from each expert's sensitivity and its distance from the others."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Need, Piece, Seen, parameter
from methods.common.on_data import EVERYWHERE, OnData


class Sens(OnData):
    """Layers are blocks; embeddings, last norm and head outside them are layers of their own.

    Each expert is calibrated by its own examples. For a long-to-short pair the source crosses them (short answers
    for the slow model) and counts the base as an expert: list it as one, with the data swapped.
    """

    card: ClassVar[Card] = Card(
        title="Sens-Merging",
        source="Liu et al. 2025, arXiv 2502.12420; settings of Wu et al. 2025 (Long-to-Short)",
        summary="softmax over experts of layer sensitivity times distance between outputs weighs the task vectors",
        aliases={"c": "lambda", "Temp": "temperature"},
        reconstructed="written from the abstract, reviews and a third-party implementation; whether parameters or "
        "task vectors enter the sensitivity, the direction and the norm of the distance, and how lambda enters "
        "are our reading",
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"
    min_experts: ClassVar[int] = 2

    examples: int = parameter(100, "examples of each expert's data", "Long-to-Short study: 100 of s1K", ge=1)
    lambda_: float = parameter(
        0.7,
        "scale on every coefficient",
        "L2S repository: 1.5B 0.4, 7B 0.7, 14B 0.8",
        alias="lambda",
        ge=-10,
        le=10,
    )
    temperature: float = parameter(
        2.0, "temperature of the softmax over experts", "L2S repository: 1.5B 3, 7B 2, 14B 6", gt=0
    )
    product: Literal["theta", "tau"] = parameter(
        "theta",
        "what the gradient is multiplied with: parameters or task vector",
        "third-party implementation",
    )
    alignment: Literal["distance", "similarity"] = parameter(
        "distance",
        "an expert far from the others weighs more, or less (the others' mean distance in place of its own)",
        "third-party implementation",
    )
    t_norm: Literal["l1", "l2"] = parameter("l1", "norm that scales the distances over experts", "our choice")

    def needs(self) -> tuple[Need, ...]:
        """Sensitivities of each expert's layers on its own examples, distances between the experts' logits."""
        sensitivity = {**self.data_options, "product": self.product}
        return (
            Need(
                "sensitivity",
                "sensitivity_data",
                "experts",
                sensitivity,
                data="own",
                roles=EVERYWHERE,
                scope="block",
            ),
            Need("distance", "distance_data", "experts", self.data_options, data="all", scope="model"),
        )

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32: theta_0 + sum_m coefficient_m,l tau_m."""
        found = self.coefficients(piece.info.key("block"), seen).float()
        return piece.base + torch.tensordot(found, piece.deltas, dims=1)

    def coefficients(self, layer: str, seen: Seen) -> Tensor:
        """[M] float64: lambda M softmax_m(a_m,l t_m / temperature)."""
        shares = self._sensitivity(layer, seen) * self._distance(seen)
        return self.lambda_ * len(shares) * (shares / self.temperature).softmax(0)

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Every layer's coefficients."""
        return [
            (layer, f"coefficient_{m}", float(value))
            for layer in seen.all("sensitivity")
            for m, value in enumerate(self.coefficients(layer, seen))
        ]

    def _sensitivity(self, layer: str, seen: Seen) -> Tensor:
        """a_m,l [M]: sensitivities scaled to L2 norm 1 over each expert's layers."""
        norms, own = _norms(seen), _row(seen.group("sensitivity", layer))
        return torch.where(norms > 0, own / norms, 0.0)

    def _distance(self, seen: Seen) -> Tensor:
        """t_m [M]: summed distances to the other experts, scaled to norm 1; equal where all are 0."""
        rows = torch.stack([row.double() for row in seen.group("distance", "model")])
        sums = rows.sum(1) - rows.diagonal()
        if self.alignment == "similarity":
            sums = (sums.sum() - sums) / (len(sums) - 1)
        sums = sums if float(sums.sum()) > 0 else torch.ones_like(sums)
        return sums / (sums.sum() if self.t_norm == "l1" else sums.norm())


@lru_cache(maxsize=1)
def _norms(seen: Seen) -> Tensor:
    """[M] L2 norm of each expert's sensitivities over its layers. They are given before anything is merged, and
    every run of elements of a merge asks for the same norms."""
    rows = [_row(row) for row in seen.all("sensitivity").values()]
    return torch.stack(rows).norm(dim=0)


def _row(values: Sequence[Tensor]) -> Tensor:
    """Experts' scalars as one vector [M] in float64."""
    return torch.stack([value.double().reshape(()) for value in values])


METHOD = Sens
