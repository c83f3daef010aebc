"""DARE's two steps on one expert: drop entries at random, rescale what is left (arXiv 2311.03099).

Draws belong to the element (`methods.common.draws`), so that a mask depends on seed, expert and tensor name only.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from methods.common.contract import Method, Pass, Piece, Role, Seen, Unit, parameter
from methods.common.draws import DRAWS, stream_key
from methods.common.sums import Chunks, chunk_sums, concatenate, total


class DroppingMethod(Method):
    """Parameters and arithmetic of DARE's random drop, whatever combines the sparse task vectors."""

    drop_rate: float = parameter(
        0.9, "share of every task vector dropped at random (p)", "DARE paper; L2S: 0.3 at 1.5B", ge=0, lt=1
    )
    rescale: Literal["inverse", "l1", "none"] = parameter(
        "inverse",
        "factor on what is left: 1 / (1 - drop_rate), the tensor's L1 norm before over after, or none",
        "DARE paper; l1 is mergekit's",
    )
    drops: Literal["all", "linear"] = parameter(
        "all", "entries are dropped from every merged tensor, or from matrices in blocks only", "our choice"
    )
    seed: int = parameter(42, "seed of the random masks", "our choice", ge=0)

    def rescale_passes(self) -> tuple[Pass, ...]:
        """L1 norms of each tensor before and after dropping, where the rescaling needs them."""
        if self.rescale != "l1":
            return ()
        return (Pass("l1", "tensor", self._norms, _join, _factors),)

    def sparse(self, piece: Piece, seen: Seen) -> Tensor:
        """Task vectors after drop and rescale, [M, *shape]."""
        if self.rescale == "l1":
            return self._dropped(piece, seen.of("l1", piece.info))
        factor = 1 / (1 - self.drop_rate) if self.rescale == "inverse" else 1.0
        return self._dropped(piece, (factor,) * len(piece.weights))

    def undropped(self, piece: Piece, expert: int) -> Tensor:
        """One expert's task vector after the drop, not rescaled."""
        if self._drops_none(piece):
            return piece.delta(expert)
        kept = torch.empty(piece.shape)
        self._drop(piece, expert, 1.0, kept)
        return kept

    def _drops_none(self, piece: Piece) -> bool:
        return self.drop_rate == 0 or (self.drops == "linear" and piece.info.role is not Role.LINEAR)

    def _dropped(self, piece: Piece, factors: tuple[float, ...]) -> Tensor:
        """Task vectors times a factor per expert where they are not dropped, 0 elsewhere."""
        if self._drops_none(piece):
            return piece.deltas
        kept = torch.empty_like(piece.deltas)
        for m, factor in enumerate(factors):
            self._drop(piece, m, factor, kept[m])
        return kept

    def _drop(self, piece: Piece, expert: int, factor: float, kept: Tensor) -> None:
        from methods.common import kernels

        kernels.drop(
            piece.delta(expert).flatten().numpy(),
            stream_key(self.seed, piece.ids[expert], piece.info.name),
            piece.start,
            round(self.drop_rate * DRAWS),
            factor,
            kept.flatten().numpy(),
        )

    def _norms(self, unit: Unit, seen: Seen) -> tuple[Chunks, Chunks]:
        (piece,) = unit.pieces.values()
        left = self._dropped(piece, (1.0,) * len(piece.weights))
        return tuple(map(chunk_sums, piece.deltas.abs())), tuple(map(chunk_sums, left.abs()))


def _join(a: tuple[Chunks, Chunks], b: tuple[Chunks, Chunks]) -> tuple[Chunks, Chunks]:
    return concatenate(a[0], b[0]), concatenate(a[1], b[1])


def _factors(sums: tuple[Chunks, Chunks], seen: Seen, key: str) -> tuple[float, ...]:
    """Norm before over norm after per expert; 1 where nothing was left to scale."""
    before, after = ([total(of_expert) for of_expert in side] for side in sums)
    return tuple(b / a if a > 0 else 1.0 for b, a in zip(before, after, strict=True))
