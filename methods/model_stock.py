"""Model Stock: how far to go from the base to the experts' mean, from the angle between them (arXiv 2403.19522)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Seen, parameter
from methods.common.rows import spread, sums_pass


class ModelStock(Method):
    """theta = t mean(theta_m) + (1 - t) theta_0, t = N cos / (1 + (N - 1) cos) with cos the mean over pairs of
    experts of the cosine of their task vectors; a pair with a task vector of zero counts as 0."""

    card: ClassVar[Card] = Card(
        title="Model Stock",
        source="Jang et al. 2024, arXiv 2403.19522; mergekit and FusionBench",
        summary="between base and mean of the experts, by the angle between their task vectors",
        aliases={"filter_wise": "granularity"},
        reconstructed="beyond two experts the common angle is our reading, and so is the limit on negative cosines",
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"
    min_experts: ClassVar[int] = 2

    granularity: Literal["tensor", "row"] = parameter(
        "tensor", "one ratio per tensor, or per row of a matrix (a vector is one row)", "mergekit"
    )
    average: Literal["cosine", "angle"] = parameter(
        "cosine",
        "over pairs of experts: mean cosine, or cosine of the mean angle",
        "mergekit; FusionBench: angle",
    )
    clamp: bool = parameter(
        True,
        "limit the cosine to [0, 1], so that the result lies between base and mean; without it negative cosines "
        "lead away from the experts",
        "our choice",
    )

    def passes(self) -> tuple[Pass, ...]:
        """Inner products of all pairs of task vectors, and from them the ratio: per tensor or per row."""
        return (sums_pass("ratio", self.granularity, _products, self._ratio),)

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, in float64."""
        ratio, _ = seen.of("ratio", piece.info)
        if self.granularity == "row":
            ratio = torch.from_numpy(spread(piece, ratio)).view(piece.base.shape)
        mean = piece.deltas.sum(0, dtype=torch.float64) / len(piece.deltas)
        return (piece.base + ratio * mean).float()

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Every tensor's ratio and cosine (means over its rows)."""
        found = seen.all("ratio").items()
        rows = [(name, "ratio", float(np.mean(ratio))) for name, (ratio, _) in found]
        return rows + [(name, "cosine", float(np.mean(cosine))) for name, (_, cosine) in found]

    def _ratio(self, products: Sequence[float]) -> tuple[float, float]:
        """t and the common cosine, from the inner products of all pairs i <= j; t is 0 where it is undefined."""
        count = (math.isqrt(8 * len(products) + 1) - 1) // 2
        pairs = dict(zip(itertools.combinations_with_replacement(range(count), 2), products, strict=True))
        cosines = [_cosine(inner, pairs[i, i], pairs[j, j]) for (i, j), inner in pairs.items() if i != j]
        if self.average == "angle":
            cosine = math.cos(sum(math.acos(c) for c in cosines) / len(cosines))
        else:
            cosine = sum(cosines) / len(cosines)
        cosine = min(1.0, max(0.0, cosine)) if self.clamp else cosine
        below = 1 + (count - 1) * cosine
        return (count * cosine / below if below else 0.0), cosine


def _products(piece: Piece) -> Iterator[Tensor]:
    """tau_i tau_j element by element for all i <= j, one pair at a time, float64."""
    for a, b in itertools.combinations_with_replacement(piece.deltas, 2):
        yield a.double() * b


def _cosine(inner: float, first: float, second: float) -> float:
    """Of two vectors from their inner product and squared norms; 0 if one of them is 0."""
    size = math.sqrt(first) * math.sqrt(second)
    return max(-1.0, min(1.0, inner / size)) if size > 0 else 0.0


METHOD = ModelStock
