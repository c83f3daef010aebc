"""What an engine is: something that answers prompts with seeded, budgeted generations, or with labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from tasks.contract import Sampling


@dataclass(frozen=True)
class Request:
    """One response to draw. `id` is the response id; `seed` belongs to this response alone."""

    id: str
    prompt: str
    sampling: Sampling
    seed: int


@dataclass(frozen=True)
class Completion:
    """One finished response.

    `text` ends before the first stop string and is stripped of outer white space. `n_generated` counts the
    tokens that the model produced, the end token not counted; `n_tokens_text` is the length of `text`
    re-tokenised with the model's own tokenizer (the Long-to-Short protocol's length);
    `budget` is the effective one: the smaller of `max_new_tokens` and the context left after the prompt.
    """

    request: Request
    text: str
    n_generated: int
    n_tokens_text: int
    n_prompt_tokens: int
    budget: int
    finish_reason: Literal["stop", "length"]


@dataclass(frozen=True)
class Choice:
    """The label that a classifier chose: `label` is the index of the largest of `logits`, one per label."""

    request: Request
    label: int
    logits: tuple[float, ...]
    n_prompt_tokens: int


Answers = Literal["text", "labels"]


class Engine(Protocol):
    """A loaded model. `family` and `dtype` change the text and are part of a response's identity."""

    family: str
    dtype: str
    batch_size: int
    threads: int

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions in small groups, as they finish, in any order."""
        ...

    def classify(self, requests: Sequence[Request], head: Path) -> Iterator[list[Choice]]:
        """Yield the labels chosen by the model's body under the task head of the classifier at `head`.

        The label is the most probable one: sampling and seed of the requests have no part in it.
        """
        ...
