"""Grader `programs`: the function that the model wrote, executed with its tests in the sandbox."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, cached_property

from tasks.contract import Answer, Verdict
from tasks.sandbox import Limits, Outcome, Sandbox, SandboxUnavailable
from tasks.sandbox.pool import choose

# Far more than a line of arithmetic needs, so that a wrong loop costs seconds and not minutes.
LIMITS = Limits(seconds=5.0)


def program(answer: Answer) -> str:
    """The function with the first line of the answer as its body, and the tests behind it."""
    head, _, _ = answer.question.partition("):")
    lines = answer.text.strip().split("\n")
    return f"{head}):\n    {lines[0]}\n\n{answer.reference}\n"


class Programs:
    """Correct when every test of the reference holds. An empty answer is none, and is not run."""

    name = "programs"
    version = "1"

    def grade_answers(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Grade answers by running them. Raises SandboxUnavailable where nothing can isolate them."""
        written = [answer for answer in answers if answer.text.strip()]
        outcomes = iter(self._sandbox.run([program(answer) for answer in written], LIMITS) if written else ())
        return [
            _verdict(answer, next(outcomes))
            if answer.text.strip()
            else Verdict(False, None, None, "nothing is written")
            for answer in answers
        ]

    def close(self) -> None:
        """End the sandbox, where there is one."""
        if "_sandbox" in self.__dict__:
            self._sandbox.close()
            del self._sandbox

    @cached_property
    def _sandbox(self) -> Sandbox:
        return Sandbox(backend=_backend())


@cache
def _backend() -> str:
    """What isolates programs here: looked for once, because every benchmark of every checkpoint has a grader."""
    return choose()


def _verdict(answer: Answer, outcome: Outcome) -> Verdict:
    if outcome.status == "refused":
        raise SandboxUnavailable(f"a program could not be run: {outcome.why}")
    body = answer.text.strip().split("\n")[0]
    why = "every test holds" if outcome.passed else f"{outcome.status}: {outcome.why}"
    return Verdict(outcome.passed, body, body, why)
