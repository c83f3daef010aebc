"""Accuracy against length, with error bars on both axes and the Pareto front."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from app.labels import GAP, LANES, SHORTEST, place
from results import text
from results.board import Board, Row, pareto
from results.statistics import Estimate

COLORS = {"base": "#868e96", "expert": "#1c7ed6", "merged": "#e8590c"}
NAMES = "#737d87"  # between black and white: readable on a light and on a dark page
TOOLTIP = ("model", "definition", "accuracy ± SE", "length ± SE", "Pareto", "n")
MARGIN = 0.06  # of the range of the values, on each side


@dataclass(frozen=True)
class Point:
    """One model on one benchmark, or on their mean."""

    row: Row
    accuracy: Estimate
    length: Estimate


def points_of(board: Board, benchmark: str | None) -> list[Point]:
    """The rows that have both numbers for a benchmark, or, for None, both means."""
    found = []
    for row in board.rows:
        source = row if benchmark is None else row.cells[benchmark]
        if source is not None and source.accuracy is not None and source.length is not None:
            found.append(Point(row, source.accuracy, source.length))
    return found


def front(points: Sequence[Point]) -> list[bool]:
    """Which points are on the Pareto front: nothing else is as accurate and as short, and better in one."""
    return pareto([(point.accuracy.value, point.length.value) for point in points])


def tradeoff(points: Sequence[Point], *, errors: float, log: bool) -> alt.LayerChart:
    """The scatter plot; `errors` is the half-width of the bars in standard errors, 0 for none."""
    records = _records(points, errors, log=log)
    x = alt.X(
        "length:Q",
        title="mean response length, tokens (shorter is better)",
        scale=alt.Scale(
            type="log" if log else "linear", domain=_lengths(records, log=log), zero=False, nice=False
        ),
        axis=alt.Axis(tickCount=10),
    )
    y = alt.Y(
        "accuracy:Q",
        title="accuracy, %",
        scale=alt.Scale(domain=_percentages(records), zero=False, nice=False),
    )
    base = alt.Chart(alt.Data(values=records)).encode(x=x, y=y)
    color = alt.Color(
        "kind:N",
        scale=alt.Scale(domain=list(COLORS), range=list(COLORS.values())),
        legend=alt.Legend(title=None, orient="top"),
    )
    layers = [
        base.transform_filter("datum.front")
        .mark_line(strokeDash=[5, 4], color="#adb5bd", interpolate="step-after")
        .encode(order="length:Q")
    ]
    if errors:
        bars = base.mark_rule(opacity=0.7, strokeWidth=1.5)
        layers.append(bars.encode(x=alt.X("length_low:Q"), x2="length_high:Q", color=color))
        layers.append(bars.encode(y=alt.Y("accuracy_low:Q"), y2="accuracy_high:Q", color=color))
    layers.append(
        base.mark_point(filled=True, size=110, opacity=1).encode(
            color=color,
            shape=alt.Shape("kind:N", scale=alt.Scale(range=["circle", "circle", "diamond"]), legend=None),
            tooltip=[alt.Tooltip(f"{name}:N") for name in TOOLTIP],
        )
    )
    return alt.layer(*layers, *_names(base)).properties(height=520)


def _percentages(records: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """The range of the accuracy axis: around the values and their bars, never below 0 or above 100 %."""
    low = min(record["accuracy_low"] for record in records)
    high = max(record["accuracy_high"] for record in records)
    margin = max(MARGIN * (high - low), 1.0)
    return max(0.0, low - margin), min(100.0, high + margin)


def _lengths(records: Sequence[dict[str, Any]], *, log: bool) -> tuple[float, float]:
    """The range of the length axis, never below 0."""
    low = min(record["length_low"] for record in records)
    high = max(record["length_high"] for record in records)
    if log:
        factor = max(high / low, 1.1) ** MARGIN
        return low / factor, high * factor
    margin = max(MARGIN * (high - low), 1.0)
    return max(0.0, low - margin), high + margin


def _names(base: alt.Chart) -> list[alt.Chart]:
    """One layer for each place that a name can have: the offset of a text mark cannot come from the data."""
    return [
        base.transform_filter(f"datum.label === '{dy} {left}'")
        .mark_text(
            align="right" if left else "left", dx=-GAP if left else GAP, dy=dy, fontSize=12, color=NAMES
        )
        .encode(text="model:N")
        for dy in LANES
        for left in (False, True)
    ]


def _records(points: Sequence[Point], errors: float, *, log: bool) -> list[dict[str, Any]]:
    records, shortest = [], SHORTEST if log else 0.0
    fronts = front(points)
    named = [(point.length.value, point.accuracy.value, point.row.title) for point in points]
    labels = place(named, fronts, log=log)
    for point, on_front, label in zip(points, fronts, labels, strict=True):
        accuracy, length = point.accuracy, point.length
        wide, high = errors * (length.stderr or 0.0), errors * (accuracy.stderr or 0.0)
        records.append(
            {
                "model": point.row.title,
                "kind": point.row.kind,
                "accuracy": 100 * accuracy.value,
                "accuracy_low": 100 * max(0.0, accuracy.value - high),
                "accuracy_high": 100 * min(1.0, accuracy.value + high),
                "length": max(length.value, shortest),
                "length_low": max(length.value - wide, shortest),
                "length_high": max(length.value + wide, shortest),
                "front": on_front,
                "label": f"{label.dy} {label.left}" if label else "",
                "definition": "reconstructed" if point.row.reconstructed else "of its source",
                "Pareto": "on the front" if on_front else "dominated",
                "accuracy ± SE": f"{text.percent(accuracy)} %",
                "length ± SE": f"{text.tokens(length)} tokens",
                "n": ", ".join(f"{name} {cell.coverage}" for name, cell in point.row.cells.items() if cell),
            }
        )
    return records
