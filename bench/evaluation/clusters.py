"""Which answers to one question vote together: equal numbers, and what the strict grader finds equal.

A cluster is named after its first member. An answer is compared with the first member of each cluster only,
in the order of the sample index, so that samples that are added later change nothing of what was there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

Equivalent = Callable[[Sequence[tuple[str, str]]], list[bool]]
Pair = tuple[str, str]

_NUMBER = re.compile(r"[+-]?[0-9]{1,100}(?:\.[0-9]{1,100}|/0*[1-9][0-9]{0,99})?")
_FRACTION = re.compile(r"([+-]?)\\[dt]?frac\{([0-9]+)\}\{([0-9]+)\}")


@dataclass(frozen=True)
class Voter:
    """One answer as its grader names it: `vote` (None: it does not vote), and `text`, what is compared.

    `settled`: it is stored, and `vote` is the name of its cluster already.
    """

    vote: str | None
    text: str
    settled: bool = False


def clustered(questions: Sequence[Sequence[Voter]], equivalent: Equivalent | None) -> list[list[str | None]]:
    """The cluster that each answer of each question votes with. Answers are in the order of the sample index.

    `equivalent` says of (answer, representative) pairs whether they are equal; without it only equal numbers and
    equal names are one cluster. It is called once, for all questions.
    """
    wanted = list(dict.fromkeys(pair for answers in questions for pair in _pairs(answers)))
    equal = set()
    if wanted and equivalent is not None:
        equal = {pair for pair, same in zip(wanted, equivalent(wanted), strict=True) if same}
    return [_assigned(answers, equal) for answers in questions]


def _pairs(answers: Sequence[Voter]) -> list[Pair]:
    """What may have to be compared: each new answer with every other one before it, unless both are numbers."""
    before: dict[str, str] = {}
    pairs = []
    for answer in answers:
        if answer.vote is None:
            continue
        name = _name(answer)
        if name not in before and not answer.settled:
            pairs += [(answer.text, text) for other, text in before.items() if _compared(name, other)]
        before.setdefault(name, answer.text)
    return pairs


def _assigned(answers: Sequence[Voter], equal: set[Pair]) -> list[str | None]:
    leaders: dict[str, str] = {}  # name of a cluster, text of its first member
    found: list[str | None] = []
    for answer in answers:
        if answer.vote is None:
            found.append(None)
            continue
        name = _name(answer)
        if name not in leaders and not answer.settled:
            same = (n for n, text in leaders.items() if _compared(name, n) and (answer.text, text) in equal)
            name = next(same, name)
        leaders.setdefault(name, answer.text)
        found.append(name)
    return found


def _compared(name: str, other: str) -> bool:
    """Two numbers are one cluster when their values are equal, and only then: no grader is asked."""
    return not (_is_number(name) and _is_number(other))


def _name(answer: Voter) -> str:
    """Its own name: of a number the exact value, so that 0.50 and 1/2 are one."""
    vote = _FRACTION.sub(r"\1\2/\3", (answer.vote or "").strip())
    return str(Fraction(vote)) if _is_number(vote) else vote


def _is_number(vote: str) -> bool:
    return _NUMBER.fullmatch(vote) is not None
