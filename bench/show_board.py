"""The leaderboard in a terminal: tables of accuracy and length, of what merging cost, of troubles and of votes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from bench.show import literal
from results import text

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Row
    from results.cell import Cell
    from results.statistics import Estimate

SIDE_BY_SIDE = 4  # benchmarks whose value and standard error fit on one line


def board_tables(board: Board) -> list[Table]:
    """The leaderboard of each model set, what its merges cost, what went wrong in answers, and
    self-consistency."""
    tables = []
    for model_set in board.model_sets:
        rows = [row for row in board.rows if row.model_set == model_set]
        tables.append(_main_table(board, model_set, rows))
        if any(row.merge_seconds is not None for row in rows):
            tables.append(_cost_table(rows))
        if any(_troubles(cell) != text.MISSING for row in rows for cell in row.cells.values()):
            tables.append(_troubles_table(board, rows))
        if board.tokenizers:
            tables.append(_fixed_length_table(board, rows))
        tables += [_votes_table(board, benchmark, rows) for benchmark, votes in board.votes.items() if votes]
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


def _table(title: str, caption: str, columns: list[str], rows: list[Row]) -> Table:
    """A table of models, with the legend that some of `rows` need."""
    legend = f" {text.RECONSTRUCTED} the method's definition had to be reconstructed: `bench methods NAME`."
    return table_of_models(
        title, caption + (legend if any(row.reconstructed for row in rows) else ""), columns
    )


def table_of_models(title: str, caption: str, columns: Sequence[str]) -> Table:
    """A table without vertical lines, so that it fits eighty columns; the first column, the name, folds."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        caption=caption,
        title_justify="left",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
    )
    table.add_column("model", overflow="fold", min_width=12)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def _main_table(board: Board, model_set: str, rows: list[Row]) -> Table:
    has_length = bool(board.with_length)
    narrow = len(board.benchmarks) > SIDE_BY_SIDE
    table = _table(
        f"{board.suite} · models {model_set} · {board.split} split",
        "Accuracy in % ± standard error"
        + ("; below it the mean response length in tokens" if has_length else "")
        + ". Means are unweighted over benchmarks"
        + ("; length against the expert is the mean of per-benchmark ratios" if has_length else "")
        + ". p: exact McNemar test against the base on the same questions, benchmarks pooled.",
        [
            *(_heading(benchmark, rows, narrow=narrow) for benchmark in board.benchmarks),
            "average",
            *(["average\nlength", "length\nvs exp."] if has_length else []),
            "p vs\nbase",
        ],
        rows,
    )
    varies = {benchmark for benchmark in board.benchmarks if len(_coverages(benchmark, rows)) > 1}
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        ends = row.kind != "merged" and following is not None and following.kind == "merged"
        table.add_row(*_main_row(board, row, varies), end_section=ends, style=_style(row))
    return table


def _coverages(benchmark: str, rows: list[Row]) -> set[str]:
    """How many questions the rows' scores rest on: one entry where all agree."""
    return {cell.coverage for row in rows if (cell := row.cells.get(benchmark))}


def _heading(benchmark: str, rows: list[Row], *, narrow: bool) -> str:
    coverages = _coverages(benchmark, rows)
    name = folded(benchmark) if narrow else benchmark
    if not coverages:
        return f"{name}\nnot run"
    n = coverages.pop().replace(" of ", "\nof ") if len(coverages) == 1 else "varies"
    return f"{name}\nn = {n}"


def folded(name: str) -> str:
    """A name on lines of its parts, or of eight letters: `minerva_/ocw`, `olympiad/bench`."""
    return (
        name.replace("_", "_\n")
        if "_" in name
        else "\n".join(name[i : i + 8] for i in range(0, len(name), 8))
    )


def _style(row: Row) -> str:
    return "dim" if not row.complete else ("bold" if row.rank == 1 else "")


def _main_row(board: Board, row: Row, varies: set[str]) -> list[str]:
    rank = f"{row.rank}. " if row.rank else ""
    state = "" if row.complete else f"\nincomplete: no {', '.join(row.missing)}"
    lengths, narrow = board.with_length, len(board.benchmarks) > SIDE_BY_SIDE
    return [
        literal(f"{rank}{row.title}{state}"),
        *(
            _cell(row.cells.get(b), length=b in lengths, coverage=b in varies, narrow=narrow)
            for b in board.benchmarks
        ),
        _accuracy(row.accuracy, narrow=narrow),
        *([text.number(row.length), text.change(row.length_reduction)] if lengths else []),
        text.p_value(row.against_base.p if row.against_base else None),
    ]


def _cost_table(rows: list[Row]) -> Table:
    """What each merge cost: statistics count even when they were there already."""
    table = _table(
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


def _accuracy(estimate: Estimate | None, *, narrow: bool) -> str:
    """With its standard error, in a narrow column on a line of its own."""
    return text.percent(estimate).replace(" ±", "\n±" if narrow else " ±")


def _cell(cell: Cell | None, *, length: bool, coverage: bool, narrow: bool) -> str:
    if cell is None:
        return text.MISSING
    lines = [
        _accuracy(cell.accuracy, narrow=narrow),
        *([text.number(cell.length)] if length else []),
        *([f"n = {cell.coverage}"] if coverage else []),
    ]
    return "\n".join(lines)


def _troubles(cell: Cell | None) -> str:
    """Shares of answers without a result and of answers cut off at the budget."""
    if cell is None or not (cell.no_answer or cell.truncated):
        return text.MISSING
    shares = f"{100 * (cell.no_answer or 0):.1f} / {100 * (cell.truncated or 0):.1f}"
    return f"{shares}\n{100 * cell.accuracy_complete.value:.1f}" if cell.accuracy_complete else shares


def _troubles_table(board: Board, rows: list[Row]) -> Table:
    table = _table(
        "no answer found / cut off at the budget",
        "Shares in % of the answers above; below them the accuracy in % when an answer that was cut off before it "
        "had closed a box is wrong.",
        list(board.with_length),
        rows,
    )
    for row in rows:
        table.add_row(literal(row.title), *(_troubles(row.cells.get(b)) for b in board.with_length))
    return table


def _fixed_length_table(board: Board, rows: list[Row]) -> Table:
    """Lengths under fixed tokenizers, which are comparable between models that have tokenizers of their own."""
    table = _table(
        "length under a fixed tokenizer",
        f"Mean tokens of a response, under {', '.join(board.tokenizers)}; average, and change against the expert as "
        "the mean of per-benchmark ratios.",
        [*map(folded, board.with_length), "average", "vs exp."],
        rows,
    )
    for row in rows:
        lengths = [(cell.length_fixed if (cell := row.cells.get(b)) else {}) for b in board.with_length]
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
    table = _table(
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
