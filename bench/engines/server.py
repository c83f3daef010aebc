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
from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench.engines.contract import Choice, Completion, EngineOptions, Request
from bench.engines.gathering import as_finished
from bench.engines.retry import Failure, Retry, post
from bench.engines.served import Served, address, connection, served
from bench.errors import BadInput
from bench.models.loading import require_tokenizer

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


@dataclass(frozen=True)
class _Job:
    """A request with its prompt's tokens and its effective budget, tokens."""

    request: Request
    prompt: list[int]
    budget: int


class ServerEngine:
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
        self.tokenizer, config, self.end_ids = _opened(Path(path))
        self.context: int | None = model.context or getattr(config, "max_position_embeddings", None)
        self._said = False

    def generate(self, requests: Sequence[Request]) -> Iterator[list[Completion]]:
        """Yield completions as they finish, at most `batch_size` requests under way.

        Raises BadInput, before anything is asked, for a prompt that leaves no room in the context; on the way when
        the server refuses a request or stays away.
        """
        yield from as_finished(self._jobs(requests), self._answer, self._client, concurrency=self.batch_size)

    def classify(self, requests: Sequence[Request], head: Path) -> Iterator[list[Choice]]:
        """A server writes texts: always BadInput."""
        raise BadInput("engine server writes texts and chooses no labels: take --engine hf")

    def close(self) -> None:
        """Nothing is held between two calls."""

    def _client(self) -> AbstractAsyncContextManager[AsyncClient]:
        from httpx2 import AsyncClient, Limits, Timeout

        limits = Limits(max_connections=self.batch_size, max_keepalive_connections=self.batch_size)
        timeout = Timeout(self.timeout, connect=CONNECTS_WITHIN)
        return AsyncClient(timeout=timeout, limits=limits, **connection(self.served.url))

    def _jobs(self, requests: Sequence[Request]) -> list[_Job]:
        if not requests:
            return []
        jobs = []
        prompts = self.tokenizer([request.prompt for request in requests])["input_ids"]
        for request, ids in zip(requests, prompts, strict=True):
            if not ids or (self.context is not None and len(ids) >= self.context):
                raise BadInput(
                    f"a prompt of {len(ids)} tokens does not fit: the served context is {self.context} tokens and an "
                    f"answer needs at least one. The prompt begins {request.prompt[:80]!r}"
                )
            asked = request.sampling.max_new_tokens
            budget = asked if self.context is None else min(asked, self.context - len(ids))
            jobs.append(_Job(request, ids, budget))
        return jobs

    async def _answer(self, client: AsyncClient, job: _Job) -> Completion:
        url = f"{self.served.url}/completions"
        reply = await post(client, url, self._body(job), self.retry, self._checked)
        return self._completion(job, reply)

    def _body(self, job: _Job) -> dict[str, Any]:
        sampling = job.request.sampling
        special, strings = self._stops(sampling.stop)
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
        if self.served.by is None:
            return {**body, **({"stop": list(sampling.stop)} if sampling.stop else {})}
        return {
            **body,
            **PLAIN_SAMPLING,
            "stop": list(strings),
            "stop_token_ids": sorted(self.end_ids | special),
            "return_token_ids": True,
        }

    def _stops(self, stop: tuple[str, ...]) -> tuple[set[int], tuple[str, ...]]:
        """Stop strings as end tokens where the tokenizer has one special token for the string, else as text.

        Special tokens are left out of the text, so that as text they would never be seen.
        """
        decoder = getattr(self.tokenizer, "added_tokens_decoder", {})
        special = {str(token): id for id, token in decoder.items() if token.special}
        return {special[s] for s in stop if s in special}, tuple(s for s in stop if s not in special)

    @staticmethod
    def _checked(reply: dict[str, Any]) -> None:
        """Raise Failure for an answer that was broken off, which may go better next time."""
        choices = reply.get("choices")
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choices[0].get("text"), str):
            raise Failure(f"an answer without one text: {str(reply)[:200]}")
        if choices[0].get("finish_reason") not in ("stop", "length"):
            raise Failure(f"an answer that ended with {choices[0].get('finish_reason')!r}")

    def _completion(self, job: _Job, reply: dict[str, Any]) -> Completion:
        choice, usage = reply["choices"][0], reply.get("usage") or {}
        self._check_prompt(job, choice.get("prompt_token_ids"), usage.get("prompt_tokens"))
        stops = [at for s in job.request.sampling.stop if (at := choice["text"].find(s)) >= 0]
        text = choice["text"][: min(stops, default=None)].strip()
        length = len(self.tokenizer(text)["input_ids"])
        reason: Literal["stop", "length"] = choice["finish_reason"]
        n_generated = self._n_generated(job, choice, usage)
        if n_generated is None:
            n_generated = length
            self._say_estimated()
        return Completion(
            request=job.request,
            text=text,
            n_generated=n_generated,
            n_tokens_text=length,
            n_prompt_tokens=len(job.prompt),
            budget=self._budget(job, reason, n_generated),
            finish_reason=reason,
        )

    def _check_prompt(self, job: _Job, ids: list[int] | None, n: int | None) -> None:
        """Refuse answers to another prompt than ours: the server then has another tokenizer, so another model."""
        if (ids is not None and ids != job.prompt) or (
            ids is None and n is not None and n != len(job.prompt)
        ):
            raise BadInput(
                f"the server reads a prompt as {n if ids is None else len(ids)} tokens and the model's tokenizer as "
                f"{len(job.prompt)}{'' if ids is None else ', and not the same ones'}: {self.served.name!r} at "
                f"{self.served.url} is not the model to be evaluated. The prompt begins {job.request.prompt[:80]!r}"
            )

    def _n_generated(self, job: _Job, choice: dict[str, Any], usage: dict[str, Any]) -> int | None:
        """Tokens generated, the end token not counted; None when the server does not say.

        A count without the tokens includes the end token: that is left out where the server says what the answer
        ended with, or where no stop string was asked.
        """
        stopped = choice["finish_reason"] == "stop"
        if isinstance(ids := choice.get("token_ids"), list):
            ends = self.end_ids | self._stops(job.request.sampling.stop)[0]
            return len(ids) - (stopped and bool(ids) and ids[-1] in ends)
        if not isinstance(count := usage.get("completion_tokens"), int):
            return None
        matched = choice.get("stop_reason", choice.get("matched_stop"))
        by_token = isinstance(matched, int) or (matched is None and not job.request.sampling.stop)
        return count - (stopped and by_token and count > 0)

    def _budget(self, job: _Job, reason: str, n_generated: int) -> int:
        """The effective budget. A server may end some tokens before a full context; elsewhere it must not."""
        if reason != "length" or n_generated >= job.budget:
            return job.budget
        if job.budget < job.request.sampling.max_new_tokens:
            return n_generated
        raise BadInput(
            f"the server cut an answer at {n_generated} of {job.budget} tokens: it has a limit of its own (vLLM: the "
            "model's generation config; start it with --generation-config vllm)"
        )

    def _say_estimated(self) -> None:
        if not self._said:
            logger.warning(
                "%s does not say how many tokens it generates: the texts' own tokens are counted instead",
                self.served.url,
            )
        self._said = True


def _opened(path: Path) -> tuple[Any, Any, set[int]]:
    """Tokenizer, text config, and the ids that end an answer: those of both configs, else the tokenizer's."""
    from transformers import AutoConfig, AutoTokenizer, GenerationConfig

    require_tokenizer(path, str(path))
    try:
        tokenizer, config = (
            AutoTokenizer.from_pretrained(path),
            AutoConfig.from_pretrained(path).get_text_config(),
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput(f"transformers cannot load the tokenizer of {path}: {error}") from error
    configs = [config]
    if (path / "generation_config.json").is_file():
        configs.append(GenerationConfig.from_pretrained(path))
    ids: set[int] = set()
    for one in configs:
        value = getattr(one, "eos_token_id", None)
        ids |= set(value if isinstance(value, list) else [value]) - {None}
    return tokenizer, config, ids or {tokenizer.eos_token_id} - {None}
