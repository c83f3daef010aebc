"""SLERP: spherical linear interpolation of two models, tensor by tensor (Shoemake 1985; as mergekit does it)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Seen, parameter
from methods.common.rows import spread, sums_pass

TINY = 1e-8  # norms up to here are not divided by
# Absolute cosines above it are 1 but for rounding: the sine that is divided by is noise, or 0.
PARALLEL = 1 - 1e-12


class Slerp(Method):
    """Two models a and b: sin((1-t)w)/sin(w) a + sin(t w)/sin(w) b, w the angle between them.

    With one expert a is the base and b the expert; with two experts a is the first and b the second, and the base
    only gives what is not merged. Vectors that point almost the same way (or opposite ways) are interpolated
    linearly, which between fine-tunes of one base is nearly every tensor.
    """

    card: ClassVar[Card] = Card(
        title="SLERP",
        source="Shoemake 1985; mergekit and FusionBench",
        summary="interpolation of two models on the sphere: base and expert, or two experts",
        aliases={"t": "position", "DOT_THRESHOLD": "threshold"},
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"
    max_experts: ClassVar[int | None] = 2

    position: float = parameter(
        0.5, "where between the two models: 0 is the first, 1 the second (t)", "FusionBench", ge=0, le=1
    )
    threshold: float = parameter(
        0.9995, "absolute cosine above which the interpolation is linear", "mergekit", gt=0, le=1
    )
    granularity: Literal["tensor", "row"] = parameter(
        "tensor", "one angle per tensor, or per row of a matrix (a vector is one row)", "mergekit"
    )
    on: Literal["weights", "deltas"] = parameter(
        "weights",
        "what is interpolated: weights, or task vectors added to the base (with one expert the first is 0, and the "
        "interpolation linear)",
        "mergekit",
    )

    def passes(self) -> tuple[Pass, ...]:
        """Angles, and from them the two factors: per tensor or per row."""
        return (sums_pass("angle", self.granularity, self._products, self._factors),)

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, in float64."""
        first, second = self._ends(piece)
        left, right, *_ = seen.of("angle", piece.info)
        if self.granularity == "row":
            left, right = (torch.from_numpy(spread(piece, x)).view(piece.base.shape) for x in (left, right))
        merged = left * first + right * second
        return (piece.base + merged if self.on == "deltas" else merged).float()

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Cosine of every tensor (mean over its rows), and which fraction of tensors or rows lay on the sphere."""
        found = seen.all("angle")
        rows = [(name, "cosine", float(np.mean(cosine))) for name, (_, _, cosine, _) in found.items()]
        spherical = [np.atleast_1d(chosen) for _, _, _, chosen in found.values()] or [np.zeros(1)]
        return [*rows, ("model", "spherical_fraction", float(np.concatenate(spherical).mean()))]

    def _ends(self, piece: Piece) -> tuple[Tensor, Tensor]:
        """The two vectors, float64."""
        first = piece.base if len(piece.experts) == 1 else piece.experts[0]
        ends = first.double(), piece.experts[-1].double()
        return (ends[0] - piece.base, ends[1] - piece.base) if self.on == "deltas" else ends

    def _products(self, piece: Piece) -> Iterator[Tensor]:
        """a a, b b and a b, element by element, one at a time."""
        first, second = self._ends(piece)
        yield from (a * b for a, b in ((first, first), (second, second), (first, second)))

    def _factors(self, products: Sequence[float]) -> tuple[float, float, float, float]:
        """Factors on the two vectors, their cosine, and whether the way lay on the sphere (1) or was straight (0),
        from |a|^2, |b|^2 and <a, b>.

        A vector of norm 1e-8 or less is not normalised. Between a task vector of 0 and another the way is straight;
        weights of 0 are at a right angle to all others, as in mergekit.
        """
        first, second, inner = products
        norms = [math.sqrt(square) if math.sqrt(square) > TINY else 1.0 for square in (first, second)]
        cosine = inner / (norms[0] * norms[1])
        t = self.position
        still = self.on == "deltas" and 0 in (first, second)
        if abs(cosine) > self.threshold or abs(cosine) > PARALLEL or still:
            return 1 - t, t, cosine, 0.0
        angle = math.acos(cosine)
        return math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle), cosine, 1.0


METHOD = Slerp
