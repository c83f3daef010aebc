"""The cells of a leaderboard, one per checkpoint and benchmark, from scores that may stand in one table."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from results.cell import Budget, Cell, Group, VotePoint
from results.chosen import Key, Record, budget_of, key_of
from results.statistics import Estimate
from results.voting import ROBUST

GROUP = "accuracy:"
GRADED = ("accuracy", "no_answer", "accuracy_complete", "length_correct", "stopped")

Place = tuple[Any, ...]  # document set, engine, dtype
Places = Mapping[Key, Mapping[Place, Mapping[str, Record]]]
"""Scores by metric, of every place where a checkpoint was asked something."""


def places_of(scores: list[Record]) -> Places:
    """The newest score of each metric, by key and place."""
    groups: dict[Key, dict[Place, dict[str, Record]]] = defaultdict(lambda: defaultdict(dict))
    for s in scores:  # oldest first: the newest stays
        place = (s["document_set"], s["engine"], s["dtype"])
        groups[key_of(s)][place][s["metric"]] = s
    return groups


def cells_of(places: Places, budgets: Mapping[tuple[Any, ...], Budget]) -> dict[Key, Cell]:
    """One cell per checkpoint and benchmark: the measurement over most questions, then from the engine that most
    checkpoints have, then the newest."""
    holders = Counter(
        (asked, engine, dtype)
        for (_, _, asked), found in places.items()
        for engine, dtype in {place[1:] for place, metrics in found.items() if "accuracy" in metrics}
    )

    def preferred(score: Record) -> tuple[Any, ...]:
        by = score["asked"], score["engine"], score["dtype"]
        return score["n"] or 0, holders[by], score["created_at"]

    cells = {}
    for key, found in places.items():
        measured = [metrics for metrics in found.values() if "accuracy" in metrics]
        if measured:
            best = max(measured, key=lambda m: preferred(m["accuracy"]))
            cells[key] = cell_of(best, budget_of(best["accuracy"], budgets))
    return cells


def votes_elsewhere(scores: list[Record], cells: Mapping[Key, Cell]) -> list[str]:
    """Says which votes are stored and not shown, because they do not rest on what the accuracies rest on."""
    apart: dict[str, set[str]] = defaultdict(set)
    for s in scores:
        cell = cells.get(key_of(s))
        if cell and not cell.votes and s["metric"].startswith("maj@") and s["value"] is not None:
            apart[s["benchmark"]].add(s["checkpoint"])
    return [
        f"{benchmark}: {len(checkpoints)} checkpoint(s) have votes over other questions, or from another engine or "
        "dtype, than their accuracy: not shown."
        for benchmark, checkpoints in apart.items()
    ]


def cell_of(metrics: Mapping[str, Record], budget: Budget | None = None) -> Cell:
    """The cell that the scores of one place make."""

    def estimate(metric: str) -> Estimate | None:
        score = metrics.get(metric)
        return None if score is None or score["value"] is None else Estimate(score["value"], score["stderr"])

    def value(metric: str) -> float | None:
        found = estimate(metric)
        return found.value if found else None

    head = metrics["accuracy"]
    curve = _curve(metrics, estimate)
    return Cell(
        benchmark=head["benchmark"],
        benchmark_version=head["benchmark_version"],
        base=head["base"],
        expert=head["expert"],
        accuracy=estimate("accuracy"),
        length=estimate("length_mean"),
        length_median=value("length_median"),
        length_p90=value("length_p90"),
        truncated=value("truncated"),
        no_answer=value("no_answer"),
        votes={point.n: point.accuracy for point in curve if point.rule == ROBUST},
        n=head["n"] or 0,
        expected_n=head["expected_n"] or 0,
        document_set=head["document_set"],
        draw=head["draw"],
        grader=head["grader"],
        prompt_mode=head["prompt_mode"],
        engine=head["engine"],
        dtype=head["dtype"],
        has_length="length_mean" in metrics,
        curve=curve,
        flips={m.removeprefix("flips:"): s["value"] for m, s in metrics.items() if m.startswith("flips:")},
        accuracy_complete=estimate("accuracy_complete"),
        length_correct=value("length_correct"),
        length_untruncated=value("length_untruncated"),
        length_fixed={
            m.removeprefix("length_mean@"): found
            for m in metrics
            if m.startswith("length_mean@") and (found := estimate(m)) is not None
        },
        reflections=value("reflections"),
        code_fence=value("code_fence"),
        samples=head["samples"],
        stopped=_stopped(metrics),
        budget=budget,
        domain=head["domain"],
        constant=head["constant"],
        groups={
            m.removeprefix(GROUP): Group(estimate(m), s["n"] or 0)
            for m, s in metrics.items()
            if m.startswith(GROUP)
        },
        native={
            m: found for m, s in metrics.items() if _is_native(m, s) and (found := estimate(m)) is not None
        },
    )


def _is_native(metric: str, score: Record) -> bool:
    """A metric of the benchmark's own: under a grader, and none of those that every benchmark has."""
    return score["grader"] is not None and metric not in GRADED and not any(c in metric for c in "@: ")


def _stopped(metrics: Mapping[str, Record]) -> int | None:
    """Responses, those that vote too, on which grading met a limit; None where no score says so."""
    known = [s for m, s in metrics.items() if m.partition(" of ")[0] == "stopped" and s["value"] is not None]
    return sum(round(s["value"] * s["n"] * (s["samples"] or 1)) for s in known) if known else None


def _curve(
    metrics: Mapping[str, Record], estimate: Callable[[str], Estimate | None]
) -> tuple[VotePoint, ...]:
    """Every maj@n that has a value: `maj@8` is of the rule robust, `maj@8:toolkit` names its rule."""
    points = []
    for metric, score in metrics.items():
        if not metric.startswith("maj@") or (accuracy := estimate(metric)) is None:
            continue
        n, _, rule = metric.removeprefix("maj@").partition(":")
        ends = score["low"], score["high"]
        tokens, samples = estimate(f"tokens@{n}"), score["samples"]
        points.append(VotePoint(int(n), rule or ROBUST, accuracy, *ends, tokens, samples))
    return tuple(sorted(points, key=lambda point: (point.rule, point.n)))


def length_ratios(scores: list[Record], cells: Mapping[Key, Cell]) -> dict[Key, Cell]:
    """Cells with their lengths over those of the expert, where the expert was asked the same documents."""
    lengths: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for s in scores:  # oldest first: the newest stays
        if s["metric"].partition("@")[0] == "length_mean":
            for by in ((s["engine"], s["dtype"]), ()):
                lengths[(*key_of(s), s["document_set"], *by)][s["metric"]] = s["value"]
    compared = {}
    for (model_set, checkpoint, benchmark), cell in cells.items():
        place = model_set, cell.expert, benchmark, cell.document_set
        # Of the same engine where the expert has them: engines are known to differ a little.
        expert = lengths.get((*place, cell.engine, cell.dtype)) or lengths.get(place, {})
        fixed = {
            name: _over(one, expert.get(f"length_mean@{name}")) for name, one in cell.length_fixed.items()
        }
        compared[model_set, checkpoint, benchmark] = replace(
            cell,
            length_ratio=_over(cell.length, expert.get("length_mean")),
            length_fixed_ratio={name: ratio for name, ratio in fixed.items() if ratio is not None},
        )
    return compared


def _over(length: Estimate | None, expert: float | None) -> float | None:
    return length.value / expert - 1 if length and expert else None
