"""SCE: select by variance over experts, calculate each expert's share, erase minority signs (arXiv 2408.07990)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Seen, Unit, parameter
from methods.common.selection import Selection
from methods.common.sums import Chunks, chunk_sums, concatenate, total


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
        return Selection(
            "select", "tensor", self.keep, "exact", score=_deviation, tie=_variance, shared=True, nonzero=True
        )

    def passes(self) -> tuple[Pass, ...]:
        """The variance that a position must reach, then every expert's energy."""
        energy = Pass("energy", "tensor", self._observe_energy, concatenate, lambda t, seen, key: _shares(t))
        return (*(self.selected.passes() if self.keep < 1 else ()), energy)

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements; sums over experts in float64."""
        deltas = self._kept(piece, seen)
        positive = deltas.sum(0, dtype=torch.float64) >= 0
        whole = torch.zeros_like(piece.base, dtype=torch.float64)
        mass = torch.zeros_like(whole)
        for delta, share in zip(deltas, seen.of("energy", piece.info), strict=True):
            agrees = torch.where(positive, delta > 0, delta < 0)
            whole += torch.where(agrees, share * delta.double(), 0.0)
            mass += torch.where(agrees, share, 0.0)
        return (piece.base + torch.where(mass > 0, whole / mass, 0.0)).float()

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Every tensor's largest share of one expert (1 / M when all weigh the same)."""
        return [(name, "largest_share", max(shares)) for name, shares in seen.all("energy").items()]

    def _kept(self, piece: Piece, seen: Seen) -> Tensor:
        """Task vectors [M, *shape], 0 where the position is not selected."""
        return piece.deltas if self.keep == 1 else piece.deltas * self.selected.mask(piece, 0, seen)

    def _observe_energy(self, unit: Unit, seen: Seen) -> Chunks:
        (piece,) = unit.pieces.values()
        return tuple(chunk_sums(delta.double().square()) for delta in self._kept(piece, seen))


def _variance(piece: Piece, expert: int) -> Tensor:
    """Population variance over experts, summed in float64."""
    mean = piece.deltas.sum(0, dtype=torch.float64) / len(piece.deltas)
    total = torch.zeros_like(mean)
    for delta in piece.deltas:
        total += (delta - mean).square()
    return total / len(piece.deltas)


def _deviation(piece: Piece, expert: int) -> Tensor:
    """Its root, in whose float32 small task vectors do not vanish."""
    return _variance(piece, expert).sqrt()


def _shares(chunks: Chunks) -> tuple[float, ...]:
    """c_m: mean squares over the tensor, normalised to sum 1."""
    energy = [total(sums) for sums in chunks]
    whole = sum(energy)
    return tuple(e / whole for e in energy) if whole > 0 else (1 / len(energy),) * len(energy)


METHOD = Sce
