"""Keep the largest elements of each expert within a tensor, a block or the whole model: exact, by counting.

Scores are non-negative float32, whose bit patterns order like integers, so the k-th largest of any number of
elements is found by histograms of 16-bit digits, most significant first: nothing is sorted and nothing larger
than a histogram is kept. Ties of the score may be broken by a second score; what is then
still equal is kept in file order, lowest index first, so that exactly k elements survive.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import floor
from typing import Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Pass, Piece, Scope, Seen, TensorInfo, Unit

TrimRule = Literal["exact", "kth_inclusive", "quantile"]
Score = Callable[[Piece, int], Tensor]
Counts = list[list[NDArray[np.int64]]]  # per expert and wanted rank

DIGIT_BITS = 16
DIGITS = 1 << DIGIT_BITS


class Cut(NamedTuple):
    """Search state of one wanted rank: thresholds found so far (one per score), the high digit of the next one
    (None when it is not known yet), the rank left within what equals them, and how many elements do."""

    thresholds: tuple[int, ...]
    high: int | None
    left: int
    equal: int = 0


class Search(NamedTuple):
    """Search state of one expert in one group: its number of elements, and one cut per wanted rank."""

    n: int
    cuts: list[Cut]


def kept_count(keep: float, n: int) -> int:
    """Elements kept of n: max(1, floor(keep n)); the small term undoes binary rounding such as 0.29 * 100."""
    return max(1, min(n, floor(keep * n + 1e-9)))


MAGNITUDE = np.uint32(0x7FFFFFFF)  # all but the sign


def bits_of(values: Tensor) -> NDArray[np.uint32]:
    """Flat float32 bit patterns; under MAGNITUDE they order like |values|."""
    bits: NDArray[np.uint32] = values.float().contiguous().flatten().numpy().view(np.uint32)
    return bits


def magnitude_keys(values: Tensor) -> NDArray[np.uint32]:
    """Flat integer keys that order like |values| (float32)."""
    return bits_of(values) & MAGNITUDE


@dataclass(frozen=True)
class Selection:
    """The largest `keep` fraction of every expert's elements by `score(piece, expert)`, within `scope`.

    Rules: `exact` keeps max(1, floor(keep n)); `kth_inclusive` keeps everything at or above the
    (floor(keep n) + 1)-th largest, as the original TIES code does; `quantile` keeps everything at or above
    the linearly interpolated (1 - keep) quantile. `tie(piece, expert)` breaks ties of `exact`.
    `takes(piece)` says which pieces take part; the others are left whole. With `shared` there is one selection
    for all experts, by `score(piece, 0)`. With `nonzero`, n counts only scores that are not 0, floor(keep n) of
    them are kept, and that may be none.
    """

    name: str
    scope: Scope
    keep: float
    rule: TrimRule
    score: Score
    tie: Score | None = None
    takes: Callable[[Piece], bool] = lambda piece: True
    shared: bool = False
    nonzero: bool = False

    def passes(self) -> tuple[Pass, ...]:
        """Histogram passes, then one that shares out the ties where not all of them are kept."""
        digits = [
            Pass(f"{self.name}:{i}", self.scope, partial(self._observe_digit, i), _add, partial(self._cut, i))
            for i in range(self._digits)
        ]
        ties = Pass(
            f"{self.name}:ties", self.scope, self._observe_ties, _join, self._share_ties, self._must_share
        )
        return (*digits, ties) if self.rule == "exact" else tuple(digits)

    def mask(self, piece: Piece, expert: int, seen: Seen) -> Tensor:
        """Which elements of `piece` survive for `expert`: bool, same shape."""
        if not self.takes(piece):
            return torch.ones(piece.shape, dtype=torch.bool)
        search: Search = seen.of(self._last_digit, piece.info)[expert]
        if self.rule == "quantile":
            return self.score(piece, expert).abs() >= _interpolate(self.keep, search)
        (cut,) = search.cuts
        keys = magnitude_keys(self.score(piece, expert))
        kept = keys > cut.thresholds[0]
        level = keys == cut.thresholds[0]
        quota = self._quota(piece, expert, cut, seen)
        if len(cut.thresholds) == 1 and quota is None:
            kept |= level
        else:
            level = np.flatnonzero(level)
            for score, threshold in zip(self._scores[1:], cut.thresholds[1:], strict=True):
                keys = magnitude_keys(score(piece, expert))[level]
                kept[level[keys > threshold]] = True
                level = level[keys == threshold]
            kept[level[:quota]] = True
        return torch.from_numpy(kept).view(piece.shape)

    def largest(self, piece: Piece, seen: Seen, values: Tensor) -> Tensor:
        """`values` [M, *shape] float32 of the experts, 0 where an expert's element does not survive."""
        from methods.common import kernels

        if not self.takes(piece):
            return values
        kept = torch.empty_like(values)
        for m, of_expert in enumerate(values):
            search: Search = seen.of(self._last_digit, piece.info)[m]
            (cut, *others) = search.cuts
            if others or len(cut.thresholds) > 1:  # an interpolated threshold, or one of two scores
                torch.mul(of_expert, self.mask(piece, m, seen), out=kept[m])
                continue
            quota = self._quota(piece, m, cut, seen)
            kernels.trim(
                of_expert.flatten().numpy(),
                bits_of(self.score(piece, m)),
                MAGNITUDE,
                cut.thresholds[0],
                of_expert.numel() if quota is None else quota,
                kept[m].flatten().numpy(),
            )
        return kept

    @property
    def _scores(self) -> tuple[Score, ...]:
        return (self.score,) if self.tie is None or self.rule != "exact" else (self.score, self.tie)

    @property
    def _digits(self) -> int:
        return 2 * len(self._scores)

    @property
    def _last_digit(self) -> str:
        return f"{self.name}:{self._digits - 1}"

    def _quota(self, piece: Piece, expert: int, cut: Cut, seen: Seen) -> int | None:
        """How many of the elements that equal the threshold this piece keeps; None: all of them."""
        if self.rule == "kth_inclusive" or cut.equal == cut.left:
            return None
        return int(seen.of(f"{self.name}:ties", piece.info)[piece.info.order, piece.start][expert])

    def _subjects(self, piece: Piece) -> range:
        return range(1 if self.shared else len(piece.weights))

    def _pieces(self, unit: Unit) -> list[Piece]:
        return [piece for piece in unit.pieces.values() if self.takes(piece)]

    def _ranks(self, n: int) -> list[int]:
        """Wanted ranks, 1 = largest, 0 = none. Quantile needs the two order statistics around its position."""
        if self.nonzero:
            return [floor(self.keep * n + 1e-9)]
        if self.rule == "exact":
            return [kept_count(self.keep, n)]
        if self.rule == "kth_inclusive":
            # truncated as the original code does: no rounding undone
            return [min(n, floor(self.keep * n) + 1)]
        position = (1 - self.keep) * (n - 1)
        return [n - floor(position), max(1, n - floor(position) - 1)]

    def _observe_digit(self, digit: int, unit: Unit, seen: Seen) -> Counts | None:
        """Histograms of one digit: per expert and wanted rank, of the keys that share the digits found so far.

        The first one has an extra entry: how many keys are 0.
        """
        total: Counts | None = None
        for piece in self._pieces(unit):
            found = [self._count(digit, piece, expert, seen) for expert in self._subjects(piece)]
            total = found if total is None else _add(total, found)
        return total

    def _count(self, digit: int, piece: Piece, expert: int, seen: Seen) -> list[NDArray[np.int64]]:
        from methods.common import kernels

        if digit == 0:
            counts = np.zeros(DIGITS + 1, dtype=np.int64)
            counts[DIGITS] = kernels.count_high(bits_of(self.score(piece, expert)), MAGNITUDE, counts)
            return [counts]
        search: Search = seen.of(f"{self.name}:{digit - 1}", piece.info)[expert]
        found = []
        for cut in search.cuts:
            counts = np.zeros(DIGITS, dtype=np.int64)
            if cut.high is None:
                kernels.count_high(self._open(piece, expert, cut), MAGNITUDE, counts)
            else:
                kernels.count_low(self._open(piece, expert, cut), MAGNITUDE, cut.high, counts)
            found.append(counts)
        return found

    def _open(self, piece: Piece, expert: int, cut: Cut) -> NDArray[np.uint32]:
        """Bits of the score whose threshold is sought, of the elements that equal every threshold found."""
        keys = bits_of(self._scores[len(cut.thresholds)](piece, expert))
        return keys[self._level(piece, expert, cut.thresholds)] if cut.thresholds else keys

    def _level(self, piece: Piece, expert: int, thresholds: tuple[int, ...]) -> NDArray[np.bool_]:
        """Which elements equal every threshold found so far."""
        return np.logical_and.reduce(
            [
                magnitude_keys(score(piece, expert)) == threshold
                for score, threshold in zip(self._scores, thresholds, strict=False)
            ]
        )

    def _cut(self, digit: int, total: Counts, seen: Seen, key: str) -> list[Search]:
        """Narrow every wanted rank by one digit."""
        if digit == 0:
            return [self._first_cut(counts) for (counts,) in total]
        before: list[Search] = seen.group(f"{self.name}:{digit - 1}", key)
        return [
            Search(search.n, [_narrow(c, cut) for c, cut in zip(counts, search.cuts, strict=True)])
            for counts, search in zip(total, before, strict=True)
        ]

    def _first_cut(self, counts: NDArray[np.int64]) -> Search:
        n = int(counts[:DIGITS].sum()) - (int(counts[DIGITS]) if self.nonzero else 0)
        return Search(n, [_narrow(counts[:DIGITS], Cut((), None, rank)) for rank in self._ranks(n)])

    def _must_share(self, seen: Seen, info: TensorInfo, experts: int) -> bool:
        found: list[Search] | None = seen.find(self._last_digit, info)
        return found is not None and any(search.cuts[0].equal != search.cuts[0].left for search in found)

    def _observe_ties(self, unit: Unit, seen: Seen) -> dict[tuple[int, int], list[int]] | None:
        """Elements equal to the threshold, per piece (by order and start) and expert."""
        found = {}
        for piece in self._pieces(unit):
            searches: list[Search] = seen.of(self._last_digit, piece.info)
            found[piece.info.order, piece.start] = [
                self._count_level(piece, m, search.cuts[0].thresholds) for m, search in enumerate(searches)
            ]
        return found or None

    def _count_level(self, piece: Piece, expert: int, thresholds: tuple[int, ...]) -> int:
        from methods.common import kernels

        if len(thresholds) == 1:
            return int(kernels.count_equal(bits_of(self.score(piece, expert)), MAGNITUDE, thresholds[0]))
        return int(np.count_nonzero(self._level(piece, expert, thresholds)))

    def _share_ties(
        self, total: dict[tuple[int, int], list[int]], seen: Seen, key: str
    ) -> dict[tuple[int, int], list[int]]:
        """How many of its ties each piece keeps: the first in file order, until the count is reached."""
        left = [search.cuts[0].left for search in seen.group(self._last_digit, key)]
        shares = {}
        for place in sorted(total):
            shares[place] = [min(n, quota) for n, quota in zip(total[place], left, strict=True)]
            left = [quota - share for quota, share in zip(left, shares[place], strict=True)]
        return shares


def _narrow(counts: NDArray[np.int64], cut: Cut) -> Cut:
    """The digit in which rank `cut.left` (1 = largest, 0 = above all) falls, and the rank within it."""
    from_top = counts[::-1].cumsum()
    place = int(np.searchsorted(from_top, cut.left))
    digit, left = DIGITS - 1 - place, cut.left - (int(from_top[place - 1]) if place else 0)
    if cut.high is None:
        return Cut(cut.thresholds, digit, left, int(counts[digit]))
    return Cut((*cut.thresholds, (cut.high << DIGIT_BITS) | digit), None, left, int(counts[digit]))


def _add(a: Counts, b: Counts) -> Counts:
    """`b` added into `a`: no histogram is copied."""
    for xs, ys in zip(a, b, strict=True):
        for x, y in zip(xs, ys, strict=True):
            x += y
    return a


def _join(
    a: dict[tuple[int, int], list[int]], b: dict[tuple[int, int], list[int]]
) -> dict[tuple[int, int], list[int]]:
    return {**a, **b}


def _interpolate(keep: float, search: Search) -> float:
    """The linearly interpolated (1 - keep) quantile between its two neighbouring order statistics."""
    position = (1 - keep) * (search.n - 1)
    lower, upper = (_value(cut.thresholds[0]) for cut in search.cuts)
    return lower + (upper - lower) * (position - floor(position))


def _value(key: int) -> float:
    """The non-negative float32 with bit pattern `key`."""
    return float(np.array(key, dtype=np.uint32).view(np.float32))
