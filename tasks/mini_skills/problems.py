"""Problems of the mini skills suite: one seeded generator for three skills and three splits.

The skills are ``mini_sums`` (sums and differences of several numbers), ``mini_strings`` (operations on a row
of letters) and ``mini_lookup`` (following a table of letters). Each is solved step by step; a problem
carries its steps as text, from which `worked` renders the response that the zoo's models are trained on.

Splits follow `tasks.splits`; the canonical form of a problem is its question, but the one of ``mini_lookup``
has the pairs of the table in order: the same table shuffled is the same problem.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass

from tasks.asking import prompt_of
from tasks.generated import Generated, Item

SIZES = {"train": 1000, "validation": 300, "test": 500}
ALPHABET = "abcdefghijklmnop"

_COUNTS = (1, 2, 2, 3)  # operations in a sum, each entry equally likely
_TERMS = range(2, 50)
_LARGEST = 99  # no intermediate result of a sum leaves 0 to here
_LENGTHS = (4, 5, 6, 7)  # letters in a row
_STRING_COUNTS = (1, 2, 2, 3)  # operations on a row
_TABLES = (4, 5, 6, 7)  # pairs in a table
_HOPS = (2, 3, 3, 4)  # steps through a table


@dataclass(frozen=True)
class Problem(Item):
    """A question, its answer as text, and the steps that lead to it."""

    skill: str
    question: str
    answer: str
    steps: tuple[str, ...]

    @property
    def prompt(self) -> str:
        """The text given to the model; the response starts right behind it."""
        return prompt_of(self.question)


def worked(problem: Problem) -> str:
    """The worked solution: every step, then the boxed answer."""
    return " " + "; ".join(problem.steps) + f"; \\boxed{{{problem.answer}}}"


# --------------------------------------------------------------------------- mini_sums


def _draft_sums(rng: random.Random) -> tuple[str, Problem] | None:
    """``Compute 34+27-15.``, or None when a result leaves the range."""
    total = rng.choice(_TERMS)
    text, steps = str(total), []
    for _ in range(rng.choice(_COUNTS)):
        sign, number = rng.choice("+-"), rng.choice(_TERMS)
        result = total + number if sign == "+" else total - number
        if not 0 <= result <= _LARGEST:
            return None
        text += f"{sign}{number}"
        steps.append(f"{total}{sign}{number}={result}")
        total = result
    question = f"Compute {text}."
    return question, Problem("", "mini_sums", question, str(total), tuple(steps))


# --------------------------------------------------------------------------- mini_strings

OPERATIONS: dict[str, Callable[[str], str]] = {
    "Reverse": lambda row: row[::-1],
    "Rotate": lambda row: row[1:] + row[0],
    "Swap": lambda row: row[-1] + row[1:-1] + row[0],
    "Sort": lambda row: "".join(sorted(row)),
}


def _draft_strings(rng: random.Random) -> tuple[str, Problem] | None:
    """``kdbca: Reverse, Rotate.``; no operation comes twice in a row."""
    names = [rng.choice(list(OPERATIONS)) for _ in range(rng.choice(_STRING_COUNTS))]
    if any(first == second for first, second in itertools.pairwise(names)):
        return None
    row = "".join(rng.sample(ALPHABET, rng.choice(_LENGTHS)))
    question, steps = f"{row}: {', '.join(names)}.", []
    for name in names:
        row = OPERATIONS[name](row)
        steps.append(row)
    return question, Problem("", "mini_strings", question, row, tuple(steps))


# --------------------------------------------------------------------------- mini_lookup


def _draft_lookup(rng: random.Random) -> tuple[str, Problem] | None:
    """``d=a c=d a=c. Follow d 2 times.``: a table without fixed points, and where to start."""
    keys = rng.sample(ALPHABET, rng.choice(_TABLES))
    values = rng.sample(keys, len(keys))
    if any(key == value for key, value in zip(keys, values, strict=True)):
        return None
    table, at, steps = dict(zip(keys, values, strict=True)), rng.choice(keys), []
    hops = rng.choice(_HOPS)
    task = f". Follow {at} {hops} times."
    for _ in range(hops):
        steps.append(f"{at}={table[at]}")
        at = table[at]
    pairs = [f"{key}={value}" for key, value in table.items()]
    problem = Problem("", "mini_lookup", " ".join(pairs) + task, at, tuple(steps))
    return " ".join(sorted(pairs)) + task, problem


# --------------------------------------------------------------------------- splits

_DRAFTS = {"mini_sums": _draft_sums, "mini_strings": _draft_strings, "mini_lookup": _draft_lookup}
SKILLS = tuple(_DRAFTS)


def _draw(skill: str, split: str, rng: random.Random) -> tuple[str, Problem] | None:
    return _DRAFTS[skill](rng)


GENERATED = Generated(
    suite="mini_skills",
    noun="skill",
    location="tasks/mini_skills/problems.py",
    sizes={split: dict.fromkeys(SKILLS, size) for split, size in SIZES.items()},
    draw=_draw,
)
train_stream, problems = GENERATED.train, GENERATED.items
