"""What lm-eval measured of a suite's benchmark, as scores: `accuracy` under each metric, the chosen one first.

The tasks of a group are one benchmark: all their documents count alike, which is lm-eval's mean weighted by size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bench.errors import BadInput
from bench.evaluation.grading import Graded
from bench.evaluation.questions import Pool
from bench.evaluation.scoring import score
from bench.evaluation.target import EvalTarget
from bench.lm_eval import PREFIX
from bench.lm_eval.asking import Asked
from bench.lm_eval.model import EngineLM
from bench.lm_eval.recording import common_of, number
from bench.lm_eval.squad import of_document
from bench.lm_eval.verdicts import Measured, Row, judged, shown_pools
from tasks.contract import LmEvalTask

PER_CENT = 100.0


def measured_of(asked: Asked, found: Mapping[str, Any]) -> Measured:
    """What lm-eval made of one task, with the metrics that are a number of each document."""
    samples = [_numbered(sample) for sample in found["samples"][asked.name]]
    return Measured(asked, samples, found["results"][asked.name])


def _numbered(sample: Mapping[str, Any]) -> dict[str, Any]:
    values = {metric: _of_document(metric, sample[metric]) for metric in sample["metrics"]}
    known = {metric: value for metric, value in values.items() if value is not None}
    return {**sample, **known, "metrics": list(known)}


def _of_document(metric: str, value: Any) -> bool | float | None:
    """A metric's value for one document; None where it has none alone: instructions that are counted together."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], dict):  # SQuAD's answer and gold
        return of_document(metric, str(value[0]["prediction_text"]), value[1])
    return value if isinstance(value, bool | int | float) else None


def suite_scores(
    members: Sequence[Measured], verdicts: Sequence[Row], lm: EngineLM, target: EvalTarget
) -> list[Row]:
    """The score rows of one benchmark, from what was measured of its tasks and the verdicts on its responses."""
    scored = _scored(members[0].asked)
    pool, ids = _pool(members, scored, lm)
    graders = _graders(members, scored)
    points = {
        (id, one.grader(sample["filter"], metric)): float(sample[metric])
        for one in members
        for id, sample, metric in judged(one, lm)
    }
    undecided = {row["grader"] for row in verdicts if row["correct"] is None}
    by_grader: dict[str, dict[str, Any]] = {grader: {} for grader in graders}
    for row in verdicts:
        value = points[row["response_id"], row["grader"]] if row["grader"] in undecided else None
        by_grader[row["grader"]][row["response_id"]] = {**row, "value": value}
    common = {
        "model_set": target.model_set,
        "base": target.base,
        "expert": members[0].asked.expert(target.experts),
    }
    graded = Graded(
        graders, first=frozenset(graders[:1]), responses={id: lm.rows[id] for id in ids}, verdicts=by_grader
    )
    rows = score(pool, graded, ids, common)
    return [*rows, *(_aggregated(members[0], scored, lm, target) if len(members) == 1 else ())]


def _scored(asked: Asked) -> LmEvalTask:
    if asked.place is None:
        raise ValueError(f"{asked.name} was not asked for a suite")
    return asked.place.scored


def _pool(members: Sequence[Measured], scored: LmEvalTask, lm: EngineLM) -> tuple[Pool, list[str]]:
    """Everything that was asked of a benchmark, as one pool, with the ids of the responses."""
    pools = shown_pools(lm, scored.name)
    if len({pool.draw.name for pool, _ in pools}) != 1:
        raise ValueError(f"{scored.name} is asked in several ways: its tasks are not one benchmark")
    n = scored.size or sum(one.asked.expected_n for one in members)
    whole = replace(pools[0][0], asks=tuple(ask for pool, _ in pools for ask in pool.asks), expected_n=n)
    return whole, [id for _, ids in pools for id in ids]


def _graders(members: Sequence[Measured], scored: LmEvalTask) -> tuple[str, ...]:
    """The metrics that each document has a value of, as graders; the chosen one first."""
    metrics = [pair for pair in members[0].metrics if all(pair in one.metrics for one in members)]
    chosen = (scored.filter, scored.metric)
    if chosen not in metrics:
        known = ", ".join(f"{metric} under {filter}" for filter, metric in metrics)
        raise BadInput(
            f"{scored.name}: lm-eval gave no {scored.metric} under {scored.filter} for each document, but {known}"
        )
    return tuple(dict.fromkeys(scored.grader(metric, filter) for filter, metric in [chosen, *metrics]))


def _aggregated(one: Measured, scored: LmEvalTask, lm: EngineLM, target: EvalTarget) -> Iterator[Row]:
    """Every metric as lm-eval aggregates it, under its own name: METRIC,FILTER and METRIC_stderr,FILTER."""
    common = common_of(one, lm, target)
    for key, found in one.aggregated.items():
        metric, comma, filter = key.partition(",")
        if not comma or metric.endswith("_stderr"):
            continue
        value, error = number(found), number(one.aggregated.get(f"{metric}_stderr,{filter}"))
        scale = PER_CENT if scored.percent else 1.0
        yield {
            **common,
            "expected_n": scored.size or common["expected_n"],
            "metric": metric,
            "value": None if value is None else value / scale,
            "stderr": None if error is None else error / scale,
            "grader": f"{PREFIX}{filter}@{one.asked.grader_version}",
        }
