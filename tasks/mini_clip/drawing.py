"""Images of 16 x 16 pixels, drawn with whole numbers only: the same bytes on every machine.

A figure is a mask in one of two colours over the other, under noise. The noise follows from the figure's canonical
form, so that an image is known by what was drawn.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from tasks.mini_clip.digits import MOST, SIDE, grey
from tasks.pictures import Pixels

SIZE = 16
LEAST_CONTRAST = 150  # sum over the three channels
Colour = tuple[int, int, int]
Mask = NDArray[np.bool_]  # [SIZE, SIZE]
_Y, _X = np.mgrid[:SIZE, :SIZE]


@dataclass(frozen=True)
class Colours:
    """Ink and paper of a drawing, and the amplitude of its noise, of 255."""

    ink: Colour
    paper: Colour
    noise: int


def colours(rng: random.Random, noise: int) -> Colours:
    """Two colours that can be told apart."""
    while True:
        ink, paper = (tuple(rng.randrange(256) for _ in range(3)) for _ in range(2))
        if sum(abs(a - b) for a, b in zip(ink, paper, strict=True)) >= LEAST_CONTRAST:
            return Colours((ink[0], ink[1], ink[2]), (paper[0], paper[1], paper[2]), noise)


def picture(canonical: str, mask: Mask, used: Colours) -> Pixels:
    """The mask in colours, under the noise that belongs to the canonical form."""
    clean = np.where(mask[..., None], np.array(used.ink), np.array(used.paper))
    seed = int.from_bytes(sha256(canonical.encode("ascii")).digest()[:8], "big")
    drawn = np.frombuffer(random.Random(seed).randbytes(3 * SIZE * SIZE), np.uint8).astype(np.int64)
    noise = (drawn.reshape(SIZE, SIZE, 3) - 128) * used.noise // 128
    return _pixels(clean + noise)


def digit(values: str) -> Pixels:
    """A real digit, every pixel as a square of two by two, white on black."""
    shades = np.array(grey(values)) * 255 // MOST
    large = shades.repeat(SIZE // SIDE, 0).repeat(SIZE // SIDE, 1)
    return _pixels(np.stack([large] * 3, -1))


def _pixels(values: NDArray[np.int64]) -> Pixels:
    return Pixels(SIZE, SIZE, values.clip(0, 255).astype(np.uint8).tobytes())


def shape(kind: str, x: int, y: int, r: int) -> Mask:
    """A filled or outlined figure of radius `r` around (x, y)."""
    dx, dy = np.abs(_X - x), np.abs(_Y - y)
    square = dx * dx + dy * dy
    masks = {
        "circle": square <= r * r,
        "ring": (square <= r * r) & (square > (r - 2) * (r - 2)),
        "square": (dx < r) & (dy < r),
        "diamond": dx + dy <= r,
        "cross": ((dx < 1) | (dy < 1)) & (dx <= r) & (dy <= r),
        "triangle": (dy <= r) & (2 * dx <= _Y - y + r),
    }
    return np.asarray(masks[kind])


def texture(kind: str, period: int, phase: int) -> Mask:
    """Stripes, checks or dots over the whole image."""
    along = {"horizontal": _Y, "vertical": _X, "rising": _X + _Y, "falling": _X - _Y}
    if kind in along:
        return np.asarray((along[kind] + phase) % period < period // 2)
    x, y = (_X + phase) % period < period // 2, (_Y + phase) % period < period // 2
    return np.asarray(x ^ y if kind == "checked" else x & y)


def spots(places: Iterable[tuple[int, int]]) -> Mask:
    """Squares of two by two pixels; `places` are their upper left corners."""
    mask = np.zeros((SIZE, SIZE), bool)
    for x, y in places:
        mask[y : y + 2, x : x + 2] = True
    return mask
