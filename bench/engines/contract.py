"""What an engine is: something that answers prompts with seeded, budgeted generations, or with labels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from bench.models.zero_shot import ZeroShot
from tasks.contract import Passage, Picture, Sampling


@dataclass(frozen=True)
class Request:
    """One response to draw. `id` is the response id; `seed` belongs to this response alone.

    An `image` is what a vision tower is shown, a `passage` what a classifier is, in place of the prompt.
    """

    id: str
    prompt: str
    sampling: Sampling
    seed: int
    image: Picture | None = None
    passage: Passage | None = None


@dataclass(frozen=True)
class Completion:
    """One finished response.

    `text` ends before the first stop string and is stripped of outer white space. `n_generated` counts the
    tokens that the model produced, the end token not counted; `n_tokens_text` is the length of `text`
    re-tokenised with the model's own tokenizer (the Long-to-Short protocol's length);
    `budget` is the effective one: the smaller of `max_new_tokens` and the context left after the prompt.
    `logprob_sum` is the summed natural log-probability of what a sampled response is made of, the end token that the
    model wrote included, under the model's own distribution: of temperature 1, over the whole vocabulary, whatever it
    was sampled with. None of greedy responses, whose votes are one, and where the engine does not know it.
    """

    request: Request
    text: str
    n_generated: int
    n_tokens_text: int
    n_prompt_tokens: int
    budget: int
    finish_reason: Literal["stop", "length"]
    logprob_sum: float | None = None


@dataclass(frozen=True)
class Choice:
    """The label that a classifier chose: `label` is the index of the largest of `logits`, one per label.

    `n_prompt_tokens` is None of an image.
    """

    request: Request
    label: int
    logits: tuple[float, ...]
    n_prompt_tokens: int | None


@dataclass(frozen=True)
class Continuation:
    """A text to be scored where it follows `context`, which may be empty."""

    id: str
    context: str
    text: str


@dataclass(frozen=True)
class Likelihood:
    """How probable a continuation is: the sum of its tokens' log probabilities (natural logarithm), and whether every
    one of its `n_tokens` is the most probable one. `n_cut` tokens of a context that was too long were left out."""

    request: Continuation
    log_probability: float
    is_greedy: bool
    n_tokens: int
    n_cut: int


Answers = Literal["text", "labels", "images"]
Head = (
    Path | ZeroShot
)  # of a classifier: that of the one at a path, or what a text tower makes of class names


@dataclass(frozen=True)
class EngineOptions:
    """How an engine is loaded; None means the engine's own choice. Each engine says which of them it takes.

    `batch_size`: most sequences decoded together; `threads`: compute threads of a processor;
    `tensor_parallel`: GPUs that share one model; `gpu_memory`: fraction of a GPU's memory, 0 to 1;
    `server_url`: where an OpenAI-compatible server listens; `served_model`: the model's name there;
    `concurrency`: most requests under way at once.
    `answers="labels"` loads the body alone: such an engine classifies and does not write; `"images"` loads a vision
    tower, which classifies images. `labels` says that it will be asked for labels, alone or beside texts.
    `tokenizer` is the folder of the tokenizer, where the checkpoint has none.
    """

    device: str | None = None
    dtype: str | None = None
    batch_size: int | None = None
    threads: int | None = None
    tensor_parallel: int | None = None
    gpu_memory: float | None = None
    server_url: str | None = None
    served_model: str | None = None
    concurrency: int | None = None
    answers: Answers = "text"
    labels: bool = False
    tokenizer: Path | None = None


class Engine(Protocol):
    """A loaded model. `family` and `dtype` change the text and are part of a response's identity.

    `batch_size` and `threads` are recorded beside it; `threads` None means that what runs the model chooses them.
    Whoever loads an engine closes it.
    """

    family: str
    dtype: str
    batch_size: int
    threads: int | None

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions in small groups, as they finish, in any order."""
        ...

    def classify(self, requests: Sequence[Request], head: Head) -> Iterator[list[Choice]]:
        """Yield the labels chosen by the model's body under the task head of the classifier at `head`, or by a
        vision tower under a zero-shot head.

        The label is the most probable one: sampling and seed of the requests have no part in it. Raises BadInput
        for an engine that only writes.
        """
        ...

    def loglikelihood(self, requests: Sequence[Continuation]) -> Iterator[list[Likelihood]]:
        """Yield the likelihoods of continuations in groups, as they are done, in any order.

        Where tokens begin and end, what stands for an empty context, and that a long context loses its start, is as
        in lm-eval 0.4.13 (`bench/engines/likelihood.py`). Raises BadInput for a continuation without tokens or longer
        than the model's context, and for an engine that gives no probabilities.
        """
        ...

    def close(self) -> None:
        """Free what the engine holds (processes, memory, connections). It answers nothing afterwards."""
        ...
