"""The leaderboard in a terminal: tables of accuracy and length, of what merging cost, of troubles and of votes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.show import literal
from bench.show_columns import folded, table_of_models
from bench.show_retained import retain_table, retention_table
from bench.show_scores import blocks, group_tables, native_tables, part_tables, score_tables
from results import text

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Row
    from results.cell import Cell


def board_tables(board: Board, *, parts: bool = False) -> list[Table]:
    """The leaderboard of each model set, what its merges cost, what went wrong in answers, self-consistency, and what
    is retained of the experts. `parts`: also what composites are made of, and metrics of benchmarks' own."""
    tables = []
    for model_set in board.model_sets:
        rows = [row for row in board.rows if row.model_set == model_set]
        tables += score_tables(board, model_set, rows)
        if parts:
            tables += part_tables(board, rows)
        tables += group_tables(rows)
        if parts:
            tables += native_tables(rows)
        if any(row.merge_seconds is not None for row in rows):
            tables.append(_cost_table(rows))
        troubled = [
            b for b in board.with_length if any(_troubles(row.cells.get(b)) != text.MISSING for row in rows)
        ]
        tables += [_troubles_table(rows, block) for block in blocks(board, rows, troubled)]
        if board.tokenizers:
            tables += [
                _fixed_length_table(board, rows, block) for block in blocks(board, rows, board.with_length)
            ]
        tables += [_votes_table(board, benchmark, rows) for benchmark, votes in board.votes.items() if votes]
        retained = retention_table(board, model_set, rows), retain_table(board, model_set, rows)
        tables += [table for table in retained if table]
    return tables


def grader_lines(board: Board) -> list[str]:
    """Which grader the numbers come from, and how many verdicts flip between it and each other one."""
    if len(board.known_graders) < 2:
        return []
    by: dict[str, list[str]] = {}
    for benchmark, grader in board.graders.items():
        by.setdefault(grader, []).append(benchmark)
    shown = "; ".join(f"{grader} ({', '.join(benchmarks)})" for grader, benchmarks in by.items())
    lines = [f"Graded by {shown}. `--grader NAME` shows another one: {', '.join(board.known_graders)}."]
    flips: dict[str, list[str]] = {}
    for flip in board.flips:
        share = 100 * flip.flipped / flip.responses if flip.responses else 0.0
        words = f"{flip.benchmark} {flip.flipped:,} of {flip.responses:,} ({share:.1f} %)"
        flips.setdefault(flip.other, []).append(words)
    return lines + [
        f"Verdicts that flip under {other}: {', '.join(words)}." for other, words in flips.items()
    ]


def _cost_table(rows: list[Row]) -> Table:
    """What each merge cost: statistics count even when they were there already."""
    table = table_of_models(
        "cost of merging",
        "Seconds of the merge and of its statistics, those that were reused included, and the peak memory of the "
        "process, libraries included.",
        ["merge", "statistics", "together", "peak memory"],
        rows,
    )
    for row in rows:
        if row.merge_seconds is None:
            continue
        statistics = row.statistics_seconds
        table.add_row(
            literal(row.title),
            text.seconds(None if statistics is None else row.merge_seconds - statistics),
            text.seconds(statistics) if statistics else text.MISSING,
            text.seconds(row.merge_seconds),
            text.size(row.peak_bytes),
        )
    return table


def _troubles(cell: Cell | None) -> str:
    """Shares of answers without a result and of answers cut off at the budget."""
    if cell is None or not (cell.no_answer or cell.truncated):
        return text.MISSING
    shares = f"{100 * (cell.no_answer or 0):.1f} / {100 * (cell.truncated or 0):.1f}"
    boxed = cell.accuracy_complete
    return shares if boxed in (None, cell.accuracy) else f"{shares}\n{100 * boxed.value:.1f}"


def _troubles_table(rows: list[Row], benchmarks: Sequence[str]) -> Table:
    table = table_of_models(
        "no answer found / cut off at the budget",
        "Shares in % of the answers above; below them, where it is another, the accuracy in % when an answer that "
        "was cut off before it had closed a box is wrong.",
        [*map(folded, benchmarks)],
        rows,
    )
    for row in rows:
        table.add_row(literal(row.title), *(_troubles(row.cells.get(b)) for b in benchmarks))
    return table


def _fixed_length_table(board: Board, rows: list[Row], benchmarks: Sequence[str]) -> Table:
    """Lengths under fixed tokenizers, which are comparable between models that have tokenizers of their own."""
    table = table_of_models(
        "length under a fixed tokenizer",
        f"Mean tokens of a response, under {', '.join(board.tokenizers)}; average, and change against the expert as "
        "the mean of per-benchmark ratios.",
        [*map(folded, benchmarks), "average", "vs exp."],
        rows,
    )
    for row in rows:
        lengths = [(cell.length_fixed if (cell := row.cells.get(b)) else {}) for b in benchmarks]
        table.add_row(
            literal(row.title),
            *(_lines(text.number(found.get(name)) for name in board.tokenizers) for found in lengths),
            _lines(text.number(row.length_fixed.get(name)) for name in board.tokenizers),
            _lines(text.change(row.length_fixed_reduction.get(name)) for name in board.tokenizers),
        )
    return table


def _lines(parts: Iterable[str]) -> str:
    return "\n".join(parts)


def _votes_table(board: Board, benchmark: str, rows: list[Row]) -> Table:
    votes = board.votes[benchmark]
    table = table_of_models(
        f"self-consistency on {benchmark}",
        "Accuracy in % of the majority of n sampled answers (n = 1: the mean of all of the pool) ± standard error "
        "over questions, its 95 % interval, and tokens per problem. One line under each rule: robust (equal answers "
        "are one cluster, unparsable ones do not vote), then toolkit (equal strings, the empty one too).",
        [f"n = {n}" for n in votes],
        rows,
    )
    for row in rows:
        cell = row.cells.get(benchmark)
        table.add_row(literal(row.title), *(_vote(cell, n) for n in votes))
    return table


def _vote(cell: Cell | None, n: int) -> str:
    """maj@n under each rule, and the tokens that it takes."""
    points = [point for point in cell.curve if point.n == n] if cell else []
    if not points:
        return text.MISSING
    lines = [f"{text.percent(point.accuracy)}{_ends(point.low, point.high)}" for point in points]
    return "\n".join([*lines, f"{text.number(points[0].tokens)} tokens"])


def _ends(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f" ({100 * low:.0f}–{100 * high:.0f})"
