"""What a problem of the mini mergebench suite carries: a question, its answer, and two ways of answering it."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.asking import prompt_of
from tasks.generated import Item


@dataclass(frozen=True)
class Problem(Item):
    """A question and its answer.

    `target` and `reference` are what a grader compares with; `response` is a right answer in full, and `habit` what
    the zoo's base mostly writes instead: shorter, in another language, of one instruction out of two. It is right for
    some questions. `group` is the subset that is also scored alone.
    """

    benchmark: str
    question: str
    target: str
    response: str
    habit: str
    reference: str | None = None
    group: str | None = None

    @property
    def prompt(self) -> str:
        """The text given to the model; the response starts right behind it."""
        return prompt_of(self.question)
