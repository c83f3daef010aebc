"""What must be said beside a table of PRR, in sentences: the same in a terminal and on a page."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from results.board import Board, Row
from results.ratio import ABOVE, Ratio
from results.text import listed


def divisor_line(board: Board, model_set: str) -> str:
    """What the rows of a model set are divided by: `expert:maths (maths), ...`."""
    named = (f"{name} ({domain})" for domain, name in board.experts.get(model_set, {}).items())
    return ", ".join(named)


def retain_lines(board: Board, model_set: str) -> list[str]:
    """What to know of the PRR of a model set: what is missing and why, ratios above 110, weak denominators."""
    rows = [row for row in board.rows if row.model_set == model_set and row.retain]
    kept = [(row, ratio) for row in rows if row.retain for d in row.retain.domains for ratio in d.ratios]
    missing = [(row, word) for row in rows if row.retain for word in row.retain.missing]
    return [*_missing(missing, rows), *_above(kept), *_weak(kept)]


def retention_lines(board: Board, model_set: str) -> list[str]:
    """The same of the retention against the base."""
    rows = [row for row in board.rows if row.model_set == model_set and row.retention]
    kept = [(row, ratio) for row in rows if row.retention for ratio in row.retention.ratios]
    missing = [(row, word) for row in rows if row.retention for word in row.retention.missing]
    return [*_missing(missing, rows), *_above(kept), *_weak(kept)]


def _missing(found: Iterable[tuple[Row, str]], rows: Sequence[Row]) -> list[str]:
    """Each reason once, with the rows that it holds for, unless it holds for all."""
    whose: dict[str, list[str]] = defaultdict(list)
    for row, reason in found:
        whose[reason].append(row.title)
    return [
        f"Missing: {reason}{'' if len(titles) == len(rows) else f' ({listed(titles)})'}."
        for reason, titles in whose.items()
    ]


def _above(found: Iterable[tuple[Row, Ratio]]) -> list[str]:
    by: dict[str, list[str]] = defaultdict(list)
    for row, ratio in found:
        if ratio.estimate and any(_is_above(flag) for flag in ratio.flags):
            by[ratio.benchmark].append(f"{row.title} {ratio.estimate.value:.1f}")
    if not by:
        return []
    words = "; ".join(f"{benchmark} ({listed(whose)})" for benchmark, whose in by.items())
    return [f"Above {ABOVE:.0f} %, which says more of a weak denominator than of the model: {words}."]


def _weak(found: Iterable[tuple[Row, Ratio]]) -> list[str]:
    """What is said of denominators is the same for all rows."""
    said = dict.fromkeys(flag for _, ratio in found for flag in ratio.flags if not _is_above(flag))
    return [f"{flag}." for flag in said]


def _is_above(flag: str) -> bool:
    return flag.endswith(f"is above {ABOVE:.0f}")
