"""Images of the mini CLIP suite: one seeded generator for four classifications and three splits.

``mini_digits`` are real handwritten digits, the others are drawn: a shape, a texture, a number of spots.
Splits follow `tasks.splits`; the canonical form is what was drawn, of a digit its pixels. The digits of a split are
all that the hash gives it.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tasks.generated import Generated
from tasks.mini_clip.labels import TASKS

if TYPE_CHECKING:
    from tasks.mini_clip.drafts import Drawing

SIZES = {"train": 1000, "validation": 250, "test": 250}
DIGITS = {"train": 1414, "validation": 206, "test": 177}


def _draw(task: str, split: str, rng: random.Random) -> tuple[str, Drawing]:
    from tasks.mini_clip.drafts import DRAFTS  # NumPy: what only lists suites does without

    return DRAFTS[task](rng)


GENERATED: Generated[Drawing] = Generated(
    suite="mini_clip",
    noun="task",
    location="tasks/mini_clip/images.py",
    sizes={
        split: {**dict.fromkeys(TASKS, size), "mini_digits": DIGITS[split]} for split, size in SIZES.items()
    },
    draw=_draw,
)
train_stream, images = GENERATED.train, GENERATED.items
