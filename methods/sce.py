"""SCE: select by variance over experts, calculate each expert's share, erase minority signs (arXiv 2408.07990)."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Seen, Unit, parameter
from methods.common.selection import Selection
from methods.common.sums import CHUNK, Chunks, concatenate, total


class Sce(Method):
    """Per tensor: theta = theta_0 + sum_m c_m tau_m e_m / sum_m c_m e_m over the experts of the majority sign.

    c_m is the expert's share of the squared task vectors after selection; shares are equal only where all task
    vectors are 0.
    """

    card: ClassVar[Card] = Card(
        title="SCE",
        source="FuseChat, Wan et al. 2024, arXiv 2408.07990; mergekit",
        summary="positions of large variance, experts weighted by their energy, minority signs erased",
        aliases={"select_topk": "keep"},
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"
    min_experts: ClassVar[int] = 2

    keep: float = parameter(
        1.0,
        "fraction kept of the positions whose variance over experts is not 0, rounded down; 1 keeps every position",
        "mergekit; 0.1 in the FuseChat paper",
        gt=0,
        le=1,
    )

    @property
    def selected(self) -> Selection:
        """The positions of largest variance, the same for all experts."""
        return Selection("select", "tensor", self.keep, "exact", score=_deviation, shared=True, nonzero=True)

    def passes(self) -> tuple[Pass, ...]:
        """The variance that a position must reach, then every expert's energy."""
        energy = Pass("energy", "tensor", self._observe_energy, concatenate, lambda t, seen, key: _shares(t))
        return (*(self.selected.passes() if self.keep < 1 else ()), energy)

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements; sums over experts in float64."""
        from methods.common import variance

        deltas, merged = _rows(piece), np.empty(piece.base.numel(), np.float32)
        shares = np.array(seen.of("energy", piece.info))
        variance.majority_mean(deltas, self._kept(piece, seen), shares, merged)
        return piece.base + torch.from_numpy(merged).view(piece.base.shape)

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Every tensor's largest share of one expert (1 / M when all weigh the same)."""
        return [(name, "largest_share", max(shares)) for name, shares in seen.all("energy").items()]

    def _kept(self, piece: Piece, seen: Seen) -> NDArray[np.bool_]:
        """Which positions are selected, [n]."""
        if self.keep == 1:
            return np.ones(piece.base.numel(), dtype=np.bool_)
        return self.selected.mask(piece, 0, seen).flatten().numpy()

    def _observe_energy(self, unit: Unit, seen: Seen) -> Chunks:
        from methods.common import variance

        (piece,) = unit.pieces.values()
        sums = np.empty((len(piece.experts), -(-piece.base.numel() // CHUNK)))
        variance.energies(_rows(piece), self._kept(piece, seen), CHUNK, sums)
        return tuple(tuple(row) for row in sums.tolist())


def _rows(piece: Piece) -> NDArray[np.float32]:
    """Task vectors [M, n]."""
    return piece.deltas.flatten(1).numpy()


def _deviation(piece: Piece, expert: int) -> Tensor:
    """Root of the population variance over experts: positions rank as by the variance."""
    from methods.common import variance

    found = np.empty(piece.base.numel(), np.float32)
    variance.deviation(_rows(piece), found)
    return torch.from_numpy(found).view(piece.base.shape)


def _shares(chunks: Chunks) -> tuple[float, ...]:
    """c_m: mean squares over the tensor, normalised to sum 1."""
    energy = [total(sums) for sums in chunks]
    whole = sum(energy)
    return tuple(e / whole for e in energy) if whole > 0 else (1 / len(energy),) * len(energy)


METHOD = Sce
