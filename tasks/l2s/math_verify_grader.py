"""Grader `math_verify`: extraction and comparison by the math-verify package, in a limited process.

The answer is the last complete box; without one, the last formula or number, as the package finds it by
default. (Of a whole text the package takes boxes that stand close together as one set, so that a model which
corrects itself would have answered with both numbers.)

SymPy evaluates what a model wrote, so every pair is graded under a limit of processor time and memory, and an
answer that exceeds it is wrong, with the reason. The package's own wall-clock timeouts are off: they would
make a verdict depend on how busy the machine is.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version as package_version
from typing import Any

from tasks.contract import Verdict
from tasks.extraction import last_boxed
from tasks.limits import Limited, Outcome

SECONDS = 3.0
MEMORY_BYTES = 3 << 30
# Longer answers are not numbers that a person would write; they are cut where they are only shown.
SHOWN = 200


class MathVerify:
    """Correct when math-verify finds the answer equal to the gold; responses vote by its canonical form."""

    name = "math_verify"

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        # Ours and the package's: either can change a verdict.
        self.version = f"1+math-verify-{package_version('math-verify')}"

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (response text, gold) pairs. Raises ValueError for a gold that math-verify cannot read."""
        judging = "tasks.l2s.math_verify_grader:judge"
        with Limited(judging, seconds=self.seconds, memory_bytes=MEMORY_BYTES) as limited:
            return [_verdict(outcome) for outcome in limited.map(list(pair) for pair in pairs)]


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.status != "done":
        return Verdict(False, None, None, f"grading {outcome.status}: {outcome.why}")
    if outcome.value.get("bad_gold") is not None:
        raise ValueError(f"math-verify cannot read the gold answer {outcome.value['bad_gold']!r}")
    return Verdict(**outcome.value)


def judge(pair: Sequence[str]) -> dict[str, Any]:
    """Grade one (response text, gold) pair; runs inside the limited worker. Returns a Verdict's fields."""
    from math_verify import parse, verify

    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its own timeouts are off
    text, target = pair
    gold = _gold(target)
    if not gold:
        return {"bad_gold": target[:SHOWN]}
    box = last_boxed(text)
    answer = text if box is None else f"\\boxed{{{box}}}"
    found = parse(answer, parsing_timeout=None, raise_on_error=True)
    if not found:
        return {"correct": False, "extracted": None, "vote": None, "why": "math-verify found no answer"}
    correct = verify(list(gold), found, timeout_seconds=None)
    extracted, vote = str(found[-1])[:SHOWN], canonical(found[0])
    why = "equal to the gold" if correct else f"{extracted} is not equal to the gold {target[:SHOWN]}"
    return {"correct": bool(correct), "extracted": extracted, "vote": vote, "why": why}


def prepare() -> None:
    """What every comparison needs, loaded before the worker is confined and the first one's clock runs."""
    judge(["\\boxed{\\frac{1}{2}}", "0.5"])


@lru_cache(maxsize=64)
def _gold(target: str) -> tuple[Any, ...]:
    """The parsed gold: read as a formula, else as text. The samples of one question share it."""
    from math_verify import parse

    formula = parse(f"${target}$", parsing_timeout=None, raise_on_error=True)
    return tuple(formula or parse(target, parsing_timeout=None, raise_on_error=True))


def canonical(answer: Any) -> str:
    """The name of the cluster that an answer votes with: 0.50, 50%, 1/2 and x = \\frac{2}{4} share one."""
    import sympy

    if not isinstance(answer, sympy.Basic):
        return str(answer)[:SHOWN]
    if isinstance(answer, sympy.Eq) and answer.lhs.is_Symbol:
        return canonical(answer.rhs)
    answer = answer.doit()
    if answer.is_number and answer.is_comparable:
        answer = sympy.nsimplify(answer, rational=True) if answer.has(sympy.Float) else sympy.simplify(answer)
    return str(answer)[:SHOWN]
