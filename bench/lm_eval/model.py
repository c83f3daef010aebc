"""A model of ours as lm-eval sees it: its requests become our responses, generated once, stored as they finish.

Imports lm-eval; only a run that has it imports this module.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from bench import engines
from bench.engines.contract import Continuation, Likelihood
from bench.engines.texts import load_tokenizer
from bench.errors import BadInput
from bench.evaluation.answering import answered
from bench.evaluation.fitting import check_lengths
from bench.evaluation.held import HeldEngine
from bench.evaluation.progress import bar
from bench.evaluation.questions import Ask, Pool
from bench.lm_eval.asking import Asked, pools_of
from bench.lm_eval.given import Given, likelihoods, pools_of_given, scored

if TYPE_CHECKING:
    from bench.engines.contract import Engine
    from bench.evaluation.target import EvalTarget
    from bench.suites import EvalOptions
    from results.spool import Spool
    from results.store import Store

ADVICE = "leave these tasks out, give fewer examples (--num-fewshot), or take a model with a longer context"


class EngineLM(LM):
    """One checkpoint behind one engine, for all tasks of a run. The engine is loaded when a response is missing.

    `pools` holds what each task asked, `rows` its responses by id, `reused` how many of them were stored before.
    Use it as a context manager: leaving it closes the engine, unless it was lent one that others ask too (`held`).
    """

    def __init__(
        self,
        target: EvalTarget,
        options: EvalOptions,
        asked: Mapping[str, Asked],
        *,
        store: Store,
        spool: Spool,
        held: HeldEngine | None = None,
    ) -> None:
        super().__init__()
        self.target = target
        self.options = options
        self.asked = asked
        self.store = store
        self.spool = spool
        self.family, self.dtype = engines.engine_identity(
            options.engine, target.path, **options.engine_options()
        )
        self.pools: dict[str, list[tuple[Pool, list[str]]]] = defaultdict(list)
        self.rows: dict[str, Mapping[str, Any]] = {}
        self.generated, self.reused, self.tokens, self.seconds = 0, 0, 0, 0.0
        self.held = held or HeldEngine(target.path, options, target.reader)
        self._owns = held is None

    def __enter__(self) -> EngineLM:
        return self

    def __exit__(self, *how: object) -> None:
        if self._owns:
            self.held.close()

    @property
    def engine(self) -> Engine:
        """The loaded engine."""
        return self.held.get()

    @property
    def loaded(self) -> Engine | None:
        """The engine, if anything had to be generated."""
        return self.held.loaded

    def said(self) -> str:
        """What was generated and what was there, for people."""
        speed = f" in {self.seconds:.1f} s ({self.tokens / max(self.seconds, 1e-9):,.0f} tokens/s)"
        return (
            f"{self.generated:,} responses generated{speed if self.generated else ''}, {self.reused:,} reused"
        )

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """The texts of `requests`, in order: stored ones, and the rest generated now.

        A text is stripped of outer white space, as every response here; lm-eval's own models keep it.
        """
        ids: dict[int, str] = {}
        missing: dict[str, tuple[Pool, Ask]] = {}
        for pool, places in pools_of(requests, self.asked, self._without_bos):
            own = pool.ids(self.target.fingerprint, self.family, self.dtype)
            self.pools[pool.benchmark.name].append((pool, own))
            ids |= dict(zip(places, own, strict=True))
            missing |= {id: (pool, ask) for id, ask in zip(own, pool.asks, strict=True)}
        stored = self._stored(missing)
        self._generate({id: asks for id, asks in missing.items() if id not in stored}, show=not disable_tqdm)
        return [self.rows[ids[place]]["text"] for place in range(len(requests))]

    def _stored(self, ids: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of the responses that are stored already; they are kept in `rows`."""
        self.store.ingest()
        stored = {row["response_id"]: row for row in self.store.fetch("responses", ids)}
        self.rows |= stored
        self.reused += len(stored)
        return stored

    def _generate(self, missing: Mapping[str, tuple[Pool, Ask]], *, show: bool) -> None:
        """Answer what is missing."""
        if missing:
            check_lengths([*missing.values()], self.target.reader, ADVICE)
            self._keep("answering", len(missing), answered(self.target, self.engine, missing), show=show)

    def _keep(self, doing: str, total: int, found: Iterator[list[dict[str, Any]]], *, show: bool) -> None:
        """Every response is spooled as soon as it is finished."""
        started = time.perf_counter()
        with bar(f"{self.target.name}: {doing}", total, show=show) as advance:
            for rows in found:
                self.spool.append_many("responses", rows)
                self.rows |= {row["response_id"]: row for row in rows}
                self.generated += len(rows)
                self.tokens += sum(row["n_generated"] or 0 for row in rows)
                advance(len(rows))
        self.seconds += time.perf_counter() - started

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """(log probability, whether greedy decoding would write it) of each continuation of a context, in order.

        Stored ones, and the rest taken now: those of one document are one response.
        """
        pools = []
        missing: dict[str, tuple[Pool, Ask, Given]] = {}
        for pool, given in pools_of_given(requests, self.asked, self._without_bos):
            own = pool.ids(self.target.fingerprint, self.family, self.dtype)
            self.pools[pool.benchmark.name].append((pool, own))
            pools.append((given, own))
            missing |= {id: (pool, ask, one) for id, ask, one in zip(own, pool.asks, given, strict=True)}
        stored = self._stored(missing)
        self._score({id: asks for id, asks in missing.items() if id not in stored}, show=not disable_tqdm)
        found = {
            place: value
            for given, own in pools
            for one, id in zip(given, own, strict=True)
            for places, value in zip(one.places, likelihoods(self.rows[id]["text"]), strict=True)
            for place in places
        }
        return [found[place] for place in range(len(requests))]

    def _score(self, missing: Mapping[str, tuple[Pool, Ask, Given]], *, show: bool) -> None:
        """Take the likelihoods that are missing. What the engine refuses is said of the tasks."""
        if not missing:
            return
        try:
            found = scored(self.target, self.engine, missing)
            self._keep("log-likelihoods", len(missing), found, show=show)
        except BadInput as error:
            names = {str(pool.benchmark.name): None for pool, _, _ in missing.values()}
            raise self._refused(names, error) from error

    def _refused(self, names: Mapping[str, Any], error: BadInput) -> BadInput:
        return BadInput(
            f"{', '.join(names)} asks for log-likelihoods, and engine {self.family} says: {error}"
        )

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = False) -> list[float]:
        """Log probability of each whole text, in order.

        Raises BadInput for a text longer than the model's context, which lm-eval's own models take in pieces, and
        for a tokenizer that puts a token of its own before a text, which they score too.
        """
        if self.tokenizer("a")["input_ids"] != self.tokenizer("a", add_special_tokens=False)["input_ids"]:
            raise BadInput(
                f"the task {requests[0].task_name} asks for the likelihood of whole texts, and the tokenizer of "
                f"{self.target.name} begins a text with a token of its own: lm-eval's number for it would be another"
            )
        texts = [("", str(request.args[0])) for request in requests]
        return [one.log_probability for one in self._likelihoods(requests, texts, show=not disable_tqdm)]

    def _likelihoods(
        self, requests: Sequence[Instance], pairs: Sequence[tuple[str, str]], *, show: bool
    ) -> list[Likelihood]:
        """The likelihoods of (context, continuation) in order, which are not stored."""
        asked = [Continuation(str(place), *pair) for place, pair in enumerate(pairs)]
        found: dict[str, Likelihood] = {}
        with bar(f"{self.target.name}: log-likelihoods", len(asked), show=show) as advance:
            try:
                for group in self.engine.loglikelihood(asked):
                    found |= {one.request.id: one for one in group}
                    advance(len(group))
            except BadInput as error:
                names = {str(request.task_name): None for request in requests}
                raise self._refused(names, error) from error
        return [found[one.id] for one in asked]

    @cached_property
    def tokenizer(self) -> Any:
        """The checkpoint's own tokenizer; no weights are read for it."""
        return load_tokenizer(self.target.reader)

    @property
    def tokenizer_name(self) -> str:
        """Names the chat template among lm-eval's requests: the fingerprint covers the tokenizer's files."""
        return self.target.fingerprint

    def chat_template(self, chat_template: bool | str = False) -> str | None:
        """The template's source, for lm-eval's own record."""
        found = self.tokenizer.chat_template
        return found if isinstance(found, str) and chat_template else None

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The prompt that the checkpoint's own template makes of a conversation.

        Without a generation prompt the last message is continued. A template that refuses the system role gets the
        conversation without it, as from lm-eval's own models. Raises BadInput where there is no template.
        """
        from jinja2.exceptions import TemplateError

        if not self.tokenizer.chat_template:
            raise BadInput(
                f"{self.target.name} ({self.target.path}) has no chat template: leave out --apply-chat-template"
            )

        def applied(messages: list[dict[str, str]]) -> str:
            return str(
                self.tokenizer.apply_chat_template(
                    messages,
                    tokenize=False,
                    add_generation_prompt=add_generation_prompt,
                    continue_final_message=not add_generation_prompt,
                )
            )

        try:
            return applied(chat_history)
        except TemplateError:
            return applied([message for message in chat_history if message["role"] != "system"])

    def _without_bos(self, prompt: str) -> str:
        """The prompt without a first token that the tokenizer puts there once more: templates write it too."""
        if not any(asked.chat for asked in self.asked.values()):
            return prompt
        bos = self.tokenizer.bos_token
        if not bos or not prompt.startswith(bos):
            return prompt
        twice = self.tokenizer(prompt)["input_ids"][:2] == [self.tokenizer.bos_token_id] * 2
        return prompt.removeprefix(bos) if twice else prompt
