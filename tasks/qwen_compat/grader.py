"""Grader `qwen_compat`: extraction, normalisation and equivalence of the Qwen2.5-Math toolkit.

Reproduced, with its leniencies (factor 100, brackets ignored) and its damage (letters deleted as units), from a
description of its behaviour and from its answers, not from its source, so that numbers compare with published ones.
Cheap rules decide here; what needs a parser goes to workers with a limit of processor time (the toolkit's 3 seconds)
and of memory.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.contract import Verdict
from tasks.golds import check_benchmark, gold_text
from tasks.limits import LimitedPool, Outcome, limit_reached
from tasks.qwen_compat.equivalence import Decision, compare, quick
from tasks.qwen_compat.extraction import before_stop, choice_letter, extract, finish, raw_answer
from tasks.qwen_compat.normalisation import normalise

SECONDS = 3.0
MEMORY_BYTES = 3 << 30
# The longest gold has about 1,300 characters. What is longer than this is no answer to anything, and not compared.
LONGEST_ANSWER = 10_000
SHOWN = 2000  # characters of an answer that are stored
LETTERS = frozenset("ABCDE")
WITHOUT_UNITS = frozenset({"minerva_ocw"})


@dataclass(frozen=True)
class _Case:
    """One response on its way: its answer and gold normalised, or the verdict that was reached without them."""

    answer: str
    gold: str
    verdict: Verdict | None


class QwenCompat:
    """Correct when the toolkit would say so; responses vote by their extracted, normalised text."""

    name = "qwen_compat"
    version = "4"

    def __init__(self, benchmark: str, seconds: float = SECONDS) -> None:
        self.benchmark = check_benchmark(benchmark)
        self.strip_units = benchmark not in WITHOUT_UNITS
        self.pool = LimitedPool(f"{__name__}:judge", seconds=seconds, memory_bytes=MEMORY_BYTES)
        self._gold = functools.lru_cache(maxsize=1024)(self._normalised_gold)

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (response text, gold) pairs. Raises ValueError for an empty gold."""
        cases = [self._prepare(text, target) for text, target in pairs]
        # Many responses give one answer: it is compared once.
        hard = list(dict.fromkeys((case.answer, case.gold) for case in cases if case.verdict is None))
        decided = dict(zip(hard, map(_decision, self.pool.map(hard)), strict=True))
        return [case.verdict or _verdict(case.answer, decided[case.answer, case.gold]) for case in cases]

    def close(self) -> None:
        """End the worker processes; the next `grade` starts new ones."""
        self.pool.close()

    def _prepare(self, text: str, target: str) -> _Case:
        gold, text = self._gold(target), before_stop(text)
        answer, too_long = self._answer(text, gold)
        if too_long:
            why = f"length limit: the answer has {too_long} characters, more than {LONGEST_ANSWER} are not compared"
            return _Case("", gold, Verdict(False, _shown(answer), _shown(answer), why))
        if not answer:  # equal to a gold of which normalisation left nothing, as in the toolkit
            why = "rule 1: both are empty" if not gold else "extraction: no box, no marker and no number"
            return _Case("", gold, Verdict(not gold, None, None, why))
        decision = quick(answer, gold)
        return _Case(answer, gold, None if decision is None else _verdict(answer, decision))

    def _answer(self, text: str, gold: str) -> tuple[str, int]:
        """The prediction, normalised twice, and its length where that is too much to normalise."""
        raw = raw_answer(text)
        if len(raw) > LONGEST_ANSWER:
            return raw, len(raw)
        answer = normalise(finish(raw, strip_units=self.strip_units), strip_units=self.strip_units)
        if gold in LETTERS and answer not in LETTERS:
            return choice_letter(text) or answer, 0
        if set(gold) <= LETTERS:  # also a gold of which unit removal left nothing, such as "east"
            return "".join(letter for letter in answer if letter in LETTERS), 0
        return answer, 0

    def _normalised_gold(self, target: str) -> str:
        gold = gold_text(self.benchmark, target)
        if self.benchmark == "minerva_ocw":  # a solution, or what its box holds: extraction normalises both
            return extract(gold, strip_units=False) if "boxed" in gold else finish(gold, strip_units=False)
        return normalise(normalise(gold))


def qwen_compat(benchmark: str) -> Callable[[], QwenCompat]:
    """What a benchmark states as its grader. Raises ValueError for an unknown benchmark."""
    return functools.partial(QwenCompat, check_benchmark(benchmark))


def _decision(outcome: Outcome) -> Decision:
    return Decision(**outcome.value) if outcome.status == "done" else Decision(False, limit_reached(outcome))


def _verdict(answer: str, decision: Decision) -> Verdict:
    return Verdict(decision.equal, _shown(answer), _shown(answer), decision.why)


def _shown(answer: str) -> str:
    """An answer as it is stored and votes: cut where it is endless, with a digest that keeps it apart."""
    if len(answer) <= SHOWN:
        return answer
    digest = hashlib.blake2b(answer.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{answer[:SHOWN]}... ({len(answer)} characters, {digest})"


def judge(pair: Sequence[str]) -> dict[str, object]:
    """Compare one normalised (answer, gold) pair; runs in a limited worker. Returns a Decision's fields."""
    decision = compare(*pair)
    return {"equal": decision.equal, "why": decision.why}


def prepare() -> None:
    """What every comparison needs, made before the first one's clock runs."""
    compare("x+1", "\\frac{1}{2}")
