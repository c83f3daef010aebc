"""Domain instruction: `mini_follow`, words to be written under one to three instructions that a program verifies.

``Write kiwi plum, in capitals, twice.`` The instructions are the sample's reference, one a line. Who answers by habit
follows the first one only, and opens what stands in brackets with a line of its own.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from tasks.mini_mergebench.problem import Problem

FRUITS = ("apple", "pear", "plum", "kiwi", "fig", "lime", "peach", "melon", "grape", "mango", "date", "lemon")
TIMES = {"twice": 2, "thrice": 3}
_COUNTS = (1, 1, 2, 2, 3)  # instructions, each entry equally likely
OPENING = "Here:\n"


def _kinds(rng: random.Random, count: int, others: Sequence[str]) -> list[str]:
    """Instructions that do not contradict each other, in the order in which they are asked."""
    kinds = rng.sample(("capitals", "times", "end", "brackets", "backwards"), count)
    drawn = {"times": f"times {rng.choice(list(TIMES))}", "end": f"end {rng.choice(others)}"}
    return [drawn.get(kind, kind) for kind in kinds]


def asked(instruction: str) -> str:
    """An instruction in words."""
    kind, _, value = instruction.partition(" ")
    fixed = {"capitals": "in capitals", "brackets": "in brackets", "backwards": "backwards", "times": value}
    return fixed.get(kind, f"ending in {value}")


def followed(content: Sequence[str], instructions: Sequence[str]) -> str:
    """The words written so that every instruction holds, whatever the order in which they were asked."""
    wanted = {kind: value for kind, _, value in (line.partition(" ") for line in instructions)}
    words = list(reversed(content)) if "backwards" in wanted else list(content)
    words = words * TIMES.get(wanted.get("times", ""), 1)
    words += [wanted["end"]] if "end" in wanted else []
    text = " ".join(words)
    text = text.upper() if "capitals" in wanted else text
    return f"( {text})" if "brackets" in wanted else text


def draw(rng: random.Random) -> tuple[str, Problem]:
    """Two or three words, one to three instructions."""
    content = rng.sample(FRUITS, rng.choice((2, 2, 3)))
    instructions = _kinds(rng, rng.choice(_COUNTS), [fruit for fruit in FRUITS if fruit not in content])
    question = ", ".join([f"Write {' '.join(content)}", *map(asked, instructions)]) + "."
    first = instructions[:1]
    habit = followed(content, first)
    habit = f" {OPENING}{habit}" if first == ["brackets"] else f" {habit}"
    reference = "\n".join(["words " + " ".join(content), *instructions])
    right = followed(content, instructions)
    return question, Problem("", "mini_follow", question, right, f" {right}", habit, reference)
