"""The self-consistency curve: accuracy of the majority against the number of answers, or against what they
cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from results import text
from results.board import Board
from results.cell import VotePoint
from results.voting import ROBUST, TOOLKIT

COST, ANSWERS = "tokens per problem", "answers per problem"

COLORS = [
    "#4c78a8",
    "#e45756",
    "#54a24b",
    "#f58518",
    "#b279a2",
    "#72b7b2",
    "#9d755d",
    "#bab0ac",
    "#eeca3b",
    "#ff9da6",
]
TOOLTIP = ("model", "rule", "votes", "accuracy ± SE", "95 % interval", COST)


@dataclass(frozen=True)
class Line:
    """The points of one model on one benchmark under one rule, by n."""

    model: str
    rule: str
    points: tuple[VotePoint, ...]


def lines_of(board: Board, benchmark: str, rules: Sequence[str]) -> list[Line]:
    """One line a model and rule. Of one answer both rules make the same: the mean of the single samples."""
    lines = []
    for row in board.rows:
        cell = row.cells[benchmark]
        if cell is None or not cell.curve:
            continue
        single = [point for point in cell.curve if point.n == 1]
        for rule in rules:
            own = [point for point in cell.curve if point.rule == rule and point.n > 1]
            if points := (*single, *own):
                lines.append(Line(row.title, rule, points))
    return lines


def chart(lines: Sequence[Line], *, against: str) -> alt.LayerChart:
    """Lines with the 95 % intervals of their points; solid is the rule robust, dashed toolkit."""
    records = _records(lines, against)
    cost = against == COST
    x = alt.X(
        "x:Q",
        title=f"{against} (log scale)",
        scale=alt.Scale(type="log", nice=False, padding=20),
        axis=alt.Axis(format="~s", tickCount=6)
        if cost
        else alt.Axis(values=sorted({record["n"] for record in records}), format="d"),
    )
    models = list(dict.fromkeys(line.model for line in lines))
    base = alt.Chart(alt.Data(values=records)).encode(
        x=x,
        color=alt.Color(
            "model:N",
            sort=models,
            legend=alt.Legend(
                title=None, orient="top", columns=1 if len(models) < 5 else 2, labelLimit=320, symbolOpacity=1
            ),
        ),
    )
    scale = alt.Scale(domain=_range(records), zero=False, nice=False)
    y = alt.Y("accuracy:Q", title="accuracy, %", scale=scale)
    dash = alt.StrokeDash(
        "rule:N", scale=alt.Scale(domain=[ROBUST, TOOLKIT], range=[[1, 0], [5, 4]]), legend=None
    )
    bars = base.mark_rule(opacity=0.35, strokeWidth=2).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q")
    curves = base.mark_line().encode(y=y, strokeDash=dash, detail="rule:N")
    tooltip = [alt.Tooltip(f"{name}:N") for name in TOOLTIP]
    points = base.mark_point(filled=True, size=70, opacity=1).encode(y=y, tooltip=tooltip)
    return alt.layer(bars, curves, points).properties(height=460)


def _range(records: Sequence[dict[str, Any]]) -> tuple[float, float]:
    low, high = min(record["low"] for record in records), max(record["high"] for record in records)
    margin = max(1.0, 0.05 * (high - low))
    return max(0.0, low - margin), min(100.0, high + margin)


def _records(lines: Sequence[Line], against: str) -> list[dict[str, Any]]:
    """Points as the chart takes them; lines that share an n stand beside each other, not on each other."""
    records = []
    for place, line in enumerate(lines):
        shift = 1 + 0.02 * (place - (len(lines) - 1) / 2)
        for point in line.points:
            if against == COST and point.tokens is None:
                continue
            accuracy = point.accuracy.value
            low, high = (accuracy if end is None else end for end in (point.low, point.high))
            records.append(
                {
                    "model": line.model,
                    "rule": line.rule if point.n > 1 else ROBUST,
                    "n": point.n,
                    "x": point.tokens.value if against == COST and point.tokens else point.n * shift,
                    "accuracy": 100 * accuracy,
                    "low": 100 * low,
                    "high": 100 * high,
                    "votes": f"majority of {point.n}" if point.n > 1 else "mean of single samples",
                    "accuracy ± SE": f"{text.percent(point.accuracy)} %",
                    "95 % interval": text.MISSING
                    if point.low is None
                    else f"{100 * low:.1f} to {100 * high:.1f} %",
                    COST: text.number(point.tokens),
                }
            )
    return records
