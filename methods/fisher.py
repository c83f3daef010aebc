"""Fisher averaging: every parameter is the mean of the experts', weighted by its Fisher (arXiv 2111.09832)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Need, Pass, Piece, Seen, Unit, parameter
from methods.common.data_fisher import FISHER, DataFisherMethod, Sums, add_sums
from methods.common.sums import chunk_sums, total


class FisherAveraging(DataFisherMethod):
    """theta = sum_m c_m (F_m + eps) theta_m / sum_m c_m (F_m + eps), c_m the experts' weights.

    The relative floor is one number for the whole model and the same for all experts: `floor` times the mean of
    F over all merged parameters and experts. Only an equal floor gives the plain mean where every F is 0.
    """

    card: ClassVar[Card] = Card(
        title="Fisher averaging",
        source="Matena and Raffel 2022, arXiv 2111.09832; its code",
        summary="mean of the experts weighted by the diagonal Fisher of each on its own data",
        aliases={"eps": "floor", "fisher_floor": "floor", "normalize_fisher_weight": "normalize_fisher"},
    )
    min_experts: ClassVar[int] = 2

    floor: float = parameter(
        1e-10,
        "floor of the Fisher, in the unit that `floor_rule` says",
        "our choice; the codes' are absolute",
        ge=0,
    )
    floor_rule: Literal["relative", "absolute", "max"] = parameter(
        "relative",
        "F + floor * mean(F) of the whole model and all experts, F + floor, or max(F, floor)",
        "our choice: an absolute 1e-6 exceeds most of an LLM's Fisher and averages plainly",
    )

    def needs(self) -> tuple[Need, ...]:
        """Every expert's Fisher at its own weights, on its own data."""
        return (self.fisher_need("experts"),)

    def passes(self) -> tuple[Pass, ...]:
        """Size of every Fisher, mean of all, and how often the floor exceeds F."""
        mean = Pass("fisher_mean", "model", self._observe_mean, add_sums, _mean)
        floored = Pass("floored", "tensor", self._observe_floored, _add, lambda t, seen, key: t[0] / t[1])
        return (*self.size_passes, *((mean,) if self.floor_rule == "relative" else ()), floored)

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements; sums over experts in float64, where all weights are 0 the experts' mean."""
        shift = self._shift(seen)
        shape, kind = piece.base.shape, torch.float64
        whole, mass = torch.zeros(shape, dtype=kind), torch.zeros(shape, dtype=kind)
        plain = torch.zeros(shape, dtype=kind)
        for expert, fisher, weight, factor in zip(
            piece.experts, piece.statistics[FISHER], piece.weights, self.factors(piece, seen), strict=True
        ):
            found, values = fisher.double() * factor, expert.double()
            share = weight * (found.clamp_min(self.floor) if self.floor_rule == "max" else found + shift)
            whole += share * values
            mass += share
            plain += weight * values
        return torch.where(mass > 0, whole / mass, plain / sum(piece.weights)).float()

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Fraction of every tensor's coordinates (mean over experts) where the floor exceeds F."""
        return [(name, "floor_exceeds_fisher", part) for name, part in seen.all("floored").items()]

    def _shift(self, seen: Seen) -> float:
        """What is added to F."""
        if self.floor_rule == "relative":
            return self.floor * float(seen.group("fisher_mean", "model"))
        return self.floor if self.floor_rule == "absolute" else 0.0

    def _observe_mean(self, unit: Unit, seen: Seen) -> Sums:
        (piece,) = unit.pieces.values()
        scaled = zip(piece.statistics[FISHER], self.factors(piece, seen), strict=True)
        return piece.base.numel(), tuple(chunk_sums(fisher.double() * factor) for fisher, factor in scaled)

    def _observe_floored(self, unit: Unit, seen: Seen) -> tuple[int, int]:
        (piece,) = unit.pieces.values()
        floor = self.floor if self.floor_rule == "max" else self._shift(seen)
        scaled = zip(piece.statistics[FISHER], self.factors(piece, seen), strict=True)
        found = sum(int((fisher.double() * factor < floor).sum()) for fisher, factor in scaled)
        return found, piece.experts.numel()


def _mean(sums: Sums, seen: Seen, key: str) -> float:
    n, rows = sums
    return total([x for row in rows for x in row]) / (n * len(rows))


def _add(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    return a[0] + b[0], a[1] + b[1]


METHOD = FisherAveraging
