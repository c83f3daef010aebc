"""Grader `programs`: the function that the model wrote, executed with its tests in the sandbox."""

from __future__ import annotations

from tasks.contract import Answer, Verdict
from tasks.sandbox import Limits, Outcome
from tasks.sandbox.grading import RunGrader

# Far more than a line of arithmetic needs, so that a wrong loop costs seconds and not minutes.
LIMITS = Limits(seconds=5.0)


def program(answer: Answer) -> str:
    """The function with the first line of the answer as its body, and the tests behind it."""
    head, _, _ = answer.question.partition("):")
    return f"{head}):\n    {_body(answer)}\n\n{answer.reference}\n"


class Programs(RunGrader):
    """Correct when every test of the reference holds."""

    name = "programs"
    version = "1"

    def __init__(self) -> None:
        super().__init__(program, LIMITS)

    def verdict(self, answer: Answer, outcome: Outcome) -> Verdict:
        """What is extracted is the body of the function."""
        why = "every test holds" if outcome.passed else f"{outcome.status}: {outcome.why}"
        return Verdict(outcome.passed, _body(answer), _body(answer), why)


def _body(answer: Answer) -> str:
    return answer.text.strip().split("\n")[0]
