"""What a person reads in a terminal: rich tables from the results' own types, and plain JSON of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from results import text

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Cell, Row
    from results.statistics import Estimate

WIDTH = 110
SIDE_BY_SIDE = 4  # benchmarks whose value and standard error fit on one line


def to_json(value: Any) -> str:
    """JSON of dataclasses, paths and plain values; NaN becomes null."""
    return json.dumps(_plain(value), indent=2, default=str)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
        _literal(f"{rank}{row.title}{state}"),
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
            _literal(row.title),
            text.seconds(None if statistics is None else row.merge_seconds - statistics),
            text.seconds(statistics) if statistics else text.MISSING,
            text.seconds(row.merge_seconds),
            text.size(row.peak_bytes),
        )
    return table


def _literal(words: str) -> str:
    from rich.markup import escape

    return escape(words)


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
        table.add_row(_literal(row.title), *(_troubles(row.cells.get(b)) for b in board.with_length))
    return table


def _fixed_length_table(board: Board, rows: list[Row]) -> Table:
    """Lengths under fixed tokenizers, which are comparable between models that have tokenizers of their own."""
    table = _table(
        "length under a fixed tokenizer",
        f"Mean tokens of a response, under {', '.join(board.tokenizers)}.",
        list(board.with_length),
        rows,
    )
    for row in rows:
        table.add_row(
            _literal(row.title), *(_fixed_lengths(board, row.cells.get(b)) for b in board.with_length)
        )
    return table


def _fixed_lengths(board: Board, cell: Cell | None) -> str:
    return "\n".join(text.number(cell.length_fixed.get(name) if cell else None) for name in board.tokenizers)


def _votes_table(board: Board, benchmark: str, rows: list[Row]) -> Table:
    votes = board.votes[benchmark]
    table = _table(
        f"self-consistency on {benchmark}",
        "Accuracy in % of the majority of n sampled answers ± standard error over questions, its 95 % interval, and "
        "tokens per problem. One line under each rule: robust (equal answers are one cluster, unparsable ones do not "
        "vote), then toolkit (equal strings, the empty one too).",
        [f"n = {n}" for n in votes],
        rows,
    )
    for row in rows:
        cell = row.cells.get(benchmark)
        table.add_row(_literal(row.title), *(_vote(cell, n) for n in votes))
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


def simple_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table of texts."""
    from rich import box
    from rich.table import Table

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 2, 0, 0), pad_edge=False
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_literal(cell) for cell in row))
    return table


def definitions(title: str, entries: list[tuple[str, list[str]]]) -> Table:
    """Names beside what is said of them, one line or more; the last line, of details, is dim."""
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=title, title_justify="left", box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False
    )
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, lines in entries:
        body = Text("\n".join(lines[:-1]))
        table.add_row(Text(name, style="bold"), body.append(f"\n{lines[-1]}", style="dim"))
    return table


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """A line on standard error that says what is being done and disappears; nothing without a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda text: None
        return
    with console.status("") as line:
        yield lambda text: line.update(text)


def printer() -> Callable[..., None]:
    """A rich console's print, wide enough for a table where there is no terminal that says how wide it is."""
    from rich.console import Console

    console = Console(highlight=False)
    return (console if console.is_terminal else Console(highlight=False, width=WIDTH)).print
