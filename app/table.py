"""The leaderboard as a table: numbers that sort as numbers and read as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import pandas as pd

from results import text
from results.board import Board, Row
from results.cell import Cell
from results.composites import MAX, Composite
from results.statistics import Estimate

# Groups of columns beyond accuracy and length.
OPTIONS = (
    "votes",
    "vs base",
    "cost",
    "parts",
    "groups",
    "own metrics",
    "truncated",
    "no answer",
    "length spread",
    "n",
)
DEFAULT = ("votes", "vs base", "cost")
# See-through, so that the text stays readable on a light and on a dark page.
TINTS = {
    "base": "background-color: rgba(134, 142, 150, 0.16)",
    "expert": "background-color: rgba(28, 126, 214, 0.16)",
}

Column = tuple[str, str]
MODEL: Column = ("", "model")
DEFINITION: Column = ("merge", "definition")
STATISTICS: Column = ("merge", "of it statistics")
CHARACTER = 7  # pixels
WIDEST = 340


class Written(float):
    """A number with the text that a table shows for it; it sorts, and is exported, as the number."""

    text: str

    def __new__(cls, value: float, text: str) -> Written:
        number = super().__new__(cls, value)
        number.text = text
        return number


def styled(board: Board, rows: Sequence[Row], options: Sequence[str]) -> Any:
    """Some rows of a board as a pandas Styler: base and experts tinted, the most accurate merges bold."""
    columns = _columns(board, options)
    if not any(row.reconstructed for row in rows):
        del columns[DEFINITION]
    if not any(row.statistics_seconds for row in rows):
        columns.pop(STATISTICS, None)
    if not any(row.limited for row in rows) and "n" not in options:
        columns = {name: of for name, of in columns.items() if name[1] != "n"}
    if not any(row.rank for row in rows):
        del columns["", "#"]
    frame = pd.DataFrame([[of(row) for of in columns.values()] for row in rows], dtype=object)
    frame.columns = pd.MultiIndex.from_tuples(columns)
    kinds = [row.kind for row in rows]
    ranked = [row.rank is not None for row in rows]
    styler = frame.style.format(lambda value: getattr(value, "text", value))
    styler = styler.apply(lambda column: [TINTS.get(kind, "") for kind in kinds], axis=0)
    accuracies = [column for column in columns if column[1] == "accuracy" or column[0] == "PRR"]
    styler = styler.apply(bold_best, axis=0, subset=accuracies, ranked=ranked)
    return styler


def widths(frame: pd.DataFrame) -> dict[Column, int]:
    """Pixels for the columns that their own cells would make too narrow: names, and headings of one column."""
    groups = [group for group, _ in frame.columns]
    alone = {c: c[0] for c in frame.columns if groups.count(c[0]) == 1}
    longest = {**alone, MODEL: max(frame[MODEL], key=len, default="")}
    return {column: min(WIDEST, CHARACTER * max(len(words), 11) + 20) for column, words in longest.items()}


def label(row: Row) -> str:
    """The name of a row with its marks: base, expert, † for a reconstructed method."""
    mark = {"base": "○ ", "expert": "● "}.get(row.kind, "")
    return f"{mark}{row.title}"


def _columns(board: Board, options: Sequence[str]) -> dict[Column, Callable[[Row], Any]]:
    columns: dict[Column, Callable[[Row], Any]] = {
        ("", "#"): lambda row: None if row.rank is None else Written(row.rank, str(row.rank)),
        MODEL: label,
    }
    if board.experts:
        columns["PRR", "mean"] = lambda row: _rate(row)
    if len(board.benchmarks) > 1:
        mean = f"mean of {len(board.benchmarks)}"
        columns[mean, "accuracy"] = lambda row: _number(row.accuracy, text.percent)
        if board.with_length:
            columns[mean, "length"] = lambda row: _number(row.length, text.tokens)
    if board.with_length:
        columns["compared", "length vs expert"] = lambda row: _plain(row.length_reduction, text.change)
    if "vs base" in options:
        columns["compared", "points vs base"] = lambda row: _plain(row.accuracy_gain, text.points)
        columns["compared", "p vs base"] = lambda row: _plain(_p(row), text.p_value)
    for benchmark in board.benchmarks:
        columns |= _benchmark_columns(board, benchmark, options)
    columns[DEFINITION] = _definition
    if "cost" in options:
        columns["merge", "time"] = lambda row: _plain(row.merge_seconds, text.seconds)
        columns[STATISTICS] = lambda row: _plain(row.statistics_seconds or None, text.seconds)
        columns["merge", "memory"] = lambda row: _plain(row.peak_bytes, text.size)
    return columns


def _benchmark_columns(board: Board, name: str, options: Sequence[str]) -> dict[Column, Callable[[Row], Any]]:
    def of(value: Callable[[Cell], Any]) -> Callable[[Row], Any]:
        return lambda row: None if (cell := row.cells[name]) is None else value(cell)

    columns: dict[Column, Callable[[Row], Any]] = {
        (name, "accuracy"): of(lambda cell: _number(cell.accuracy, text.percent))
    }
    if "votes" in options:
        for n in board.votes.get(name, ()):
            columns[name, f"maj@{n}"] = of(partial(_vote, n))
    if name in board.with_length:  # a chosen label has none of these
        columns[name, "length"] = of(lambda cell: _number(cell.length, text.tokens))
        if "length spread" in options:
            columns[name, "median"] = of(lambda cell: cell.length_median)
            columns[name, "90 %"] = of(lambda cell: cell.length_p90)
            columns[name, "right"] = of(lambda cell: _plain(cell.length_correct, _tokens))
            columns[name, "untruncated"] = of(lambda cell: _plain(cell.length_untruncated, _tokens))
            for tokenizer in board.tokenizers:
                columns[name, tokenizer] = of(partial(_fixed_length, tokenizer))
        if "truncated" in options:
            columns[name, "truncated"] = of(lambda cell: _plain(cell.truncated, text.share))
            columns[name, "boxed only"] = of(lambda cell: _number(cell.accuracy_complete, text.percent))
        if "no answer" in options:
            columns[name, "no answer"] = of(lambda cell: _plain(cell.no_answer, text.share))
    if "parts" in options and name in board.composites:
        columns |= _part_columns(board.composites[name])
    if "groups" in options:
        for group in dict.fromkeys(g for row in board.rows if (c := row.cells[name]) for g in c.groups):
            columns[name, group] = of(partial(_group, group))
    if "own metrics" in options:
        for metric in dict.fromkeys(m for row in board.rows if (c := row.cells[name]) for m in c.native):
            columns[name, metric] = of(partial(_native, metric))
    columns[name, "n"] = of(lambda cell: Written(cell.n, cell.coverage))
    return columns


def _part_columns(composite: Composite) -> dict[Column, Callable[[Row], Any]]:
    """What a benchmark is made of, where that is several others."""
    if len(composite.parts) == 1:
        return {}
    columns: dict[Column, Callable[[Row], Any]] = {
        (composite.name, part.key): partial(_part, composite.name, part.key) for part in composite.parts
    }
    if composite.how == MAX:
        columns[composite.name, "best of them"] = partial(_won, composite.name)
    return columns


def _part(name: str, key: str, row: Row) -> Written | None:
    part = cell.parts.get(key) if (cell := row.cells[name]) else None
    return _number(part.accuracy, text.percent) if part else None


def _won(name: str, row: Row) -> str | None:
    return cell.won if (cell := row.cells[name]) else None


def _group(group: str, cell: Cell) -> Written | None:
    return _number(cell.groups[group].accuracy, text.percent) if group in cell.groups else None


def _native(metric: str, cell: Cell) -> Written | None:
    return _number(cell.native.get(metric), text.percent)


def _rate(row: Row) -> Written | None:
    """Mean PRR, which is in % already."""
    return _number(row.retain.mean, text.tokens) if row.retain else None


def _definition(row: Row) -> str | None:
    """Whose definition a merge follows: that of its source, or one that had to be reconstructed."""
    if row.kind != "merged":
        return None
    return f"{text.RECONSTRUCTED} reconstructed" if row.reconstructed else "of its source"


def _vote(n: int, cell: Cell) -> Written | None:
    return _number(cell.votes.get(n), text.percent)


def _fixed_length(tokenizer: str, cell: Cell) -> Written | None:
    return _number(cell.length_fixed.get(tokenizer), text.tokens)


def _tokens(value: float) -> str:
    return f"{value:.1f}"


def _p(row: Row) -> float | None:
    return row.against_base.p if row.against_base else None


def _number(estimate: Estimate | None, write: Callable[[Estimate], str]) -> Written | None:
    return None if estimate is None else Written(estimate.value, write(estimate))


def _plain(value: float | None, write: Callable[[float], str]) -> Written | None:
    return None if value is None else Written(value, write(value))


def bold_best(column: pd.Series, ranked: list[bool]) -> list[str]:
    """Styles of a column in which the largest value of a ranked row is bold."""
    values = [value if is_ranked else None for value, is_ranked in zip(column, ranked, strict=True)]
    best = max((value for value in values if value is not None), default=None)
    return ["font-weight: bold" if value is not None and value == best else "" for value in values]
