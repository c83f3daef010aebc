r"""Grader `strict`: what a mathematician would accept, by math-verify, in limited processes.

An answer must be marked: the last complete `\boxed{...}`, without one what stands behind the last `the answer is`,
`Answer:` or `#### 18` (tasks/strict/marked.py). Nothing marked is wrong, whatever formula the text ends in.
Integers are exact for AIME, decimals are equal to six digits (four for the rounded physics of Minerva), there is no
factor 100; lists are sets, tuples are ordered, brackets count; a unit may follow an answer and is never removed
inside one; a gold that says two things (an inequality and its interval) is met by either. Numbers and words are
compared here, everything else in workers with a limit of processor time and of memory.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version as package_version
from typing import Any

from tasks.contract import Verdict
from tasks.extraction import last_boxed
from tasks.golds import check_benchmark, gold_text
from tasks.limits import LimitedPool, Outcome, limit_reached
from tasks.strict import compare as comparing
from tasks.strict import numbers
from tasks.strict.marked import ALONE, Marked, marked
from tasks.strict.parsing import exact, parsed
from tasks.strict.readings import readings
from tasks.strict.shapes import Shape, clean, shape

SECONDS = 5.0
MEMORY_BYTES = 3 << 30
LONGEST_ANSWER = 4_000  # twice the longest gold; a longer answer is not compared
SHOWN = 200
TOLERANCE = 1e-6
TOLERANCES = {"minerva_ocw": 1e-4, "aime24": 0.0}
INTEGERS = frozenset({"aime24"})
WARM_UP = (
    ("x^{2}+2 x", "x(x+2)"),
    ("\\frac{1}{2} \\sqrt{8}", "\\sqrt{2}"),
    ("y=c_{1} e^{-2 t}+\\sin (3 t)", "y=\\sin 3t+c_{1} e^{-2t}"),
    ("x \\ge 2", "[2,\\infty)"),
    ("\\begin{pmatrix}1 & 2\\end{pmatrix}", "\\begin{pmatrix}1 & 3\\end{pmatrix}"),
)
NOT_MARKED = (
    "no answer is marked: no complete \\boxed{...}, no 'the answer is', no 'Answer:', no '#### NUMBER'"
)


@dataclass(frozen=True)
class Item:
    """One comparison for a worker: the readings of a gold, and a cleaned answer."""

    golds: tuple[str, ...]
    answer: str
    tolerance: float
    integer: bool


class Strict:
    """Correct when equal as mathematics; responses vote by a canonical form of their answer."""

    name = "strict"

    def __init__(self, benchmark: str, seconds: float = SECONDS) -> None:
        self.benchmark = check_benchmark(benchmark)
        # Ours and the package's: either can change a verdict.
        self.version = f"5+math-verify-{package_version('math-verify')}"
        self._tolerance = TOLERANCES.get(benchmark, TOLERANCE)
        self.pool = LimitedPool(f"{__name__}:judge", seconds=seconds, memory_bytes=MEMORY_BYTES)
        self._gold = functools.lru_cache(maxsize=1024)(self._readings)

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (response text, gold) pairs. Raises ValueError for an empty gold."""
        found = [marked(text) for text, _ in pairs]
        cases = [self._prepare(one, target) for one, (_, target) in zip(found, pairs, strict=True)]
        verdicts = self._compare(cases)
        return [_behind(one, verdict) for one, verdict in zip(found, verdicts, strict=True)]

    def _compare(self, cases: Sequence[Item | Verdict]) -> list[Verdict]:
        hard = list(dict.fromkeys(case for case in cases if isinstance(case, Item)))
        outcomes = self.pool.map([list(vars(item).values()) for item in hard])
        decided = {item: _verdict(item, outcome) for item, outcome in zip(hard, outcomes, strict=True)}
        return [decided[case] if isinstance(case, Item) else case for case in cases]

    def equivalent(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether two answers (as extracted) are one, for votes; the second is what the first is compared with."""
        return [verdict.correct for verdict in self._compare([self._pair(*pair) for pair in pairs])]

    def close(self) -> None:
        """End the worker processes; the next `grade` starts new ones."""
        self.pool.close()

    def _readings(self, target: str) -> tuple[str, ...]:
        gold = gold_text(self.benchmark, target)
        box = last_boxed(gold) if "boxed" in gold else None
        return readings(gold if box is None else box)

    def _prepare(self, found: Marked | None, target: str) -> Item | Verdict:
        golds = self._gold(target)
        if found is None:
            return Verdict(False, None, None, NOT_MARKED)
        if len(found.answer) > LONGEST_ANSWER:
            length = len(found.answer)
            why = f"length limit: the answer has {length} characters, more than {LONGEST_ANSWER} are not compared"
            return Verdict(False, found.answer[:SHOWN], None, why)
        if not clean(found.answer):
            return Verdict(False, None, None, "the last box is empty" if not found.marker else NOT_MARKED)
        return self._quick(golds, found.answer)

    def _pair(self, answer: str, other: str) -> Item | Verdict:
        if max(len(answer), len(other)) > LONGEST_ANSWER or not clean(answer):
            return Verdict(answer == other, None, None, "not compared")
        return self._quick((clean(other),), answer)

    def _quick(self, golds: tuple[str, ...], written: str) -> Item | Verdict:
        item = Item(golds, clean(written), self._tolerance, self.benchmark in INTEGERS)
        return _numeric(item, written.strip()) or _without_parser(item) or item


def strict(benchmark: str) -> Callable[[], Strict]:
    """What a benchmark states as its grader. Raises ValueError for an unknown benchmark."""
    return functools.partial(Strict, check_benchmark(benchmark))


def _behind(found: Marked | None, verdict: Verdict) -> Verdict:
    """A verdict that says where its answer stood, when that was no box."""
    if found is None or not found.marker or verdict.why == NOT_MARKED:
        return verdict
    where = "the answer stands alone" if found.marker == ALONE else f"found behind {found.marker!r}"
    return replace(verdict, why=f"{verdict.why} (no box; {where})")


def _numeric(item: Item, shown: str) -> Verdict | None:
    """The verdict where both sides are plain numbers, None elsewhere."""
    if len(item.golds) > 1:
        return None
    right, mine = numbers.read_number(item.golds[0]), numbers.read_number(item.answer)
    if right is None or mine is None:
        return None
    if item.integer:
        correct = not mine.percent and mine.value == right.value
        rule = "the same integer" if correct else f"not the integer {right.value}"
    else:
        correct = numbers.equal(right, mine, item.tolerance)
        rule = "equal numbers" if correct else f"{shown[:SHOWN]} is not the number {item.golds[0][:SHOWN]}"
    return Verdict(correct, shown[:SHOWN], numbers.name(mine)[:SHOWN], rule)


def _without_parser(item: Item) -> Verdict | None:
    """The verdict where texts, numbers and words decide and the vote needs no parser, None elsewhere."""
    mine = shape(item.answer)
    if item.integer or not comparing.votes_by_text(mine):
        return None
    golds = [shape(gold) for gold in item.golds]
    try:
        correct = _correct(item, golds, mine, parser=False)
    except comparing.Undecided:
        return None
    return _reasoned(item, golds, mine, correct, "as it is written")


def _correct(item: Item, golds: Sequence[Shape], mine: Shape, *, parser: bool) -> bool:
    """Whether an answer equals one reading of the gold; the whole of several is text that no parser reads."""
    if len(golds) > 1:
        if "".join(item.answer.split()) == "".join(item.golds[0].split()):
            return True
        golds = golds[1:]
    return any(comparing.compare(gold, mine, item.tolerance, parser=parser) for gold in golds)


def _reasoned(item: Item, golds: Sequence[Shape], mine: Shape, correct: bool, by: str) -> Verdict:
    shown = item.answer[:SHOWN]
    rule = "equal" if correct else f"{shown} is not equal to {item.golds[0][:SHOWN]}"
    alike = any(gold.kind == mine.kind for gold in golds)
    why = f"{rule}, {by}" if alike else f"{rule}, which is of another shape"
    return Verdict(correct, shown, comparing.vote(mine), why)


def _verdict(item: Item, outcome: Outcome) -> Verdict:
    if outcome.status == "done":
        return Verdict(**outcome.value)
    return Verdict(False, item.answer[:SHOWN], None, limit_reached(outcome))


def judge(fields: Sequence[Any]) -> dict[str, Any]:
    """Grade one `Item` (its fields); runs in a limited worker. Returns a Verdict's fields."""
    item = Item(*fields)
    mine, golds = shape(item.answer), [shape(gold) for gold in item.golds]
    correct = _same_integer(item.golds[0], mine) if item.integer else _correct(item, golds, mine, parser=True)
    return vars(_reasoned(item, golds, mine, correct, "by math-verify"))


def _same_integer(gold: str, mine: Shape) -> bool:
    written = comparing.text(mine)
    value = None if "%" in written else exact(parsed(written), last=True)
    right = numbers.read_number(gold)
    return value is not None and right is not None and value == right.value


def prepare() -> None:
    """What every comparison needs, made before the first one's clock runs."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own timeouts are off
    for gold, answer in WARM_UP:  # each needs the parser: what it imports may not be imported later
        judge([[gold], answer, TOLERANCE, False])
