"""What lm-eval measured of each answer: a verdict for each metric of each response."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.evaluation.questions import Pool
from bench.lm_eval import PREFIX
from bench.lm_eval.asking import Asked
from bench.lm_eval.given import DRAW as GIVEN
from bench.lm_eval.model import EngineLM

if TYPE_CHECKING:
    from results.store import Store

Row = dict[str, Any]
FOUND_NOTHING = "[invalid]"  # what lm-eval's filters put where their pattern matched nothing
LONGEST = 500  # characters of an extracted answer that a verdict keeps: the response has all of it
# Metrics that are right or wrong, though their values are written as numbers.
RIGHT_OR_WRONG = {"exact_match", "acc", "acc_norm", "em", "exact", "pass@1", "math_verify"}


@dataclass(frozen=True)
class Measured:
    """What lm-eval made of one task: a sample for each document and filter, and the aggregated metrics."""

    asked: Asked
    samples: Sequence[Mapping[str, Any]]
    aggregated: Mapping[str, Any]

    @cached_property
    def metrics(self) -> list[tuple[str, str]]:
        """(filter, metric) of what was measured on each document, in lm-eval's order."""
        return list(dict.fromkeys((s["filter"], metric) for s in self.samples for metric in s["metrics"]))

    def values(self, filter: str, metric: str) -> list[Any]:
        """The metric's value on each document that has one."""
        return [s[metric] for s in self.samples if s["filter"] == filter and metric in s["metrics"]]

    def grader(self, filter: str, metric: str) -> str:
        """Name of the grader that a metric is; with several of one filter the metric tells them apart."""
        if self.asked.place:
            return self.asked.place.scored.grader(metric, filter)
        name = f"{PREFIX}{self.asked.name}:{filter}"
        return name if sum(f == filter for f, _ in self.metrics) == 1 else f"{name}:{metric}"


def verdict_rows(measured: Measured, lm: EngineLM) -> list[Row]:
    """One verdict for each metric of each document that was answered once.

    A metric that is neither right nor wrong on one document is so on none: what is compared in pairs is no selection.
    """
    rows = {}
    for id, sample, metric in judged(measured, lm):
        row = {
            "response_id": id,
            "grader": measured.grader(sample["filter"], metric),
            "grader_version": measured.asked.grader_version,
            "correct": correct(metric, sample[metric]),
            "extracted": _extracted(sample, metric),
            "vote": None,
            "why": f"{metric} = {_plain(sample[metric])}",
        }
        rows[id, row["grader"]] = row
    undecided = {row["grader"] for row in rows.values() if row["correct"] is None}
    return [{**row, "correct": None} if row["grader"] in undecided else row for row in rows.values()]


def judged(measured: Measured, lm: EngineLM) -> Iterator[tuple[str, Mapping[str, Any], str]]:
    """(response id, sample, metric) of everything that is a verdict on one response.

    What is measured on a pool of responses is a verdict on none of them: it is in the scores.
    """
    responses = _responses(measured, lm)
    for sample in measured.samples:
        own = responses.get(str(sample["doc_id"]), [])
        if len(own) == 1:
            yield from ((own[0], sample, metric) for metric in sample["metrics"])


def correct(metric: str, value: Any) -> bool | None:
    """Right or wrong, where the metric says so: a truth value, or 0 and 1 of a metric that has no other."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool):
        return value
    return bool(value) if metric in RIGHT_OR_WRONG and value in (0, 1) else None


def shown_pools(lm: EngineLM, benchmark: str) -> list[tuple[Pool, list[str]]]:
    """What the answers of a benchmark are: what was written, or else the likelihoods of given answers."""
    pools = lm.pools.get(benchmark, [])
    return [one for one in pools if one[0].draw != GIVEN] or pools


def _responses(measured: Measured, lm: EngineLM) -> dict[str, list[str]]:
    """Response ids by document. A task that makes several requests of a document has several."""
    place, found = measured.asked.place, dict[str, list[str]]()
    start = f"{place.group}/" if place and place.group else ""
    for pool, ids in shown_pools(lm, measured.asked.benchmark.name):
        for ask, id in zip(pool.asks, ids, strict=True):
            if ask.sample.id.startswith(start):
                found.setdefault(ask.sample.id.removeprefix(start).partition(".")[0], []).append(id)
    return found


def _extracted(sample: Mapping[str, Any], metric: str) -> str | None:
    """What the filter found in the answer, None where it found nothing; of given answers the most probable one."""
    first = sample["filtered_resps"][0] if sample["filtered_resps"] else None
    if isinstance(first, tuple | list) and len(first) == 2:
        return _most_probable(sample, by_length=metric == "acc_norm")[:LONGEST]
    text = None if first is None else str(first)
    return None if text == FOUND_NOTHING else text and text[:LONGEST]


def _most_probable(sample: Mapping[str, Any], *, by_length: bool) -> str:
    """The continuation that acc takes, or acc_norm, which divides by the characters."""
    texts = [str(arguments[1]).strip() for arguments in sample["arguments"]]
    values = [
        value / (len(text) if by_length else 1)
        for text, (value, _) in zip(texts, sample["filtered_resps"], strict=True)
    ]
    return texts[values.index(max(values))]


def _plain(value: Any) -> str:
    return json.dumps(value, default=lambda v: v.item() if hasattr(v, "item") else str(v))


def new_verdicts(verdicts: Sequence[Row], store: Store, version: str) -> list[Row]:
    """Those that are not stored, or that say something else than what is."""
    ids = {row["response_id"] for row in verdicts}
    stored = {
        (row["response_id"], row["grader"]): row
        for row in store.fetch("verdicts", ids, grader_version=version)
    }
    return [row for row in verdicts if _differs(row, stored.get((row["response_id"], row["grader"])))]


def _differs(row: Mapping[str, Any], stored: Mapping[str, Any] | None) -> bool:
    return stored is None or any(stored[name] != value for name, value in row.items())
