"""Grader `executed`: the model's program with its tests, run in the sandbox."""

from __future__ import annotations

from tasks.contract import Answer, Verdict
from tasks.sandbox import Limits, Outcome
from tasks.sandbox.grading import Assembly, RunGrader

# 20 s, where lm-eval gives 3: the tests of HumanEval+ need more than that on slow machines, of right programs too.
LIMITS = Limits(seconds=20.0, memory_bytes=1 << 30)
# How a reason begins that is counted as a limit that was met (results/scores.py).
_MET = {"timed out": "time limit", "out of memory": "memory limit", "killed": "process ended"}


def completed(answer: Answer) -> str:
    """The text that was gone on from, what the model wrote, and the tests: as lm-eval and BigCode put them."""
    return f"{answer.question}{answer.text}\n{answer.reference}"


def standing_alone(answer: Answer) -> str:
    """What the model wrote, and the tests."""
    return f"{answer.text}\n{answer.reference}"


class Executed(RunGrader):
    """Correct when the whole program runs to its end.

    What is extracted is the word for how the program ended: passed, failed, timed out and so on.
    """

    name = "executed"
    version = "1"

    def __init__(self, assemble: Assembly, limits: Limits = LIMITS) -> None:
        super().__init__(assemble, limits)

    def verdict(self, answer: Answer, outcome: Outcome) -> Verdict:
        """Limits are named as what ended the program."""
        how = _MET.get(outcome.status, outcome.status)
        why = "it runs to its end, with all tests" if outcome.passed else f"{how}: {outcome.why}"
        return Verdict(outcome.passed, outcome.status, None, why)
