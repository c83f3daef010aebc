"""Tasks of the mini CLIP suite: their labels in order, and the amplitude of the noise over their images, of 255."""

from __future__ import annotations

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
LABELS = {
    "mini_digits": NUMBERS,
    "mini_shapes": ("circle", "ring", "square", "diamond", "cross", "triangle"),
    "mini_textures": ("horizontal", "vertical", "rising", "falling", "checked", "dotted"),
    "mini_spots": NUMBERS[1:6],
}
TASKS = tuple(LABELS)
NOISE = {"mini_shapes": 50, "mini_textures": 150, "mini_spots": 50}
