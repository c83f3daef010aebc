"""Engine `server`: any running OpenAI-compatible server (`vllm serve`, SGLang, others), over /v1/completions.

Prompts are plain text, so completions are asked, not chats. One request draws one response, with that response's own
seed: a server's prefix cache shares the prompt of a pool, and a response does not depend on what it was asked
together with. What is finished is yielded at once; what fails is tried again (`retry.py`).

The checkpoint at `path` is what the answers are recorded under: its tokenizer counts tokens, and its prompt tokens
are compared with the server's, which finds a server of another family of models. That the served weights are the
same cannot be seen from here. A server does not say its dtype either: `--dtype` says it for the record.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engines.contract import Choice, Completion, Continuation, EngineOptions, Head, Likelihood, Request
from bench.engines.gathering import as_finished
from bench.engines.likelihood import Pair, encoded
from bench.engines.retry import Failure, Refused, Retry, post
from bench.engines.served import Served, address, connection, served
from bench.engines.texts import Job, TextEngine, Tokens, end_ids, load_tokenizer
from bench.errors import BadInput

if TYPE_CHECKING:
    from httpx2 import AsyncClient

TAKES = {"server_url", "served_model", "concurrency"}
CLASSIFIES = False
CONCURRENCY = 64
TIMEOUT = 3600.0  # seconds for one answer: ten thousand tokens, and a queue in front of them
CONNECTS_WITHIN = 30.0
UNKNOWN_DTYPE = "unstated"
# The standard's fields leave these to the server, which may take them from the model's generation config.
PLAIN_SAMPLING = {
    "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0,
}  # fmt: skip
logger = logging.getLogger(__name__)


def identity(path: Path, options: EngineOptions) -> tuple[str, str]:
    """Family and dtype: asks the server who it is."""
    found = served(address(options.server_url), options.served_model, path)
    return found.family, options.dtype or UNKNOWN_DTYPE


def load(path: Path, options: EngineOptions) -> ServerEngine:
    """The engine; nothing is loaded but the tokenizer."""
    if options.answers == "labels":
        raise BadInput("engine server writes texts and chooses no labels: take --engine hf")
    return ServerEngine(
        path,
        served(address(options.server_url), options.served_model, path),
        dtype=options.dtype,
        concurrency=options.concurrency,
    )


class ServerEngine(TextEngine):
    """A served model. `timeout` is for one attempt, seconds.

    Raises BadInput when the folder has no tokenizer that transformers can load.
    """

    def __init__(
        self,
        path: Path,
        model: Served,
        *,
        dtype: str | None = None,
        concurrency: int | None = None,
        retry: Retry | None = None,
        timeout: float = TIMEOUT,
    ) -> None:
        self.family, self.dtype = model.family, dtype or UNKNOWN_DTYPE
        self.batch_size = concurrency or CONCURRENCY
        self.threads: int | None = None  # the server's own
        self.served, self.retry, self.timeout = model, retry or Retry(), timeout
        self.tokenizer = load_tokenizer(path)
        configs = _configs(path)
        self.end_ids = end_ids(configs, self.tokenizer)
        self.vocabulary: int = configs[0].vocab_size
        self.context = model.context or getattr(configs[0], "max_position_embeddings", None)
        # SGLang's are of the sampling's distribution, and another number than every other engine's.
        self._asks_logprobs = model.by != "sglang"
        self._said = False

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions as they finish, at most `batch_size` requests under way.

        Raises BadInput, before anything is asked, for a prompt that leaves no room in the context; on the way when
        the server refuses a request or stays away.
        """
        yield from as_finished(self.jobs(requests), self._answer, self._client, concurrency=self.batch_size)

    def classify(self, requests: Sequence[Request], head: Head) -> Iterator[list[Choice]]:
        """A server writes texts: always BadInput."""
        raise BadInput("engine server writes texts and chooses no labels: take --engine hf")

    def loglikelihood(self, requests: Sequence[Continuation]) -> Iterator[list[Likelihood]]:
        """Yield likelihoods as they come. A server of vLLM gives them, with two tokens less of context than `hf` has:
        one of each request is generated. Other servers give no probabilities of a prompt, or say too little of them.
        """
        if self.served.by != "vllm":
            raise BadInput(
                f"{self.served.url} is no server of vLLM, and engine server takes log-likelihoods from that kind "
                "only: take --engine hf"
            )
        pairs = encoded(self.tokenizer, requests, None if self.context is None else self.context - 2)
        yield from as_finished(pairs, self._likelihood, self._client, concurrency=self.batch_size)

    async def _likelihood(self, client: AsyncClient, pair: Pair) -> Likelihood:
        """The score of one continuation, its tokens sent as they are, so that the boundary stays where it is."""
        tokens = [*pair.context, *pair.continuation]
        body = {
            "model": self.served.name, "prompt": tokens, "max_tokens": 1, "temperature": 0.0, "prompt_logprobs": 0
        }  # fmt: skip
        reply = await post(client, f"{self.served.url}/completions", body, self.retry, self._checked)
        found = (reply["choices"][0].get("prompt_logprobs") or [])[-len(pair.continuation) :]
        if len(found) != len(pair.continuation):
            raise BadInput(f"{self.served.url} gives no prompt_logprobs: take --engine hf")
        own = [entry[str(token)] for entry, token in zip(found, pair.continuation, strict=True)]
        return pair.scored_by_rank([(entry["logprob"], entry["rank"]) for entry in own])

    def close(self) -> None:
        """Nothing is held between two calls."""

    def _client(self) -> AbstractAsyncContextManager[AsyncClient]:
        from httpx2 import AsyncClient, Limits, Timeout

        limits = Limits(max_connections=self.batch_size, max_keepalive_connections=self.batch_size)
        timeout = Timeout(self.timeout, connect=CONNECTS_WITHIN)
        return AsyncClient(timeout=timeout, limits=limits, **connection(self.served.url))

    async def _answer(self, client: AsyncClient, job: Job) -> Completion:
        url, body = f"{self.served.url}/completions", self._body(job)
        try:
            reply = await post(client, url, body, self.retry, self._checked)
        except Refused:
            if body.pop("logprobs", None) is None:
                raise
            reply = await post(client, url, body, self.retry, self._checked)  # or it was about something else
            self._asks_logprobs = False
        return self._completion(job, reply)

    def _body(self, job: Job) -> dict[str, Any]:
        """What is asked: all of the sampling, so that nothing is left to defaults of the server or the model."""
        sampling = job.request.sampling
        body: dict[str, Any] = {
            "model": self.served.name,
            "prompt": job.request.prompt,
            "max_tokens": job.budget,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
        }
        if sampling.temperature > 0:
            # SGLang keeps seeds in 32 bits, and heeds them under --enable-deterministic-inference only.
            body["seed"] = job.request.seed % 2**31 if self.served.by == "sglang" else job.request.seed
            if self._asks_logprobs:  # of the chosen tokens alone, where that can be said
                body["logprobs"] = 0 if self.served.by == "vllm" else 1
        if self.served.by is None:
            return {**body, **({"stop": list(sampling.stop)} if sampling.stop else {})}
        ends, strings = self.stops(sampling.stop)
        return {
            **body,
            **PLAIN_SAMPLING,
            "stop": list(strings),
            "stop_token_ids": sorted(id for id in ends if id < self.vocabulary),
            # The end tokens of `hf`, neither more nor fewer. SGLang would ignore all of them.
            **({"ignore_eos": True} if self.served.by == "vllm" else {}),
            "return_token_ids": True,
        }

    @staticmethod
    def _checked(reply: dict[str, Any]) -> None:
        """Raise Failure for an answer that was broken off, which may go better next time."""
        choices = reply.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0].get("text"), str):
            raise Failure(f"an answer without one text: {str(reply)[:200]}")
        if choices[0].get("finish_reason") not in ("stop", "length"):
            raise Failure(f"an answer that ended with {choices[0].get('finish_reason')!r}")

    def _completion(self, job: Job, reply: dict[str, Any]) -> Completion:
        """The finished answer: from the server's tokens where it gives them, else from its text and count."""
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        self._check_prompt(job, choice.get("prompt_token_ids"), usage.get("prompt_tokens"))
        if isinstance(ids := choice.get("token_ids"), list):
            ends, strings = self.stops(job.request.sampling.stop)
            ended = choice["finish_reason"] == "stop"
            written = ids[:-1] if ended and ids and ids[-1] in ends else ids
            tokens = Tokens(job, written, ended, _logprobs(job, choice))
            [found] = self.completions([tokens], strings)
        else:
            found = self._from_text(job, choice, usage.get("completion_tokens"))
        return replace(found, budget=_budget(found))

    def _check_prompt(self, job: Job, ids: list[int] | None, n: int | None) -> None:
        """Refuse answers to another prompt than ours: the server then has another tokenizer, so another model."""
        if (ids is not None and ids != job.prompt) or (ids is None and n not in (None, len(job.prompt))):
            raise BadInput(
                f"the server reads a prompt as {n if ids is None else len(ids)} tokens and the model's tokenizer as "
                f"{len(job.prompt)}{'' if ids is None else ', and not the same ones'}: {self.served.name!r} at "
                f"{self.served.url} is not the model to be evaluated. The prompt begins {job.request.prompt[:80]!r}"
            )

    def _from_text(self, job: Job, choice: dict[str, Any], counted: int | None) -> Completion:
        """An answer of which the server gives the text, and perhaps the number of tokens.

        Its number includes the end token: that is left out where the server says what the answer ended with, or where
        no stop string was asked.
        """
        text, stop = choice["text"], job.request.sampling.stop
        cuts = [at for s in stop if (at := text.find(s)) >= 0]
        text = text[: min(cuts, default=None)]
        text = text.strip() if job.request.sampling.strip else text
        length = len(self.tokenizer(text)["input_ids"])
        if counted is None:
            self._say_estimated()
        elif choice["finish_reason"] == "stop" and counted > 0:
            matched = choice.get("stop_reason", choice.get("matched_stop"))
            counted -= isinstance(matched, int) or (matched is None and not stop)
        return Completion(
            request=job.request,
            text=text,
            n_generated=length if counted is None else counted,
            n_tokens_text=length,
            n_prompt_tokens=len(job.prompt),
            budget=job.budget,
            finish_reason=choice["finish_reason"],
            logprob_sum=None if (known := _logprobs(job, choice)) is None else math.fsum(known),
        )

    def _say_estimated(self) -> None:
        if not self._said:
            logger.warning(
                "%s does not say how many tokens it generates: the texts' own tokens are counted instead",
                self.served.url,
            )
        self._said = True


def _logprobs(job: Job, choice: dict[str, Any]) -> list[float] | None:
    """Of all tokens of a sampled answer, in the standard's layout or that of chats; None where one is missing."""
    found = choice.get("logprobs")
    if job.request.sampling.temperature == 0 or not isinstance(found, dict):
        return None
    content = [entry.get("logprob") for entry in found.get("content") or [] if isinstance(entry, dict)]
    values = found.get("token_logprobs") or content
    known = [v for v in values if isinstance(v, int | float) and math.isfinite(v)]
    return known if known and len(known) == len(values) else None


def _budget(done: Completion) -> int:
    """The effective budget. A server may end some tokens before a full context; elsewhere it must not."""
    if done.finish_reason != "length" or done.n_generated >= done.budget:
        return done.budget
    if done.budget < done.request.sampling.max_new_tokens:
        return done.n_generated
    raise BadInput(
        f"the server cut an answer at {done.n_generated} of {done.budget} tokens: it has a limit of its own (vLLM: "
        "the model's generation config; start it with --generation-config vllm)"
    )


def _configs(path: Path) -> list[Any]:
    """The text config, and the generation config where there is one."""
    from transformers import AutoConfig, GenerationConfig

    has_second = (path / "generation_config.json").is_file()
    second = [GenerationConfig.from_pretrained(path)] if has_second else []
    return [AutoConfig.from_pretrained(path).get_text_config(), *second]
