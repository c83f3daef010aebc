"""Layer coefficients of FIM-Merging: from the Fisher at the base and the task vectors to one alpha per layer.

Source: "Data-Free Layer-Adaptive Merging via Fisher Information", arXiv 2603.21705, Algorithm 1 steps 1 to 3,
eqs. 7 to 11. The paper leaves open what a layer is, how a layer is pooled and which sigmoid shift is meant;
every reading is a parameter.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import ClassVar, Literal

import torch
from pydantic import PositiveFloat

from methods.common.contract import Method, Need, Pass, Piece, Role, Seen, TensorInfo, Unit, parameter

Signal = Literal["fim_x_delta", "fim", "delta"]
Shift = Literal["max", "median"]

ALPHA_TOP = 1 - 1 / (
    1 + math.exp(1)
)  # 0.731059: the coefficient of the lowest score under adaptive sharpness
LOG_FLOOR = 1e-30


@dataclass(frozen=True)
class ModuleSums:
    """What one matrix contributes to its layer: sums over its elements, in float64."""

    block: int
    n: int
    fisher: float
    squares: tuple[float, ...]  # of each expert's task vector


@dataclass(frozen=True)
class Coefficients:
    """Alpha per layer (and per expert), with what they were computed from, by layer name."""

    alphas: Mapping[str, tuple[float, ...]]
    fisher: Mapping[str, float] = field(default_factory=dict)
    delta: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    floored: int = 0
    modules: tuple[str, ...] = ()

    def mean(self) -> float:
        """Mean coefficient over layers and experts."""
        every = [alpha for alphas in self.alphas.values() for alpha in alphas]
        return sum(every) / len(every) if every else ALPHA_TOP


def is_layer_matrix(info: TensorInfo) -> bool:
    """Whether a tensor is in T: a matrix inside a transformer block (no embedding, norm or head)."""
    return info.role is Role.LINEAR and info.block is not None and len(info.shape) == 2


def score(fisher: float, delta: float, signal: Signal) -> float:
    """s_l = log(Fbar_l D_l) (eq. 8), or one of its two factors; minus infinity for a dead layer (F or tau is 0)."""
    if fisher == 0 or delta == 0:
        return -math.inf
    return math.log(max({"fim_x_delta": fisher * delta, "fim": fisher, "delta": delta}[signal], LOG_FLOOR))


def layer_alphas(
    scores: Sequence[float], *, shift: Shift = "max", sharpness: float | None = None
) -> list[float]:
    """alpha_l = 1 - sigmoid(theta_s (s_l - shift)), theta_s = 1 / range when `sharpness` is None (eqs. 9-11).

    A dead layer (score minus infinity) is left out of shift and range and gets 0.731059. When all scores are
    equal the range is zero and alpha is 0.5.
    """
    alive = [s for s in scores if s != -math.inf]
    if not alive:
        return [ALPHA_TOP] * len(scores)
    spread = max(alive) - min(alive)
    origin = max(alive) if shift == "max" else median(alive)
    if sharpness is None and spread == 0:
        return [0.5 if s != -math.inf else ALPHA_TOP for s in scores]
    theta = 1 / spread if sharpness is None else sharpness
    # 1 - sigmoid(x) = (1 - tanh(x / 2)) / 2, which never overflows.
    return [ALPHA_TOP if s == -math.inf else (1 - math.tanh(theta * (s - origin) / 2)) / 2 for s in scores]


class FimMethod(Method):
    """Parameters and passes shared by FIM-TA and FIM-TIES: random-token Fisher and layer coefficients."""

    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"

    embeddings: Literal["merge"] = parameter(
        "merge", "embeddings and head follow `outside`: there is no other choice here", "FIM paper"
    )
    norms: Literal["same"] = parameter(
        "same", "norms follow `outside`, biases follow `biases`: there is no other choice here", "FIM paper"
    )

    samples: int = parameter(8, "random sequences for the Fisher (N)", "FIM paper", ge=1)
    length: int = parameter(64, "tokens of each random sequence (L)", "FIM paper", ge=2)
    seed: int = parameter(42, "seed of the random tokens and of the probes", "FIM paper", ge=0)
    vocabulary: Literal["config", "tokenizer"] = parameter(
        "config", "tokens are drawn from all embedding rows, or from the tokenizer's", "our choice"
    )
    fisher_dtype: Literal["checkpoint", "float32", "bfloat16"] = parameter(
        "checkpoint",
        "dtype of the Fisher's forward and backward pass; squares are summed in float32",
        "our choice",
    )
    granularity: Literal["block", "module"] = parameter(
        "block", "what a layer is: a transformer block, or every matrix", "our choice"
    )
    pooling: Literal["elements", "modules"] = parameter(
        "elements", "a block's value: mean over its elements, or mean of its matrices' values", "our choice"
    )
    reduction: Literal["mean", "sum"] = parameter("mean", "mean or sum over elements", "our choice")
    signal: Signal = parameter("fim_x_delta", "what scores a layer", "FIM paper; signal ablation")
    shift: Shift = parameter("max", "sigmoid shift: largest score, or median only", "FIM eq. 10")
    sharpness: Literal["adaptive"] | PositiveFloat = parameter(
        "adaptive", "sigmoid sharpness: 1 / range of the scores, or a number", "FIM eq. 10"
    )
    expert_alpha: Literal["shared", "own"] = parameter(
        "shared",
        "several experts (our extension): one alpha from the mean of their D, or one each",
        "our choice",
    )
    outside: Literal["base", "mean_alpha", "expert"] | float = parameter(
        "base",
        "embeddings, norms and head: the base's, or base + mean alpha, 1 or a number times the task vector",
        "FIM paper: Algorithm 1 updates only layers in T",
    )
    biases: Literal["alpha", "base"] = parameter(
        "alpha", "biases in blocks: the block's alpha, or base", "our choice"
    )

    def leaves(self, role: Role, block: int | None) -> bool:
        """With `outside=base`, everything but the matrices and biases of blocks."""
        return self.outside == "base" and (block is None or role not in (Role.LINEAR, Role.BIAS))

    def needs(self) -> tuple[Need, ...]:
        """Diagonal Fisher of the base on uniformly random tokens (eq. 7)."""
        options = {
            "samples": self.samples,
            "length": self.length,
            "seed": self.seed,
            "vocabulary": self.vocabulary,
            "dtype": self.fisher_dtype,
        }
        return (Need("fisher", "fisher_random_tokens", "base", options),)

    @property
    def coefficients_pass(self) -> Pass:
        """One sweep: sums per matrix, then every layer's alpha."""
        return Pass("coefficients", "model", _observe, lambda a, b: {**a, **b}, self._coefficients)

    def alphas(self, info: TensorInfo, seen: Seen) -> tuple[float, ...]:
        """The coefficients of a tensor's layer, one per expert (equal when shared)."""
        found: Coefficients = seen.group("coefficients", "model")
        return found.alphas[self._layer(info.module, info.block)]

    def outside_scale(self, seen: Seen) -> float:
        """Factor on the task vector of what is outside T."""
        if self.outside == "base":
            return 0.0
        if self.outside == "mean_alpha":
            return seen.group("coefficients", "model").mean()
        return 1.0 if self.outside == "expert" else float(self.outside)

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Alpha, score, mean Fisher and mean squared task vector per layer."""
        found: Coefficients = seen.group("coefficients", "model")
        rows = [(layer, "alpha", sum(alphas) / len(alphas)) for layer, alphas in found.alphas.items()]
        for metric, values in (
            ("score", found.scores),
            ("fisher_mean", found.fisher),
            ("delta_mean_square", found.delta),
        ):
            rows += [(layer, metric, value) for layer, value in values.items() if math.isfinite(value)]
        return [*rows, ("model", "floored_scores", float(found.floored))]

    def _layer(self, module: str, block: int | None) -> str:
        return module if self.granularity == "module" else f"block {block}"

    def _coefficients(self, total: dict[str, ModuleSums], seen: Seen, key: str) -> Coefficients:
        groups: dict[str, list[ModuleSums]] = {}
        for module, sums in total.items():
            groups.setdefault(self._layer(module, sums.block), []).append(sums)
        fisher = {layer: self._pool([m.fisher for m in group], group) for layer, group in groups.items()}
        experts = range(len(next(iter(total.values())).squares))
        deltas = [
            {layer: self._pool([m.squares[e] for m in group], group) for layer, group in groups.items()}
            for e in experts
        ]
        mean_delta = {layer: sum(d[layer] for d in deltas) / len(deltas) for layer in groups}
        own = [self._alphas(fisher, d) for d in (deltas if self.expert_alpha == "own" else [mean_delta])]
        alphas = {layer: tuple(own[e if len(own) > 1 else 0][layer] for e in experts) for layer in groups}
        scores = {layer: score(fisher[layer], mean_delta[layer], self.signal) for layer in groups}
        floored = sum(value == math.log(LOG_FLOOR) for value in scores.values())
        return Coefficients(alphas, fisher, mean_delta, scores, floored, tuple(total))

    def _alphas(self, fisher: Mapping[str, float], delta: Mapping[str, float]) -> dict[str, float]:
        sharpness = None if self.sharpness == "adaptive" else float(self.sharpness)
        scores = [score(fisher[layer], delta[layer], self.signal) for layer in fisher]
        return dict(zip(fisher, layer_alphas(scores, shift=self.shift, sharpness=sharpness), strict=True))

    def _pool(self, sums: list[float], group: list[ModuleSums]) -> float:
        values = sums if self.reduction == "sum" else [s / m.n for s, m in zip(sums, group, strict=True)]
        if self.pooling == "modules":
            return sum(values) / len(values)
        return sum(sums) if self.reduction == "sum" else sum(sums) / sum(m.n for m in group)


def _observe(unit: Unit, seen: Seen) -> dict[str, ModuleSums] | None:
    found = {piece.info.module: _sums(piece) for piece in unit.pieces.values() if is_layer_matrix(piece.info)}
    return found or None


def _sums(piece: Piece) -> ModuleSums:
    assert piece.info.block is not None
    squares = tuple(float((delta * delta).sum(dtype=torch.float64)) for delta in piece.deltas)
    fisher = float(piece.statistics["fisher"][0].sum(dtype=torch.float64))
    return ModuleSums(piece.info.block, piece.base.numel(), fisher, squares)
