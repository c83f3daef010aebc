"""Grader `executed`: the model's program with its tests, run in the sandbox."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from tasks.contract import Answer, Verdict
from tasks.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable

# 20 s, where lm-eval gives 3: the tests of HumanEval+ need more than that on slow machines, of right programs too.
LIMITS = Limits(seconds=20.0, memory_bytes=1 << 30)
# How a reason begins that is counted as a limit that was met (results/scores.py).
_MET = {"timed out": "time limit", "out of memory": "memory limit", "killed": "process ended"}

Assembly = Callable[[Answer], str]


def completed(answer: Answer) -> str:
    """The text that was gone on from, what the model wrote, and the tests: as lm-eval and BigCode put them."""
    return f"{answer.question}{answer.text}\n{answer.reference}"


def standing_alone(answer: Answer) -> str:
    """What the model wrote, and the tests."""
    return f"{answer.text}\n{answer.reference}"


class Executed:
    """Correct when the whole program runs to its end. An answer of white space is none, and is not run.

    What is extracted is the word for how the program ended: passed, failed, timed out and so on.
    """

    name = "executed"
    version = "1"

    def __init__(self, assemble: Assembly, limits: Limits = LIMITS) -> None:
        self.assemble, self.limits = assemble, limits

    def grade_answers(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Verdicts in order. Raises SandboxUnavailable where nothing can isolate a program."""
        written = [answer for answer in answers if answer.text.strip()]
        outcomes = iter(self._run([self.assemble(answer) for answer in written]))
        return [
            _verdict(next(outcomes))
            if answer.text.strip()
            else Verdict(False, None, None, "nothing is written")
            for answer in answers
        ]

    def close(self) -> None:
        """End the sandbox, where there is one."""
        if "_sandbox" in self.__dict__:
            self._sandbox.close()
            del self._sandbox

    def _run(self, programs: Sequence[str]) -> list[Outcome]:
        """Each program once: greedy answers of similar models are often the same."""
        different = list(dict.fromkeys(programs))
        if not different:
            return []
        ran = dict(zip(different, self._sandbox.run(different, self.limits), strict=True))
        return [ran[program] for program in programs]

    @cached_property
    def _sandbox(self) -> Sandbox:
        return Sandbox()


def _verdict(outcome: Outcome) -> Verdict:
    if outcome.status == "refused":
        raise SandboxUnavailable(f"a program could not be run: {outcome.why}")
    how = _MET.get(outcome.status, outcome.status)
    why = "it runs to its end, with all tests" if outcome.passed else f"{how}: {outcome.why}"
    return Verdict(outcome.passed, outcome.status, None, why)
