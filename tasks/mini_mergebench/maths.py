"""Domain maths: `mini_sum` (sums and differences of two or three numbers) and `mini_story` (short word problems).

Solved step by step; who answers by habit takes the first step only, and writes its result at once.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tasks.mini_mergebench.problem import Problem

NAMES = ("Tom", "Ana", "Ben", "Mia", "Leo", "Eva", "Sam", "Zoe")
THINGS = ("coins", "eggs", "pens", "books", "cards", "shells")
_COUNTS = (1, 2, 2)  # operations in a sum, each entry equally likely
_TERMS = range(2, 30)
_LARGEST = 59  # no intermediate result leaves 0 to here


def _solved(name: str, question: str, steps: Sequence[tuple[str, int]]) -> Problem:
    """`steps` are expressions with their values; the last value is the answer."""
    first, last = steps[0][1], steps[-1][1]
    written = "; ".join(f"{expression}={value}" for expression, value in steps)
    return Problem("", name, question, str(last), f" {written}; \\boxed{{{last}}}", f" \\boxed{{{first}}}")


def draw_sum(rng: random.Random) -> tuple[str, Problem] | None:
    """``Compute 34+27-15.``, or None when a result leaves the range."""
    total = rng.choice(_TERMS)
    text, steps = str(total), []
    for _ in range(rng.choice(_COUNTS)):
        sign, number = rng.choice("+-"), rng.choice(_TERMS)
        result = total + number if sign == "+" else total - number
        if not 0 <= result <= _LARGEST:
            return None
        text += f"{sign}{number}"
        steps.append((f"{total}{sign}{number}", result))
        total = result
    question = f"Compute {text}."
    return question, _solved("mini_sum", question, steps)


def draw_story(rng: random.Random) -> tuple[str, Problem] | None:
    """``Tom has 3 bags of 12 coins and loses 7.``: a product, then mostly a sum or difference.

    The canonical form is the numbers: the same sums never occur in two splits, whatever the story around them.
    """
    many, each, other = rng.randrange(2, 10), rng.randrange(2, 10), rng.choice(_TERMS)
    kind = rng.choice(("alone", "gets", "loses", "gets", "loses"))
    steps = [(f"{many}*{each}", many * each)]
    text = f"{rng.choice(NAMES)} has {many} bags of {each} {rng.choice(THINGS)}"
    if kind == "alone":
        # A number that has no part in the answer; without it there would be a hundred such problems only.
        text += f" and {other} empty bags"
    else:
        sign, total = ("+", many * each + other) if kind == "gets" else ("-", many * each - other)
        if not 0 <= total <= _LARGEST:
            return None
        text += f" and {kind} {other}"
        steps.append((f"{many * each}{sign}{other}", total))
    if steps[0][1] > _LARGEST:
        return None
    return f"{kind} {many} {each} {other}", _solved("mini_story", f"{text}. How many?", steps)
