"""What tasks of lm-eval score of given answers: the log-likelihoods of one document are one response of ours.

Its text is JSON: [log probability, whether greedy decoding would write it] of each continuation, in the order in
which the task names them. A response is known by its document and by every context and continuation.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.engines.contract import Continuation, Engine
from bench.evaluation.answering import response_row
from bench.evaluation.questions import Ask, Pool
from bench.identity import seed_of, text_hash
from bench.lm_eval.asking import Asked
from tasks.contract import Draw, Sampling

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

    from bench.evaluation.target import EvalTarget

DRAW = Draw("loglikelihood", Sampling(max_new_tokens=0))
FINISHED = "likelihood"  # the finish reason


@dataclass
class Given:
    """The continuations of one document; `places` are those of each among the requests that were made."""

    pairs: list[tuple[str, str]] = field(default_factory=list)
    places: list[list[int]] = field(default_factory=list)

    def add(self, pair: tuple[str, str], place: int) -> None:
        """A request; one that is made again is scored once."""
        if pair not in self.pairs:
            self.pairs.append(pair)
            self.places.append([])
        self.places[self.pairs.index(pair)].append(place)


def pools_of_given(
    requests: Sequence[Instance], asked: Mapping[str, Asked], prompt: Callable[[str], str]
) -> list[tuple[Pool, list[Given]]]:
    """The pools of some log-likelihood requests, each with what is scored of each ask."""
    found: dict[str, dict[int, tuple[Instance, Given]]] = defaultdict(dict)
    for place, request in enumerate(requests):
        context, text = request.args
        _, given = found[str(request.task_name)].setdefault(int(request.doc_id or 0), (request, Given()))
        given.add((prompt(str(context)), str(text)), place)
    return [
        (_pool(asked[name], [_ask(asked[name], first, given) for first, given in documents.values()]),
         [given for _, given in documents.values()])
        for name, documents in found.items()
    ]  # fmt: skip


def _ask(asked: Asked, request: Instance, given: Given) -> Ask:
    document = asked.document(request.doc)
    sample = asked.sample(int(request.doc_id or 0), request.doc)
    asked_for = text_hash(json.dumps(given.pairs, ensure_ascii=False))
    return Ask(sample, 0, given.pairs[0][0], document, asked_for, seed_of(document, 0))


def _pool(asked: Asked, asks: Sequence[Ask]) -> Pool:
    return Pool(
        suite=asked.suite,
        benchmark=asked.benchmark,
        draw=DRAW,
        split=asked.split,
        source=asked.source,
        prompt_mode=asked.prompt_mode,
        expected_n=asked.expected_n,
        asks=tuple(asks),
    )


def scored(
    target: EvalTarget, engine: Engine, missing: Mapping[str, tuple[Pool, Ask, Given]]
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the documents of `missing`, in groups, as the last continuation of each is done."""
    requests = [
        Continuation(f"{id}.{k}", *pair)
        for id, (_, _, given) in missing.items()
        for k, pair in enumerate(given.pairs)
    ]
    parts: dict[str, dict[int, tuple[float, bool]]] = defaultdict(dict)
    for group in engine.loglikelihood(requests):
        rows = []
        for one in group:
            id, _, k = one.request.id.rpartition(".")
            parts[id][int(k)] = one.log_probability, one.is_greedy
            pool, ask, given = missing[id]
            if len(parts[id]) == len(given.pairs):
                done = parts.pop(id)
                rows.append(
                    response_row(target, engine, pool, ask, _answer(id, [done[k] for k in sorted(done)]))
                )
        yield rows


def _answer(id: str, found: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """Nothing was written: lengths and budgets are missing, not 0."""
    return {
        "response_id": id,
        "max_new_tokens": None,
        "budget": None,
        "text": json.dumps(found),
        "n_generated": None,
        "n_tokens_text": None,
        "n_prompt_tokens": None,
        "finish_reason": FINISHED,
    }


def likelihoods(text: str) -> list[tuple[float, bool]]:
    """What the text of such a response says."""
    return [(float(value), bool(greedy)) for value, greedy in json.loads(text)]
