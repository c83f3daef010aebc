"""Single order statistics of signed scores within a scope: exact, by counting digits, without sorting or storing.

The bit pattern of a float32 becomes an unsigned key that orders like the number (negative numbers: all bits
inverted; others: the sign bit set). The element at any position of the sorted scores is then found by two
histograms of 16-bit digits, as in `methods.common.selection`, which keeps the largest magnitudes instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Pass, Piece, Scope, Seen, Unit

Score = Callable[[Piece, Seen], Tensor]
Positions = Callable[[int], tuple[int, ...]]

WHOLE = np.uint32(0xFFFFFFFF)  # keys are used as they are
DIGIT = 1 << 16


class Place(NamedTuple):
    """Where a wanted position falls: the key's high digit, and the position among the keys that share it."""

    high: int
    left: int


def order_keys(values: Tensor) -> NDArray[np.uint32]:
    """Unsigned keys that order like `values` (float32, no NaN), flat; -0 comes just before 0."""
    bits = values.float().contiguous().flatten().numpy().view(np.uint32)
    return bits ^ ((bits.view(np.int32) >> 31).view(np.uint32) | np.uint32(1 << 31))


def value_of(key: int) -> float:
    """The float32 whose key is `key`."""
    bits = key ^ (1 << 31) if key >> 31 else key ^ 0xFFFFFFFF
    return float(np.uint32(bits).view(np.float32))


@dataclass(frozen=True)
class OrderStatistics:
    """The elements at `positions(n)` (0 = smallest) of every expert's n sorted scores within `scope`.

    `score(piece, seen)` gives float32 scores [M, *shape] of all experts; it may use earlier passes. Positions
    outside 0 to n - 1 mean the nearest element.
    """

    name: str
    scope: Scope
    positions: Positions
    score: Score

    def passes(self) -> tuple[Pass, Pass]:
        """Two histogram passes."""
        return (
            Pass(f"{self.name}:places", self.scope, self._count_high, np.add, self._find_places),
            Pass(self.name, self.scope, self._count_low, np.add, self._find_values),
        )

    def values(self, seen: Seen, piece: Piece) -> Tensor:
        """[M, positions, 1, ...] float32: the order statistics of the piece's group, to compute with scores."""
        found = torch.tensor(seen.of(self.name, piece.info), dtype=torch.float32)
        return found.reshape(*found.shape, *[1] * piece.base.dim())

    def _count_high(self, unit: Unit, seen: Seen) -> NDArray[np.int64]:
        """[M, 65536] counts of the keys' high digit."""
        from methods.common.kernels import count_high

        counts = np.zeros((_experts(unit), DIGIT), np.int64)
        for piece in unit.pieces.values():
            for row, score in zip(counts, self.score(piece, seen), strict=True):
                count_high(order_keys(score), WHOLE, row)
        return counts

    def _find_places(self, counts: NDArray[np.int64], seen: Seen, key: str) -> list[list[Place]]:
        n = int(counts[0].sum())
        positions = [min(n - 1, max(0, position)) for position in self.positions(n)]
        return [[_locate(row, position) for position in positions] for row in counts]

    def _count_low(self, unit: Unit, seen: Seen) -> NDArray[np.int64]:
        """[M, positions, 65536] counts of the low digit, among the keys with the high digit of each position."""
        from methods.common.kernels import count_low

        places: list[list[Place]] = seen.of(f"{self.name}:places", next(iter(unit.pieces.values())).info)
        counts = np.zeros((len(places), len(places[0]), DIGIT), np.int64)
        for piece in unit.pieces.values():
            for rows, wanted, score in zip(counts, places, self.score(piece, seen), strict=True):
                keys = order_keys(score)
                for row, place in zip(rows, wanted, strict=True):
                    count_low(keys, WHOLE, place.high, row)
        return counts

    def _find_values(self, counts: NDArray[np.int64], seen: Seen, key: str) -> list[list[float]]:
        return [
            [
                value_of(place.high * DIGIT + _locate(row, place.left).high)
                for row, place in zip(rows, wanted, strict=True)
            ]
            for rows, wanted in zip(counts, seen.group(f"{self.name}:places", key), strict=True)
        ]


def _locate(counts: NDArray[np.int64], position: int) -> Place:
    """The digit that holds the element at `position`, and the position among the elements with that digit."""
    up_to = counts.cumsum()
    digit = int(np.searchsorted(up_to, position, side="right"))
    return Place(digit, position - int(up_to[digit] - counts[digit]))


def _experts(unit: Unit) -> int:
    return len(next(iter(unit.pieces.values())).experts)
