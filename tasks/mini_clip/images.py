"""Images of the mini CLIP suite: one seeded generator for five classifications and three splits.

``mini_digits`` are real handwritten digits, the others are drawn: a shape, a texture, a number of spots, an arrow.
Splits follow `tasks.splits`; the canonical form is what was drawn, of a digit its pixels. The digits of a split are
all that the hash gives it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.generated import Generated, Item
from tasks.mini_clip import drawing
from tasks.mini_clip.digits import digits
from tasks.pictures import Pixels

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS = {
    "mini_digits": NUMBERS,
    "mini_shapes": ("circle", "ring", "square", "diamond", "cross", "triangle"),
    "mini_textures": ("horizontal", "vertical", "rising", "falling", "checked", "dotted"),
    "mini_spots": NUMBERS[1:6],
    "mini_arrows": ("north", "northeast", "east", "southeast", "south", "southwest", "west", "northwest"),
}
TASKS = tuple(LABELS)
SIZES = {"train": 1000, "validation": 250, "test": 250}
DIGITS = {"train": 1414, "validation": 206, "test": 177}
NOISE = {"mini_shapes": 40, "mini_textures": 180, "mini_spots": 40, "mini_arrows": 40}


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


def _arrow(rng: random.Random) -> tuple[str, Drawing]:
    label, length = rng.choice(LABELS["mini_arrows"]), rng.randrange(3, 6)
    x, y = (rng.randrange(length, drawing.SIZE - length) for _ in range(2))
    mask = drawing.arrow(LABELS["mini_arrows"].index(label), x, y, length)
    return _drawn("mini_arrows", label, (x, y, length), mask, rng)


_DRAFTS = {
    "mini_digits": _digit,
    "mini_shapes": _shape,
    "mini_textures": _texture,
    "mini_spots": _spots,
    "mini_arrows": _arrow,
}


def _draw(task: str, split: str, rng: random.Random) -> tuple[str, Drawing]:
    return _DRAFTS[task](rng)


GENERATED = Generated(
    suite="mini_clip",
    noun="task",
    location="tasks/mini_clip/images.py",
    sizes={
        split: {**dict.fromkeys(TASKS, size), "mini_digits": DIGITS[split]} for split, size in SIZES.items()
    },
    draw=_draw,
)
train_stream, images = GENERATED.train, GENERATED.items
