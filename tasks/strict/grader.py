r"""Grader `strict`: what a mathematician would accept, by math-verify, in limited processes.

The answer is the last complete `\boxed{...}`; without one, the last formula or number, as math-verify finds it.
Integers are exact for AIME, decimals are equal to six digits (four for the rounded physics of Minerva), there is no
factor 100; lists are sets, tuples are ordered, brackets count; a unit may follow an answer and is never removed
inside one. Numbers are compared here, everything else in workers with a limit of processor time and of memory.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version as package_version
from typing import Any

from tasks.contract import Verdict
from tasks.extraction import last_boxed
from tasks.golds import check_benchmark, gold_text
from tasks.limits import LimitedPool, Outcome, limit_reached
from tasks.strict import compare as comparing
from tasks.strict import numbers
from tasks.strict.shapes import clean, shape

SECONDS = 5.0
MEMORY_BYTES = 3 << 30
LONGEST_ANSWER = 4_000  # twice the longest gold; a longer answer is not compared
SEARCHED = 4_000  # characters at the end of a response without a box where an answer is looked for
SHOWN = 200
TOLERANCE = 1e-6
TOLERANCES = {"minerva_ocw": 1e-4, "aime24": 0.0}
INTEGERS = frozenset({"aime24"})


@dataclass(frozen=True)
class Item:
    """One comparison for a worker: `answer` is None when it has still to be found in `tail`."""

    gold: str
    answer: str | None
    tail: str
    tolerance: float
    integer: bool


class Strict:
    """Correct when equal as mathematics; responses vote by a canonical form of their answer."""

    name = "strict"

    def __init__(self, benchmark: str, seconds: float = SECONDS) -> None:
        self.benchmark = check_benchmark(benchmark)
        # Ours and the package's: either can change a verdict.
        self.version = f"1+math-verify-{package_version('math-verify')}"
        self._tolerance = TOLERANCES.get(benchmark, TOLERANCE)
        self.pool = LimitedPool(f"{__name__}:judge", seconds=seconds, memory_bytes=MEMORY_BYTES)
        self._gold = functools.lru_cache(maxsize=1024)(self._clean_gold)

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (response text, gold) pairs. Raises ValueError for an empty gold."""
        return self._compare([self._prepare(text, target) for text, target in pairs])

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

    def _clean_gold(self, target: str) -> str:
        gold = gold_text(self.benchmark, target)
        box = last_boxed(gold) if "boxed" in gold else None
        return clean(gold if box is None else box)

    def _prepare(self, text: str, target: str) -> Item | Verdict:
        gold, box = self._gold(target), last_boxed(text)
        if box is None:
            return Item(gold, None, text[-SEARCHED:], self._tolerance, self.benchmark in INTEGERS)
        if len(box) > LONGEST_ANSWER:
            why = f"length limit: the box holds {len(box)} characters, more than {LONGEST_ANSWER} are not compared"
            return Verdict(False, box[:SHOWN], None, why)
        return self._quick(gold, box) if clean(box) else Verdict(False, None, None, "the last box is empty")

    def _pair(self, answer: str, other: str) -> Item | Verdict:
        if max(len(answer), len(other)) > LONGEST_ANSWER or not clean(answer):
            return Verdict(answer == other, None, None, "not compared")
        return self._quick(clean(other), answer)

    def _quick(self, gold: str, written: str) -> Item | Verdict:
        item = Item(gold, clean(written), "", self._tolerance, self.benchmark in INTEGERS)
        return _numeric(item, written.strip()) or _same_text(item, written.strip()) or item


def strict(benchmark: str) -> Callable[[], Strict]:
    """What a benchmark states as its grader. Raises ValueError for an unknown benchmark."""
    return functools.partial(Strict, check_benchmark(benchmark))


def _numeric(item: Item, shown: str) -> Verdict | None:
    """The verdict where both sides are plain numbers, None elsewhere."""
    right, mine = numbers.read_number(item.gold), numbers.read_number(item.answer or "")
    if right is None or mine is None:
        return None
    if item.integer:
        correct = not mine.percent and mine.value == right.value
        rule = "the same integer" if correct else f"not the integer {right.value}"
    else:
        correct = numbers.equal(right, mine, item.tolerance)
        rule = "equal numbers" if correct else f"{shown[:SHOWN]} is not the number {item.gold[:SHOWN]}"
    return Verdict(correct, shown[:SHOWN], numbers.name(mine)[:SHOWN], rule)


def _same_text(item: Item, shown: str) -> Verdict | None:
    """The verdict where answer and gold are one text and its vote needs no parser, None elsewhere."""
    if item.integer or "".join(item.gold.split()) != "".join((item.answer or "").split()):
        return None
    mine = shape(item.answer or "")
    if not comparing.votes_by_text(mine):
        return None
    return Verdict(True, shown[:SHOWN], comparing.vote(mine), "the same text")


def _verdict(item: Item, outcome: Outcome) -> Verdict:
    if outcome.status == "done":
        return Verdict(**outcome.value)
    shown = None if item.answer is None else item.answer[:SHOWN]
    return Verdict(False, shown, None, limit_reached(outcome))


def judge(fields: Sequence[Any]) -> dict[str, Any]:
    """Grade one `Item` (its fields); runs in a limited worker. Returns a Verdict's fields."""
    item = Item(*fields)
    answer = item.answer if item.answer is not None else clean(_found(item.tail))
    if not answer:
        why = "no complete box in the response, and math-verify found no answer"
        return {"correct": False, "extracted": None, "vote": None, "why": why}
    found = Item(item.gold, answer, "", item.tolerance, item.integer)
    if (verdict := _numeric(found, answer)) is not None:
        return vars(verdict)
    shown, mine, gold = answer[:SHOWN], shape(answer), shape(item.gold)
    correct = _correct(gold, mine, item)
    rule = "equal" if correct else f"{shown} is not equal to {item.gold[:SHOWN]}"
    why = f"{rule}, by math-verify" if gold.kind == mine.kind else f"{rule}, which is of another shape"
    return {"correct": correct, "extracted": shown, "vote": comparing.vote(mine), "why": why}


def _correct(gold: Any, mine: Any, item: Item) -> bool:
    if not item.integer:
        return comparing.compare(gold, mine, item.tolerance)
    written = comparing.text(mine)
    value = None if "%" in written else comparing.exact(comparing.parsed(written), last=True)
    right = numbers.read_number(item.gold)
    return value is not None and right is not None and value == right.value


def _found(tail: str) -> str:
    """The last formula or number of a text without a box, as math-verify finds it; empty when there is none."""
    from math_verify import parse
    from math_verify.grader import get_pct_val

    if comparing.looks_like_code(tail):
        from math_verify import LatexExtractionConfig

        found = parse(tail, [LatexExtractionConfig()], parsing_timeout=None, raise_on_error=False)
    else:
        found = parse(tail, parsing_timeout=None, raise_on_error=False)
    if not found:
        return ""
    percent = "\\%" if get_pct_val(found[0]) is not None and "%" not in str(found[-1]) else ""
    return str(found[-1]) + percent


def prepare() -> None:
    """What every comparison needs, made before the first one's clock runs."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own timeouts are off
    judge(["\\frac{1}{2}", None, "so it is $x+1$", TOLERANCE, False])
