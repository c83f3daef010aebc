"""Accuracies and lengths in a terminal: one table where all benchmarks fit, else a table for some domains each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from bench.show import WIDTH, literal
from bench.show_columns import ends_section, folded, style, table_of_models
from results import text
from results.text import listed

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Row
    from results.cell import Cell
    from results.statistics import Estimate

SIDE_BY_SIDE = 4  # benchmarks whose value and standard error fit on one line
NAME, SUMMARY = 28, 26  # characters that the models' names and the averages take
BLOCK = 6  # benchmarks in a table, where one table of all does not fit
GROUPS = 8  # that a table of them can show


def score_tables(board: Board, model_set: str, rows: Sequence[Row]) -> list[Table]:
    """The scores of a model set; the last table has the averages."""
    found = blocks(board, rows)
    return [_score_table(board, model_set, rows, block, last=block is found[-1]) for block in found]


def part_tables(board: Board, rows: Sequence[Row]) -> list[Table]:
    """What each composite of several benchmarks is made of, in tables of their own."""
    tables = []
    for name, composite in board.composites.items():
        keys = [part.key for part in composite.parts]
        if len(keys) == 1:
            continue
        cells = [(row, row.cells[name]) for row in rows]
        parts = {row.name: (cell.parts if cell else {}) for row, cell in cells}
        how = "the best of its parts" if composite.how == "max" else "the mean of its parts"
        narrow = len(keys) > SIDE_BY_SIDE
        table = table_of_models(
            f"{name} · {composite.title}",
            f"Accuracy in % ± standard error; {name} is {how}.",
            [*(map(folded, keys) if narrow else keys), *(["taken"] if composite.how == "max" else [])],
            rows,
        )
        for row, cell in cells:
            accuracies = (part.accuracy if (part := parts[row.name].get(key)) else None for key in keys)
            won = [(cell.won if cell else None) or text.MISSING] if composite.how == "max" else []
            table.add_row(
                literal(row.title), *(_accuracy(one, narrow=narrow) for one in accuracies), *map(literal, won)
            )
        tables.append(table)
    return tables


def group_tables(rows: Sequence[Row]) -> list[Table]:
    """Accuracy on the groups of samples of each benchmark that has a few of them."""
    groups: dict[str, dict[str, int]] = {}
    for row in rows:
        for key, cell in row.measured.items():
            groups.setdefault(key, {}).update({name: group.n for name, group in cell.groups.items()})
    return [_group_table(key, found, rows) for key, found in groups.items() if 1 < len(found) <= GROUPS]


def native_tables(rows: Sequence[Row]) -> list[Table]:
    """The metrics that benchmarks have of their own."""
    metrics: dict[str, dict[str, None]] = {}
    for row in rows:
        for key, cell in row.measured.items():
            metrics.setdefault(key, {}).update(dict.fromkeys(cell.native))
    return [_native_table(key, list(names), rows) for key, names in metrics.items() if names]


def _native_table(key: str, names: Sequence[str], rows: Sequence[Row]) -> Table:
    table = table_of_models(
        f"{key} · metrics of its own",
        "In % ± standard error, under the names that others report them by; of some less is better.",
        [*map(folded, names)],
        rows,
    )
    for row in rows:
        found = cell.native if (cell := row.measured.get(key)) else {}
        table.add_row(literal(row.title), *(_accuracy(found.get(name), narrow=True) for name in names))
    return table


def _group_table(key: str, groups: Mapping[str, int], rows: Sequence[Row]) -> Table:
    table = table_of_models(
        f"{key} · groups of samples",
        "Accuracy in % ± standard error.",
        [f"{name}\nn = {n:,}" for name, n in groups.items()],
        rows,
    )
    for row in rows:
        found = cell.groups if (cell := row.measured.get(key)) else {}
        accuracies = (group.accuracy if (group := found.get(name)) else None for name in groups)
        table.add_row(literal(row.title), *(_accuracy(one, narrow=False) for one in accuracies))
    return table


def blocks(
    board: Board, rows: Sequence[Row], benchmarks: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """The benchmarks of each table, of all or of some: together where they fit, or else whole domains together."""
    columns = board.benchmarks if benchmarks is None else benchmarks
    headings = (_heading(benchmark, rows, narrow=True) for benchmark in columns)
    width = sum(max(6, *map(len, heading.splitlines())) + 1 for heading in headings)
    if NAME + width + SUMMARY <= WIDTH:
        return [tuple(columns)] if columns else []
    by_domain: dict[str, list[str]] = {}
    for benchmark in columns:
        by_domain.setdefault(board.domains.get(benchmark, benchmark), []).append(benchmark)
    found: list[list[str]] = []
    for names in by_domain.values():
        if found and len(found[-1]) + len(names) <= BLOCK:
            found[-1] += names
        else:
            found.append(names)
    return [tuple(block) for block in found]


def _score_table(
    board: Board, model_set: str, rows: Sequence[Row], block: Sequence[str], *, last: bool
) -> Table:
    """`block` are the benchmarks that it has; the averages are over those of the board."""
    has_length, narrow = bool(board.with_length), len(block) > SIDE_BY_SIDE
    domains = dict.fromkeys(board.domains.get(benchmark, benchmark) for benchmark in block)
    part = "" if len(block) == len(board.benchmarks) else f" · {', '.join(domains)}"
    table = table_of_models(
        f"{board.suite}{part} · models {model_set} · {board.split} split",
        _caption(has_length, last),
        [
            *(_heading(benchmark, rows, narrow=narrow) for benchmark in block),
            *(["average"] if last else []),
            *(["average\nlength", "length\nvs exp."] if last and has_length else []),
            *(["p vs\nbase"] if last else []),
        ],
        rows,
    )
    varies = {benchmark for benchmark in block if len(_coverages(benchmark, rows)) > 1}
    for row, following in zip(rows, [*rows[1:], None], strict=True):
        cells = [
            _cell(row.cells.get(b), length=b in board.with_length, coverage=b in varies, narrow=narrow)
            for b in block
        ]
        averages = _averages(row, with_length=has_length, narrow=narrow) if last else []
        table.add_row(
            _name(row), *cells, *averages, end_section=ends_section(row, following), style=style(row)
        )
    return table


def _caption(has_length: bool, last: bool) -> str:
    said = "Accuracy in % ± standard error"
    said += "; below it the mean response length in tokens." if has_length else "."
    if not last:
        return said
    said += " Means are unweighted over benchmarks"
    said += "; length against the expert is the mean of per-benchmark ratios." if has_length else "."
    return f"{said} p: exact McNemar test against the base on the same questions, benchmarks pooled."


def _coverages(benchmark: str, rows: Sequence[Row]) -> set[str]:
    """How many questions the rows' scores rest on: one entry where all agree."""
    return {cell.coverage for row in rows if (cell := row.cells.get(benchmark))}


def _heading(benchmark: str, rows: Sequence[Row], *, narrow: bool) -> str:
    coverages = _coverages(benchmark, rows)
    name = folded(benchmark) if narrow else benchmark
    if not coverages:
        return f"{name}\nnot run"
    n = coverages.pop().replace(" of ", "\nof ") if len(coverages) == 1 else "varies"
    return f"{name}\nn = {n}"


def _name(row: Row) -> str:
    rank = f"{row.rank}. " if row.rank else ""
    state = "" if row.complete else f"\nincomplete: no {listed(row.missing_parts)}"
    return literal(f"{rank}{row.title}{state}")


def _averages(row: Row, *, with_length: bool, narrow: bool) -> list[str]:
    return [
        _accuracy(row.accuracy, narrow=narrow),
        *([text.number(row.length), text.change(row.length_reduction)] if with_length else []),
        text.p_value(row.against_base.p if row.against_base else None),
    ]


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
