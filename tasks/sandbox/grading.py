"""Graders that run what a model wrote: each answer made into a program, each program in the sandbox once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import cache, cached_property

from tasks.contract import Answer, Verdict
from tasks.sandbox.contract import Limits, Outcome, SandboxUnavailable
from tasks.sandbox.pool import Sandbox, choose

Assembly = Callable[[Answer], str]


class RunGrader(ABC):
    """Runs the program that `assemble` makes of each answer. An answer of white space is none, and is not run."""

    def __init__(self, assemble: Assembly, limits: Limits) -> None:
        self.assemble, self.limits = assemble, limits

    @abstractmethod
    def verdict(self, answer: Answer, outcome: Outcome) -> Verdict:
        """What the end of its program says of an answer."""

    def grade_answers(self, answers: Sequence[Answer]) -> list[Verdict]:
        """Verdicts in order. Raises SandboxUnavailable where nothing can isolate a program."""
        written = [answer for answer in answers if answer.text.strip()]
        outcomes = iter(self._run([self.assemble(answer) for answer in written]))
        return [
            self._verdict(answer, next(outcomes))
            if answer.text.strip()
            else Verdict(False, None, None, "nothing is written")
            for answer in answers
        ]

    def close(self) -> None:
        """End the sandbox, where there is one."""
        if "_sandbox" in self.__dict__:
            self._sandbox.close()
            del self._sandbox

    def _verdict(self, answer: Answer, outcome: Outcome) -> Verdict:
        if outcome.status == "refused":
            raise SandboxUnavailable(f"a program could not be run: {outcome.why}")
        return self.verdict(answer, outcome)

    def _run(self, programs: Sequence[str]) -> list[Outcome]:
        """Each program once: greedy answers of similar models are often the same."""
        different = list(dict.fromkeys(programs))
        if not different:
            return []
        ran = dict(zip(different, self._sandbox.run(different, self.limits), strict=True))
        return [ran[program] for program in programs]

    @cached_property
    def _sandbox(self) -> Sandbox:
        return Sandbox(backend=_backend())


@cache
def _backend() -> str:
    """What isolates programs here: looked for once, because every benchmark of every checkpoint has a grader."""
    return choose()
