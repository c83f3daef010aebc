"""What the images of the mini CLIP suite show: one draft of each task, drawn by a generator of random numbers."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from tasks.generated import Item
from tasks.mini_clip import drawing
from tasks.mini_clip.digits import digits
from tasks.mini_clip.labels import LABELS, NOISE, NUMBERS
from tasks.pictures import Pixels


@dataclass(frozen=True)
class Drawing(Item):
    """An image and the name of its label."""

    task: str
    image: Pixels
    label: str


def _digit(rng: random.Random) -> tuple[str, Drawing]:
    label, values = rng.choice(digits())
    return values, Drawing("", "mini_digits", drawing.digit(values), NUMBERS[label])


def _drawn(
    task: str, label: str, told: tuple[object, ...], mask: drawing.Mask, rng: random.Random
) -> tuple[str, Drawing]:
    used = drawing.colours(rng, NOISE[task])
    canonical = f"{task} {label} {told} {used}"
    return canonical, Drawing("", task, drawing.picture(canonical, mask, used), label)


def _shape(rng: random.Random) -> tuple[str, Drawing]:
    label, r = rng.choice(LABELS["mini_shapes"]), rng.randrange(3, 6)
    x, y = (rng.randrange(r, drawing.SIZE - r) for _ in range(2))
    return _drawn("mini_shapes", label, (x, y, r), drawing.shape(label, x, y, r), rng)


def _texture(rng: random.Random) -> tuple[str, Drawing]:
    label, period = rng.choice(LABELS["mini_textures"]), rng.randrange(3, 8)
    phase = rng.randrange(period)
    mask = drawing.texture(label, period, phase)
    return _drawn("mini_textures", label, (period, phase), mask, rng)


def _spots(rng: random.Random) -> tuple[str, Drawing]:
    """Spots that do not touch; the corners are drawn anew until they do not."""
    label = rng.choice(LABELS["mini_spots"])
    count = NUMBERS.index(label)
    while True:
        places = [(rng.randrange(drawing.SIZE - 1), rng.randrange(drawing.SIZE - 1)) for _ in range(count)]
        apart = [max(abs(a - c), abs(b - d)) for i, (a, b) in enumerate(places) for c, d in places[:i]]
        if all(distance > 3 for distance in apart):
            return _drawn("mini_spots", label, tuple(sorted(places)), drawing.spots(places), rng)


DRAFTS: dict[str, Callable[[random.Random], tuple[str, Drawing]]] = {
    "mini_digits": _digit,
    "mini_shapes": _shape,
    "mini_textures": _texture,
    "mini_spots": _spots,
}
