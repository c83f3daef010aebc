"""Where the names of points go in a chart, so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# What a chart of the usual window measures, in pixels; names need not be exact to the pixel.
WIDTH, HEIGHT = 950, 400
CHARACTER, LINE = 6.4, 14
GAP = 9
LANES = (-9, 17, -24, 32)  # farther from its point nobody would know whose name it is
MARK = 7  # half the size of a point
SHORTEST = 0.1  # tokens: where a length of 0 stands on a logarithmic axis


Box = tuple[float, float, float]  # left, right, middle


@dataclass(frozen=True)
class Label:
    """Offset of a name from its point, pixels; `left` when the name ends at its point."""

    dy: int
    left: bool


def place(
    points: Sequence[tuple[float, float, str]], important: Sequence[bool], *, log: bool
) -> list[Label | None]:
    """A label for each (x, y, name), important ones first; None where there is no room: hovering tells."""
    xs = _scaled([math.log(max(x, SHORTEST)) if log else x for x, _, _ in points], WIDTH)
    ys = _scaled([-y for _, y, _ in points], HEIGHT)
    marks = [(x - MARK, x + MARK, y) for x, y in zip(xs, ys, strict=True)]
    taken: list[Box] = []
    labels: list[Label | None] = [None] * len(points)
    for index in sorted(range(len(points)), key=lambda i: (not important[i], xs[i])):
        width = CHARACTER * len(points[index][2])
        others = taken + marks[:index] + marks[index + 1 :]
        for near in (LANES[:2], LANES[2:]):
            found = _free(xs[index], ys[index], width, near, others)
            if found is not None:
                labels[index], box = found
                taken.append(box)
                break
    return labels


def _free(
    x: float, y: float, width: float, lanes: Sequence[int], others: Sequence[Box]
) -> tuple[Label, Box] | None:
    """The first place in these lanes, right of the point or else left of it, that covers nothing."""
    for left in (False, True):
        start = x - GAP - width if left else x + GAP
        if start < -GAP or start + width > WIDTH + 90:
            continue
        for dy in lanes:
            box = (start, start + width, y + dy)
            if not any(_overlap(box, other) for other in others):
                return Label(dy, left), box
    return None


def _scaled(values: list[float], size: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [size * (value - low) / (high - low) if high > low else size / 2 for value in values]


def _overlap(a: Box, b: Box) -> bool:
    return a[0] < b[1] and b[0] < a[1] and abs(a[2] - b[2]) < LINE
