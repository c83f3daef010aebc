"""Where the names of points go in a chart, so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

# What a chart of the usual window measures, in pixels; names need not be exact to the pixel.
WIDTH, HEIGHT = 950, 400
CHARACTER, LINE = 6.4, 14
GAP = 9
LANES = (-9, 17, -24, 32, -39, 47)


@dataclass(frozen=True)
class Label:
    """Offset of a name from its point, pixels; `left` when the name ends at its point."""

    dy: int
    left: bool


def place(
    points: Sequence[tuple[float, float, str]], important: Sequence[bool], *, log: bool
) -> list[Label | None]:
    """A label for each (x, y, name), important ones first; None where there is no room: hovering tells."""
    xs = _scaled([math.log(x) if log else x for x, _, _ in points], WIDTH)
    ys = _scaled([-y for _, y, _ in points], HEIGHT)
    taken: list[tuple[float, float, float]] = []
    labels: list[Label | None] = [None] * len(points)
    for index in sorted(range(len(points)), key=lambda i: (not important[i], xs[i])):
        width = CHARACTER * len(points[index][2])
        left = xs[index] + GAP + width > WIDTH + 90
        start = xs[index] - GAP - width if left else xs[index] + GAP
        for dy in LANES:
            box = (start, start + width, ys[index] + dy)
            if not any(_overlap(box, other) for other in taken):
                taken.append(box)
                labels[index] = Label(dy, left)
                break
    return labels


def _scaled(values: list[float], size: float) -> list[float]:
    low, high = min(values, default=0.0), max(values, default=0.0)
    return [size * (value - low) / (high - low) if high > low else size / 2 for value in values]


def _overlap(a: tuple[float, float, float], b: tuple[float, float, float]) -> bool:
    return a[0] < b[1] and b[0] < a[1] and abs(a[2] - b[2]) < LINE
