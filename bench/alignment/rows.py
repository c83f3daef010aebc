"""Where the elements of a result's tensor lie in one model: the tensor's name there, and rows where they differ."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class RowMap:
    """Rows of the result in a model whose rows are others (a vocabulary of another size or order).

    `width` is the number of elements of a row; `runs` holds (first row of the result, first row in the model,
    number of rows), ascending and disjoint. A row of the result in no run is one that the model lacks.
    """

    width: int
    runs: tuple[tuple[int, int, int], ...]

    @cached_property
    def _firsts(self) -> list[int]:
        return [first for first, _, _ in self.runs]

    def pieces(self, start: int, stop: int) -> Iterator[tuple[int, int, int | None]]:
        """Cut elements [start, stop) of the result into (start, stop, start in the model or None if lacking)."""
        at = max(0, bisect_right(self._firsts, start // self.width) - 1)
        while start < stop:
            first, there, count = self.runs[at] if at < len(self.runs) else (stop, 0, 1)
            low, high = first * self.width, (first + count) * self.width
            if start < low:
                end = min(stop, low)
                yield start, end, None
            elif start < high:
                end = min(stop, high)
                yield start, end, there * self.width + start - low
            else:
                end, at = start, at + 1
            start = end


@dataclass(frozen=True)
class Source:
    """A result's tensor in one model. Without `rows` its elements are the model's own, one to one.

    `name` is None in a model that has no such tensor.
    """

    name: str | None
    rows: RowMap | None = None
