"""What a person reads in a terminal: rich tables from the results' own types, and plain JSON of them."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Cell, Row
    from results.statistics import Estimate

MISSING = "–"


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


def bytes_text(n: float | None) -> str:
    """`1.5 GB`."""
    if n is None:
        return MISSING
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n:.0f} B"


def percent(estimate: Estimate | None) -> str:
    """`52.3 ±2.1`: percentage with its standard error."""
    if estimate is None:
        return MISSING
    error = "" if estimate.stderr is None else f" ±{100 * estimate.stderr:.1f}"
    return f"{100 * estimate.value:.1f}{error}"


def number(estimate: Estimate | None) -> str:
    """`31.4`."""
    return MISSING if estimate is None else f"{estimate.value:.1f}"


def _p(value: float | None) -> str:
    if value is None:
        return MISSING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def board_tables(board: Board) -> list[Table]:
    """The leaderboard of each model set, and its self-consistency where answers were sampled."""
    tables = []
    for model_set in board.model_sets:
        rows = [row for row in board.rows if row.model_set == model_set]
        tables.append(_main_table(board, model_set, rows))
        tables += [_votes_table(board, benchmark, rows) for benchmark, votes in board.votes.items() if votes]
    return tables


def _main_table(board: Board, model_set: str, rows: list[Row]) -> Table:
    from rich.table import Table

    table = Table(
        title=f"{board.suite} · {model_set} · {board.split} split",
        caption="accuracy % ± standard error, mean response length in tokens below; means are unweighted over "
        "benchmarks; length against the expert is the mean of per-benchmark ratios; p: exact McNemar test against "
        "the base on the same questions, all benchmarks pooled",
        caption_justify="left",
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold", min_width=12)
    for benchmark in (*board.benchmarks, "mean"):
        table.add_column(benchmark, justify="right")
    table.add_column("length vs\nexpert", justify="right")
    table.add_column("p vs\nbase", justify="right")
    table.add_column("merge s,\npeak mem", justify="right")
    for row in rows:
        table.add_row(*_main_row(board, row), end_section=row.kind != "merged", style=_style(row))
    return table


def _style(row: Row) -> str:
    return "dim" if not row.complete else ("bold" if row.rank == 1 else "")


def _main_row(board: Board, row: Row) -> list[str]:
    name = row.name + (" [reconstructed]" if row.reconstructed else "")
    rank = f"{row.rank}. " if row.rank else ""
    state = "" if row.complete else f"\nincomplete: no {', '.join(row.missing)}"
    reduction = MISSING if row.length_reduction is None else f"{100 * row.length_reduction:+.1f}%"
    cost = MISSING if row.merge_seconds is None else f"{row.merge_seconds:.1f}\n{bytes_text(row.peak_bytes)}"
    return [
        _literal(f"{rank}{name}{state}"),
        *(_cell(row.cells.get(benchmark)) for benchmark in board.benchmarks),
        f"{percent(row.accuracy)}\n{number(row.length)}",
        reduction,
        _p(row.against_base.p if row.against_base else None),
        cost,
    ]


def _literal(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _cell(cell: Cell | None) -> str:
    if cell is None:
        return MISSING
    lines = [percent(cell.accuracy), number(cell.length)]
    if cell.limited:
        lines.append(cell.coverage)
    for value, what in ((cell.truncated, "cut off"), (cell.no_answer, "no answer")):
        if value:
            lines.append(f"{100 * value:.1f}% {what}")
    return "\n".join(lines)


def _votes_table(board: Board, benchmark: str, rows: list[Row]) -> Table:
    from rich.table import Table

    votes = board.votes[benchmark]
    table = Table(
        title=f"self-consistency on {benchmark}",
        caption="accuracy % of the majority of n sampled answers ± standard error (questions resampled, then draws)",
        caption_justify="left",
        padding=(0, 1, 0, 0),
    )
    table.add_column("model", overflow="fold", min_width=12)
    for n in votes:
        table.add_column(f"n = {n}", justify="right")
    for row in rows:
        cell = row.cells.get(benchmark)
        table.add_row(_literal(row.name), *(percent(cell.votes.get(n) if cell else None) for n in votes))
    return table


def simple_table(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """A plain table of texts."""
    from rich.table import Table

    table = Table(title=title, title_justify="left", padding=(0, 1, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_literal(cell) for cell in row))
    return table


def printer(*, to_stderr: bool = False) -> Callable[..., None]:
    """A rich console's print: tables to standard output, progress and remarks to standard error."""
    from rich.console import Console

    return Console(stderr=to_stderr, highlight=False, soft_wrap=to_stderr).print
