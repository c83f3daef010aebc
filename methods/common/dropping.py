"""DARE's two steps on one expert: drop entries at random, rescale what is left (arXiv 2311.03099).

Draws belong to the element (`methods.common.draws`), so that a mask depends on seed, expert and tensor name only.
"""

from __future__ import annotations

import operator
from typing import Literal

import torch
from torch import Tensor

from methods.common.contract import Method, Pass, Piece, Role, Seen, Unit, parameter
from methods.common.draws import uniforms
from methods.common.sums import chunk_sums, total

Sums = tuple[tuple[float, ...], ...]  # chunk sums per expert


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
        kept = self.kept(piece)
        if kept is None:
            return piece.deltas
        if self.rescale == "inverse":
            return piece.deltas * kept * (1 / (1 - self.drop_rate))
        if self.rescale == "none":
            return piece.deltas * kept
        factors = torch.tensor(seen.of("l1", piece.info), dtype=torch.float32)
        return piece.deltas * kept * factors.view(-1, *[1] * piece.base.ndim)

    def kept(self, piece: Piece) -> Tensor | None:
        """What is not dropped, bool [M, *shape]; None where all is kept."""
        if self.drop_rate == 0 or (self.drops == "linear" and piece.info.role is not Role.LINEAR):
            return None
        draws = [
            uniforms(self.seed, expert, piece.info.name, piece.start, piece.base.numel())
            for expert in piece.ids
        ]
        return (torch.stack(draws) >= self.drop_rate).view(piece.deltas.shape)

    def _norms(self, unit: Unit, seen: Seen) -> tuple[Sums, Sums] | None:
        (piece,) = unit.pieces.values()
        kept = self.kept(piece)
        if kept is None:
            return tuple(((1.0,),) * len(piece.experts)), tuple(((1.0,),) * len(piece.experts))
        sizes = piece.deltas.abs()
        return tuple(map(chunk_sums, sizes)), tuple(map(chunk_sums, sizes * kept))


def _join(a: tuple[Sums, Sums], b: tuple[Sums, Sums]) -> tuple[Sums, Sums]:
    before, after = (tuple(map(operator.add, x, y)) for x, y in zip(a, b, strict=True))
    return before, after


def _factors(sums: tuple[Sums, Sums], seen: Seen, key: str) -> tuple[float, ...]:
    """Norm before over norm after per expert; 1 where nothing was left to scale."""
    before, after = ([total(of_expert) for of_expert in side] for side in sums)
    return tuple(b / a if a > 0 else 1.0 for b, a in zip(before, after, strict=True))
