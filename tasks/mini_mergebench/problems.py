"""All problems of the mini mergebench suite: five domains, one seeded generator. Splits follow `tasks.splits`.

The canonical form of a problem is its question, where its domain says nothing else.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tasks.generated import Generated
from tasks.mini_mergebench import instructions, languages, maths, programs, safety
from tasks.mini_mergebench.problem import Problem

_Draw = Callable[[random.Random], tuple[str, Problem] | None]
_DRAWS: dict[str, dict[str, _Draw]] = {
    "maths": {"mini_sum": maths.draw_sum, "mini_story": maths.draw_story},
    "multilingual": languages.DRAWS,
    "instruction": {"mini_follow": instructions.draw},
    "coding": {"mini_calc": programs.draw_calc, "mini_lists": programs.draw_lists},
    "safety": {"mini_harm": safety.draw_harm, "mini_xs": safety.draw_xs},
}
DOMAINS: dict[str, tuple[str, ...]] = {domain: tuple(draws) for domain, draws in _DRAWS.items()}
"""Names of benchmarks by domain."""
_TEST = {"mini_follow": 240, "mini_calc": 120, "mini_lists": 120}


def _size(name: str, split: str) -> int:
    """Four languages are one reported benchmark; programs take longer than what is compared as text."""
    test = 60 if name in languages.DRAWS else _TEST.get(name, 200)
    return {"train": 500, "validation": max(60, test // 2), "test": test}[split]


_ALL = {name: draw for draws in _DRAWS.values() for name, draw in draws.items()}


def _draw(name: str, split: str, rng: random.Random) -> tuple[str, Problem] | None:
    return _ALL[name](rng)


GENERATED = Generated(
    suite="mini_mergebench",
    noun="benchmark",
    location="tasks/mini_mergebench/problems.py",
    sizes={split: {name: _size(name, split) for name in _ALL} for split in ("train", "validation", "test")},
    draw=_draw,
)
train_stream, problems = GENERATED.train, GENERATED.items
