"""What engines with a tokenizer of their own share: prompts as tokens with budgets, tokens as finished answers.

Two engines that use this mean the same by every count: what a prompt is in tokens, how far a budget reaches,
where a stop string ends a text, and which tokens a response is charged for. Nothing heavy is imported.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from bench.engines.contract import Completion, Request
from bench.errors import BadInput
from bench.models.loading import require_tokenizer
from bench.models.passages import token_ids

# transformers says this once for each tokenizer, where it is not marked as said.
TOO_LONG_WARNING = "sequence-length-is-longer-than-the-specified-maximum"


@dataclass(frozen=True)
class Job:
    """A request with its prompt as token ids and its effective budget, tokens."""

    request: Request
    prompt: list[int]
    budget: int


@dataclass(frozen=True)
class Tokens:
    """What the model wrote for a job, end token removed; `ended` tells whether it stopped by itself.

    `logprobs` has the log-probability of each of `ids`, and of the end token behind them, where they are known: under
    the model's own distribution, as `Completion.logprob_sum` sums them.
    """

    job: Job
    ids: list[int]
    ended: bool
    logprobs: Sequence[float] | None = None

    def logprob_sum(self, n_generated: int) -> float | None:
        """The sum over a response of so many tokens: without those behind its first stop string."""
        if self.logprobs is None:
            return None
        return math.fsum(self.logprobs if n_generated == len(self.ids) else self.logprobs[:n_generated])


class PromptTooLong(BadInput):
    """A prompt without room behind it; `request` tells which."""

    def __init__(self, request: Request, n_tokens: int, context: int | None, room: int) -> None:
        needs = " and an answer needs at least one" if room else ""
        super().__init__(
            f"a prompt of {n_tokens} tokens does not fit: the model's context is {context} "
            f"tokens{needs}. Leave out this benchmark, or take a model with a longer context. "
            f"The prompt begins {request.prompt[:80]!r}"
        )
        self.request = request


class TextEngine:
    """The side of an engine that knows the tokenizer. `context` None means that the model states no limit."""

    tokenizer: Any
    context: int | None
    end_ids: set[int]

    def jobs(self, requests: Sequence[Request]) -> list[Job]:
        """Requests as token ids with their effective budgets. Raises BadInput for a prompt without room behind it."""
        jobs = []
        for request, ids in self.tokens(requests, room=1):
            asked = request.sampling.max_new_tokens
            left = asked if self.context is None else self.context - len(ids)
            jobs.append(Job(request, ids, min(asked, left)))
        return jobs

    def tokens(self, requests: Sequence[Request], *, room: int) -> list[tuple[Request, list[int]]]:
        """Requests with the tokens of their prompts; `room` tokens must be left in the context."""
        if not requests:
            return []
        prompts = token_ids(self.tokenizer, [request.passage or request.prompt for request in requests])
        for request, ids in zip(requests, prompts, strict=True):
            if not ids or (self.context is not None and len(ids) + room > self.context):
                raise PromptTooLong(request, len(ids), self.context, room)
        return list(zip(requests, prompts, strict=True))

    def stops(self, stop: tuple[str, ...]) -> tuple[set[int], tuple[str, ...]]:
        """Stop strings as end tokens where the tokenizer has one special token for the string, else as text.

        Special tokens are left out of decoded text, so that as text they would never be seen.
        """
        decoder = getattr(self.tokenizer, "added_tokens_decoder", {})
        special = {str(token): id for id, token in decoder.items() if token.special}
        ids = {special[s] for s in stop if s in special}
        return self.end_ids | ids, tuple(s for s in stop if s not in special)

    def has_stopped(self, strings: tuple[str, ...], ids: list[int]) -> bool:
        """Whether the text of `ids` has one of `strings` in it."""
        return self._cut(ids, strings) is not None

    def completions(self, group: Iterable[Tokens], strings: tuple[str, ...]) -> list[Completion]:
        """Finished answers: texts that end before the first of `strings`, with their lengths in tokens."""
        group = list(group)
        answers = [self._finish(tokens, strings) for tokens in group]
        lengths = [len(ids) for ids in self.tokenizer([text for text, _, _ in answers])["input_ids"]]
        return [
            Completion(
                request=tokens.job.request,
                text=text,
                n_generated=n_generated,
                n_tokens_text=length,
                n_prompt_tokens=len(tokens.job.prompt),
                budget=tokens.job.budget,
                finish_reason=reason,
                logprob_sum=tokens.logprob_sum(n_generated),
            )
            for tokens, (text, n_generated, reason), length in zip(group, answers, lengths, strict=True)
        ]

    def _text(self, ids: list[int]) -> str:
        return str(self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False))

    def _cut(self, ids: list[int], strings: tuple[str, ...]) -> str | None:
        """The decoded text up to the first stop string; None when there is none in it."""
        text = self._text(ids)
        found = [at for s in strings if (at := text.find(s)) >= 0]
        return text[: min(found)] if found else None

    def _finish(self, tokens: Tokens, strings: tuple[str, ...]) -> tuple[str, int, Literal["stop", "length"]]:
        """Text, tokens generated and finish reason.

        The text is stripped of outer white space, as the L2S protocol measures it, where the sampling does not say
        otherwise. A response counts the tokens up to the one that completes its first stop string, however late
        that was noticed.
        """
        ids = tokens.ids
        text = self._cut(ids, strings) if strings else None
        if text is None:
            return self._outer(tokens, self._text(ids)), len(ids), "stop" if tokens.ended else "length"
        low, high = 1, len(ids)  # the shortest prefix with a stop string lies in low..high
        while low < high:
            middle = (low + high) // 2
            if self._cut(ids[:middle], strings) is None:
                low = middle + 1
            else:
                high = middle
        return self._outer(tokens, text), low, "stop"

    def _outer(self, tokens: Tokens, text: str) -> str:
        """A text without outer white space or, where it is to be kept, with the blank that decoding may lose.

        Tokenizers in the manner of SentencePiece take a blank off the first token that they decode. Behind the last
        token of the prompt nothing is lost.
        """
        if tokens.job.request.sampling.strip:
            return text.strip()
        last, alone = list(tokens.job.prompt[-1:]), self._text(tokens.ids)
        behind = self._text(last + tokens.ids)[len(self._text(last)) :]
        return behind.removesuffix(alone) + text if behind.endswith(alone) else text


def load_tokenizer(path: Path) -> Any:
    """The tokenizer at `path`. Raises BadInput when there is none or transformers cannot load it.

    It says nothing of long texts: prompts are measured here, and a response may be longer than a context.
    """
    from transformers import AutoTokenizer

    require_tokenizer(path, str(path))
    try:
        tokenizer = AutoTokenizer.from_pretrained(path)
    except Exception as error:  # a foreign file can break it in any way
        raise BadInput(f"transformers cannot load the tokenizer of {path}: {error}") from error
    getattr(tokenizer, "deprecation_warnings", {})[TOO_LONG_WARNING] = True
    return tokenizer


def end_ids(configs: Iterable[Any], tokenizer: Any) -> set[int]:
    """Ids that end an answer: those of generation config and config (number or list), else the tokenizer's."""
    ids: set[int] = set()
    for config in configs:
        value = getattr(config, "eos_token_id", None)
        ids |= set(value if isinstance(value, list) else [value]) - {None}
    return ids or {tokenizer.eos_token_id} - {None}


def parameters(path: Path) -> int:
    """How many parameters the checkpoint at `path` has, from its headers."""
    from bench.models.checkpoint import Checkpoint

    return sum(math.prod(stored.shape) for stored in Checkpoint(path).tensors.values())
