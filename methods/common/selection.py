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

import torch
from torch import Tensor

from methods.common.contract import Pass, Piece, Scope, Seen, Unit

TrimRule = Literal["exact", "kth_inclusive", "quantile"]
Score = Callable[[Piece, int], Tensor]

DIGIT_BITS = 16
MAGNITUDE_BITS = 31


class Cut(NamedTuple):
    """Search state of one wanted rank: the key's digits found so far, and the rank left within them."""

    prefix: int
    left: int


class Search(NamedTuple):
    """Search state of one expert in one group: its number of elements, and one cut per wanted rank."""

    n: int
    cuts: list[Cut]


def kept_count(keep: float, n: int) -> int:
    """Elements kept of n: max(1, floor(keep n)); the small term undoes binary rounding such as 0.29 * 100."""
    return max(1, min(n, floor(keep * n + 1e-9)))


def magnitude_bits(values: Tensor) -> Tensor:
    """int64 keys that order like |values| (float32)."""
    return (values.float().contiguous().view(torch.int32) & 0x7FFFFFFF).to(torch.int64)


@dataclass(frozen=True)
class Selection:
    """The largest `keep` fraction of every expert's elements by `score(piece, expert)`, within `scope`.

    Rules: `exact` keeps max(1, floor(keep n)); `kth_inclusive` keeps everything at or above the
    (floor(keep n) + 1)-th largest, as the original TIES code does; `quantile` keeps everything at or above
    the linearly interpolated (1 - keep) quantile. `tie(piece, expert)` breaks ties of `exact`.
    `takes(piece)` says which pieces take part; the others are left whole.
    """

    name: str
    scope: Scope
    keep: float
    rule: TrimRule
    score: Score
    tie: Score | None = None
    takes: Callable[[Piece], bool] = lambda piece: True

    def passes(self) -> tuple[Pass, ...]:
        """Histogram passes, then one that shares out the ties."""
        digits = [
            Pass(f"{self.name}:{i}", self.scope, partial(self._observe_digit, i), _add, partial(self._cut, i))
            for i in range(self._digits)
        ]
        ties = Pass(f"{self.name}:ties", self.scope, self._observe_ties, _join, self._share_ties)
        return (*digits, ties) if self.rule == "exact" else tuple(digits)

    def mask(self, piece: Piece, expert: int, seen: Seen) -> Tensor:
        """Which elements of `piece` survive for `expert`: bool, same shape."""
        if not self.takes(piece):
            return torch.ones_like(piece.base, dtype=torch.bool)
        search: Search = seen.of(self._last_digit, piece.info)[expert]
        if self.rule == "quantile":
            return self.score(piece, expert).abs() >= _interpolate(self.keep, search)
        keys = self._keys(piece, expert)
        threshold = search.cuts[0].prefix
        if self.rule == "kth_inclusive":
            return keys >= threshold
        quota = seen.of(f"{self.name}:ties", piece.info)[piece.info.order, piece.start][expert]
        equal = keys == threshold
        first = equal.flatten().cumsum(0).view(equal.shape) <= quota
        return (keys > threshold) | (equal & first)

    @property
    def _paired(self) -> bool:
        return self.tie is not None and self.rule == "exact"

    @property
    def _digits(self) -> int:
        return 4 if self._paired else 2

    @property
    def _last_digit(self) -> str:
        return f"{self.name}:{self._digits - 1}"

    def _keys(self, piece: Piece, expert: int) -> Tensor:
        keys = magnitude_bits(self.score(piece, expert))
        if self._paired and self.tie is not None:
            keys = (keys << MAGNITUDE_BITS) | magnitude_bits(self.tie(piece, expert))
        return keys

    def _pieces(self, unit: Unit) -> list[Piece]:
        return [piece for piece in unit.pieces.values() if self.takes(piece)]

    def _ranks(self, n: int) -> list[int]:
        """Wanted ranks, 1 = largest. Quantile needs the two order statistics around its position."""
        if self.rule == "exact":
            return [kept_count(self.keep, n)]
        if self.rule == "kth_inclusive":
            return [
                min(n, floor(self.keep * n) + 1)
            ]  # truncated as the original code does: no rounding undone
        position = (1 - self.keep) * (n - 1)
        return [n - floor(position), max(1, n - floor(position) - 1)]

    def _observe_digit(self, digit: int, unit: Unit, seen: Seen) -> list[list[Tensor]] | None:
        """Histograms of one digit: per expert and wanted rank, of the keys that share the prefix found so far."""
        shift = DIGIT_BITS * (self._digits - 1 - digit)
        total: list[list[Tensor]] | None = None
        for piece in self._pieces(unit):
            found = []
            for expert in range(len(piece.experts)):
                keys = self._keys(piece, expert).flatten()
                found.append(
                    [_histogram(keys, prefix, shift) for prefix in self._prefixes(digit, piece, expert, seen)]
                )
            total = found if total is None else _add(total, found)
        return total

    def _prefixes(self, digit: int, piece: Piece, expert: int, seen: Seen) -> list[int | None]:
        if digit == 0:
            return [None]
        search: Search = seen.of(f"{self.name}:{digit - 1}", piece.info)[expert]
        return [cut.prefix for cut in search.cuts]

    def _cut(self, digit: int, total: list[list[Tensor]], seen: Seen, key: str) -> list[Search]:
        """Narrow every wanted rank by one digit."""
        if digit == 0:
            sizes = [int(histogram.sum()) for (histogram,) in total]
            return [
                Search(n, [_narrow(histogram, Cut(0, rank)) for rank in self._ranks(n)])
                for n, (histogram,) in zip(sizes, total, strict=True)
            ]
        before: list[Search] = seen.group(f"{self.name}:{digit - 1}", key)
        return [
            Search(search.n, [_narrow(h, cut) for h, cut in zip(histograms, search.cuts, strict=True)])
            for histograms, search in zip(total, before, strict=True)
        ]

    def _observe_ties(self, unit: Unit, seen: Seen) -> dict[tuple[int, int], list[int]] | None:
        """Elements equal to the threshold, per piece (by order and start) and expert."""
        found = {}
        for piece in self._pieces(unit):
            searches: list[Search] = seen.of(self._last_digit, piece.info)
            found[piece.info.order, piece.start] = [
                int((self._keys(piece, expert) == search.cuts[0].prefix).sum())
                for expert, search in enumerate(searches)
            ]
        return found or None

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


def _histogram(keys: Tensor, prefix: int | None, shift: int) -> Tensor:
    """Counts of the 16-bit digit at `shift`, among the keys whose higher digits equal `prefix`."""
    if prefix is not None:
        keys = keys[(keys >> (shift + DIGIT_BITS)) == prefix]
    return torch.bincount((keys >> shift) & 0xFFFF, minlength=1 << DIGIT_BITS)


def _narrow(histogram: Tensor, cut: Cut) -> Cut:
    """The digit in which rank `cut.left` (1 = largest) falls, and the rank within it."""
    from_top = histogram.flip(0).cumsum(0)
    index = int(torch.searchsorted(from_top, cut.left))
    above = int(from_top[index - 1]) if index else 0
    return Cut((cut.prefix << DIGIT_BITS) | (len(histogram) - 1 - index), cut.left - above)


def _add(a: list[list[Tensor]], b: list[list[Tensor]]) -> list[list[Tensor]]:
    return [[x + y for x, y in zip(xs, ys, strict=True)] for xs, ys in zip(a, b, strict=True)]


def _join(
    a: dict[tuple[int, int], list[int]], b: dict[tuple[int, int], list[int]]
) -> dict[tuple[int, int], list[int]]:
    return {**a, **b}


def _interpolate(keep: float, search: Search) -> float:
    """The linearly interpolated (1 - keep) quantile between its two neighbouring order statistics."""
    position = (1 - keep) * (search.n - 1)
    lower, upper = (_value(cut.prefix) for cut in search.cuts)
    return lower + (upper - lower) * (position - floor(position))


def _value(key: int) -> float:
    """The non-negative float32 with bit pattern `key`."""
    return float(torch.tensor(key, dtype=torch.int32).view(torch.float32))
