"""One who answers without a model, as an engine of ours and as a model of lm-eval: what is asked is written down, and
the answer depends on nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import xxhash
from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bench.engines.contract import Completion, Continuation, Likelihood, Request

DEFAULT_BUDGET = 256  # what lm-eval's own models take where a task says nothing
# What is said to the number of a question: right for some task, or for none.
SAID = (
    "#### {more}", "The answer is {more}.", "It is {n}",
    "Final Answer: The final answer is ${n}$. I hope it is correct.",
    "Final Answer: The final answer is $\\frac{{{next}}}{{7}}$. I hope it is correct.",
    "a bag in the south", "Colour {n}", "the bay {n}", "Singer {n}", "one, two, three",
)  # fmt: skip


def _hash(*parts: str) -> int:
    return xxhash.xxh3_64_intdigest("\x00".join(parts).encode())


def said(prompt: str) -> str:
    """An answer to a prompt."""
    numbers = re.findall(r"\d+", prompt[-60:])
    n = int(numbers[0]) if numbers else 0
    return SAID[_hash(prompt) % len(SAID)].format(n=n, more=n + 4, next=n + 1)


def likely(context: str, text: str) -> tuple[float, bool]:
    """Log probability, and whether it is greedy."""
    found = _hash(context, text)
    return -(found % 10_007) / 500 - 0.001, found % 3 == 0


Asked = set[tuple[str, tuple[str, ...], int]]  # prompt, stop strings, budget


@dataclass
class RecordingEngine:
    """An engine that has heard everything: `asked` and `scored`."""

    family: str = "hf"
    dtype: str = "float32"
    batch_size: int = 1
    threads: int | None = 1
    asked: Asked = field(default_factory=set)
    scored: set[tuple[str, str]] = field(default_factory=set)

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        for request in requests:
            sampling, text = request.sampling, said(request.prompt)
            assert sampling.temperature == 0.0
            self.asked.add((request.prompt, sampling.stop, sampling.max_new_tokens))
            n = len(text.split())
            yield [Completion(request, text, n, n, 1, sampling.max_new_tokens, "stop")]

    def loglikelihood(self, requests: Sequence[Continuation]) -> Iterator[list[Likelihood]]:
        for request in requests:
            self.scored.add((request.context, request.text))
            yield [Likelihood(request, *likely(request.context, request.text), 1, 0)]

    def close(self) -> None:
        pass


class RecordingLM(LM):
    """The same as a model of lm-eval's own evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: Asked = set()
        self.scored: set[tuple[str, str]] = set()

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        for prompt, settings in (request.args for request in requests):
            until = settings.get("until") or []
            stop = (until,) if isinstance(until, str) else tuple(until)
            assert not settings.get("do_sample") and not settings.get("temperature")
            self.asked.add((prompt, stop, settings.get("max_gen_toks", DEFAULT_BUDGET)))
        return [said(request.args[0]) for request in requests]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        self.scored |= {(request.args[0], request.args[1]) for request in requests}
        return [likely(*request.args) for request in requests]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[Any]:
        raise NotImplementedError
