"""What lm-eval measured, as our rows: a score for each metric that it aggregates, and those that tables show."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.evaluation.grading import Graded
from bench.evaluation.questions import Pool
from bench.evaluation.scoring import score
from bench.evaluation.target import EvalTarget
from bench.lm_eval import PREFIX
from bench.lm_eval.given import DRAW as GIVEN
from bench.lm_eval.model import EngineLM
from bench.lm_eval.verdicts import Measured, correct, shown_pools
from results.scores import document_set, lengths

if TYPE_CHECKING:
    pass

Row = dict[str, Any]


def scores(measured: Measured, lm: EngineLM, target: EvalTarget, verdicts: Iterable[Row]) -> list[Row]:
    """Every aggregated metric under lm-eval's name, and what the leaderboard reads: accuracy and lengths."""
    common = common_of(measured, lm, target)
    by_key = {
        (row["metric"], row["grader"]): row
        for row in (*_board_rows(measured, lm, common, verdicts), *_metric_rows(measured, common))
    }
    return list(by_key.values())


def common_of(measured: Measured, lm: EngineLM, target: EvalTarget) -> Row:
    asked = measured.asked
    pools = shown_pools(lm, asked.benchmark.name)
    documents = {asked.document(sample["doc"]) for sample in measured.samples}
    return {
        "checkpoint": target.fingerprint,
        "model_set": target.model_set,
        "base": target.base,
        "expert": asked.expert(target.experts),
        "suite": asked.suite,
        "domain": asked.benchmark.domain,
        "benchmark": asked.benchmark.name,
        "benchmark_version": asked.benchmark.version,
        "split": asked.split,
        "draw": pools[0][0].draw.name if pools else GIVEN.name,
        "n": len({sample["doc_id"] for sample in measured.samples}),
        "expected_n": asked.expected_n,
        "document_set": document_set(documents),
        "prompt_mode": asked.prompt_mode,
        "engine": lm.family,
        "dtype": lm.dtype,
    }


def _metric_rows(measured: Measured, common: Row) -> Iterator[Row]:
    """Aggregated metrics; lm-eval's keys are METRIC,FILTER and METRIC_stderr,FILTER ("N/A" where undefined)."""
    for filter, metric in measured.metrics:
        value = number(measured.aggregated.get(f"{metric},{filter}"))
        yield {
            **common,
            "metric": metric,
            "value": value,
            "stderr": number(measured.aggregated.get(f"{metric}_stderr,{filter}")),
            "n": len(measured.values(filter, metric)),
            "grader": f"{PREFIX}{measured.asked.name}:{filter}@{measured.asked.grader_version}",
        }


def group_scores(
    name: str,
    version: str,
    aggregated: Mapping[str, Any],
    members: Sequence[Measured],
    lm: EngineLM,
    target: EvalTarget,
) -> list[Row]:
    """The metrics that lm-eval aggregates over the tasks of a group, as scores of a benchmark of the group's name."""
    commons = [common_of(member, lm, target) for member in members]
    documents = {one.asked.document(sample["doc"]) for one in members for sample in one.samples}
    own = {
        "benchmark": f"{PREFIX}{name}",
        "benchmark_version": version,
        "draw": _shared(common["draw"] for common in commons),
        "split": _shared(common["split"] for common in commons),
        "prompt_mode": _shared(common["prompt_mode"] for common in commons),
        "n": sum(common["n"] for common in commons),
        "expected_n": sum(common["expected_n"] for common in commons),
        "document_set": document_set(documents),
    }
    return [
        {
            **commons[0],
            **own,
            "metric": metric,
            "value": number(value),
            "stderr": number(aggregated.get(f"{metric}_stderr,{filter}")),
            "grader": f"{PREFIX}{name}:{filter}@{members[0].asked.grader_version.partition('-')[0]}",
        }
        for key, value in aggregated.items()
        for metric, _, filter in [key.partition(",")]
        if filter and not metric.endswith("_stderr")
    ]


def _shared(values: Iterable[str]) -> str:
    """What the tasks of a group have in common, or each of it."""
    return ", ".join(dict.fromkeys(values))


def number(value: Any) -> float | None:
    """The value as a number; lm-eval writes "N/A" for what is undefined."""
    value = value.item() if hasattr(value, "item") else value
    return float(value) if isinstance(value, int | float) else None


def _board_rows(measured: Measured, lm: EngineLM, common: Row, verdicts: Iterable[Row]) -> list[Row]:
    """`accuracy` under every metric that is right or wrong, the task's first one first; lengths and truncation."""
    metrics = [
        (filter, metric)
        for filter, metric in measured.metrics
        if all(correct(metric, value) is not None for value in measured.values(filter, metric))
    ]
    pools = shown_pools(lm, measured.asked.benchmark.name)
    judged: dict[str, dict[str, Any]] = {measured.grader(*names): {} for names in metrics}
    for row in verdicts:
        judged.get(row["grader"], {})[row["response_id"]] = row
    if (
        metrics
        and len(pools) == 1
        and all(judgements.keys() >= {*pools[0][1]} for judgements in judged.values())
    ):
        pool, ids = pools[0]
        own = {key: common[key] for key in ("model_set", "base", "expert")}
        graders = tuple(judged)
        graded = Graded(graders, first=frozenset(graders[:1]), responses=dict(lm.rows), verdicts=judged)
        return score(pool, graded, ids, own)
    return [*_accuracy_rows(measured, common, metrics[:1]), *_length_rows(pools, lm, common)]


def _accuracy_rows(measured: Measured, common: Row, metrics: Sequence[tuple[str, str]]) -> Iterator[Row]:
    """Accuracy as lm-eval aggregates it: of pools, and of what was answered without a text."""
    for filter, metric in metrics:
        yield {
            **common,
            "metric": "accuracy",
            "value": number(measured.aggregated.get(f"{metric},{filter}")),
            "stderr": number(measured.aggregated.get(f"{metric}_stderr,{filter}")),
            "grader": f"{measured.grader(filter, metric)}@{measured.asked.grader_version}",
            "first_grader": True,
        }


def _length_rows(pools: Sequence[tuple[Pool, Sequence[str]]], lm: EngineLM, common: Row) -> Iterator[Row]:
    """Lengths of responses that no verdict stands on one by one."""
    asked = [(ask, id) for pool, ids in pools for ask, id in zip(pool.asks, ids, strict=True)]
    if not asked:
        return
    found = lengths([lm.rows[id] for _, id in asked], [ask.sample.id for ask, _ in asked])
    for metric, estimate in found.items():
        value, stderr = (estimate.value, estimate.stderr) if estimate else (None, None)
        yield {**common, "metric": metric, "value": value, "stderr": stderr, "grader": None}
