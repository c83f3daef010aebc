"""Measured rows and numbers of papers side by side in a terminal: every printed row is marked as reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from bench.show import literal
from bench.show_columns import folded, table_of_models
from bench.show_scores import blocks
from results import text
from results.published import PublishedRow, PublishedTable, expert_of, means
from results.published.retained import COARSE, COARSE_TOLERANCE, PRR, TOLERANCE, Recomputed
from results.remarks import divisor_line

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Row
    from results.prr import RetainRate
    from results.statistics import Estimate

STYLE = "italic"  # of reported rows, beside the mark in their names


def tables(board: Board, reported: Sequence[PublishedTable], rates: Sequence[Recomputed]) -> list[Table]:
    """Scores and PRR, measured rows first, then those of each printed table; votes in tables of their own.

    `rates` are the recomputed PRR of the printed tables (`results/published/retained.py`).
    """
    scored = [table for table in reported if not table.vote_sizes]
    mine = [rate for rate in rates if rate.source in {table.source for table in scored}]
    found = [
        _scores(board, scored, block, notes=not mine)
        for block in (blocks(board, board.rows) if scored else ())
    ]
    if mine:
        found.append(_rates(board, scored, mine))
    return found + [_votes(table) for table in reported if table.vote_sizes]


def _scores(board: Board, reported: Sequence[PublishedTable], block: Sequence[str], *, notes: bool) -> Table:
    """`block` are the benchmarks of the table; averages and notes stand in that of the last ones."""
    last, lengths = block[-1] == board.benchmarks[-1], any(row.length for t in reported for row in t.rows)
    caption = (
        f"Accuracy in %{', below it the mean length' if lengths else ''}, of reported rows as printed. Averages are "
        "formed from the printed numbers as those of measured rows are."
    )
    table = table_of_models(
        f"measured and reported · {board.suite}{_part(board, block)}",
        _captions(caption, reported, notes=last and notes),
        [*map(folded, block), *(["average"] if last else []), *(_LENGTHS if last and lengths else [])],
        board.rows,
    )
    for row in board.rows:
        cells = [row.cells.get(b) for b in block]
        found = [
            _two(_percent(c.accuracy), c.length if lengths else None) if c else text.MISSING for c in cells
        ]
        averages = [_percent(row.accuracy)] if last else []
        averages += [text.number(row.length), text.change(row.length_reduction)] if last and lengths else []
        table.add_row(literal(_title(board, row)), *found, *averages)
    for number, one in enumerate(reported, 1):
        table.add_section()
        expert = expert_of(one)
        for printed in one.rows:
            mean = means(printed, expert, board.benchmarks)
            found = [_two(_number(printed.accuracy.get(b)), printed.length.get(b)) for b in block]
            averages = [_number(mean.accuracy)] if last else []
            averages += [_number(mean.length), text.change(mean.change)] if last and lengths else []
            table.add_row(_reported(printed, number), *found, *averages, style=STYLE)
    return table


_LENGTHS = ("average\nlength", "length\nvs exp.")


def _part(board: Board, block: Sequence[str]) -> str:
    if len(block) == len(board.benchmarks):
        return ""
    return " · " + ", ".join(dict.fromkeys(board.domains.get(b, b) for b in block))


def _rates(board: Board, reported: Sequence[PublishedTable], rates: Sequence[Recomputed]) -> Table:
    """PRR: measured, printed, and recomputed from the printed scores."""
    names = _domains(board, rates)
    divisors = "; ".join(f"measured in {m}: {divisor_line(board, m)}" for m in board.experts)
    used = "; ".join(f"[{i}] {one}" for i, t in enumerate(reported, 1) for one in _denominators(t, rates))
    caption = (
        "PRR in %. Of reported rows the printed number, and in brackets what the printed scores give for it, with ≠ "
        "where rounding does not explain the difference. "
        f"Denominators: {'; '.join(filter(None, (divisors, used)))}."
    )
    table = table_of_models(
        f"measured and reported · {board.suite} · PRR",
        _captions(caption, reported, notes=True),
        [*map(_heading, names), "mean"],
        board.rows,
    )
    for row in board.rows:
        if row.retain:
            own = {domain.domain: domain.estimate for domain in row.retain.domains}
            found = (text.number(own.get(name)) for name in names)
            table.add_row(literal(_title(board, row)), *found, text.number(row.retain.mean))
    for number, one in enumerate(reported, 1):
        table.add_section()
        again = [rate for rate in rates if rate.source == one.source]
        for printed in one.rows:
            mine = [rate.rates[printed.method] for rate in again if printed.method in rate.rates]
            if mine:
                off = COARSE_TOLERANCE if one.source == COARSE else TOLERANCE
                cells = [_printed(printed, f"{PRR}:{name}", mine, _of(board, name), off) for name in names]
                mean = _printed(printed, PRR, mine, lambda rate: rate.mean, off)
                table.add_row(_reported(printed, number), *cells, mean, style=STYLE)
    return table


def _heading(domain: str) -> str:
    return folded(domain) if "_" in domain else domain


def _domains(board: Board, rates: Sequence[Recomputed]) -> list[str]:
    """Of the board, and those of printed tables that it has no scores of."""
    found = [d.domain for row in board.rows if row.retain for d in row.retain.domains]
    found += [board.domains.get(d.ratios[0].benchmark, d.domain) for r in rates for d in _first(r).domains]
    return list(dict.fromkeys(found))


def _first(rate: Recomputed) -> RetainRate:
    return next(iter(rate.rates.values()))


def _of(board: Board, name: str) -> Callable[[RetainRate], Estimate | None]:
    """What a recomputed rate has for a domain of the board, which may call it otherwise."""

    def found(rate: RetainRate) -> Estimate | None:
        mine = (d for d in rate.domains if board.domains.get(d.ratios[0].benchmark, d.domain) == name)
        return next((domain.estimate for domain in mine), None)

    return found


def _printed(
    row: PublishedRow,
    metric: str,
    rates: Sequence[RetainRate],
    of: Callable[[RetainRate], Estimate | None],
    tolerance: float,
) -> str:
    """The printed number, and what each row of denominators gives for it, both in %."""
    printed = row.printed.get(metric)
    lines = [] if printed is None else [f"{printed:.2f}"]
    for found in filter(None, map(of, rates)):
        off = printed is not None and abs(printed - found.value) > tolerance
        lines.append(f"({found.value:.2f}{'≠' if off else ''})")
    return "\n".join(lines) or text.MISSING


def _denominators(table: PublishedTable, rates: Iterable[Recomputed]) -> list[str]:
    return [rate.denominators for rate in rates if rate.source == table.source]


def _votes(reported: PublishedTable) -> Table:
    """Printed accuracies of majority votes; n = 1 is the greedy answer there."""
    (benchmark,) = {b for row in reported.rows for b in row.accuracy}
    sizes = reported.vote_sizes
    caption = f"Accuracy in % on {benchmark} of the majority of n answers at temperature 0.3, as printed."
    table = table_of_models(
        f"reported, not measured here · {reported.source} · {reported.model_set}",
        _captions(caption, [reported], notes=True, number=False),
        ("greedy", *(f"n = {n}" for n in sizes)),
    )
    for row in reported.rows:
        values = (row.accuracy.get(benchmark), *map(row.votes.get, sizes))
        table.add_row(f"{row.method} (reported)", *map(_number, values), style=STYLE)
    return table


def _captions(caption: str, reported: Sequence[PublishedTable], *, notes: bool, number: bool = True) -> str:
    lines = [caption]
    for i, table in enumerate(reported, 1):
        if number:
            lines.append(f"[{i}] reported, not measured here: {table.source} · {table.model_set}.")
        if table.restored and notes:
            lines.append(f"{table.restored} decimal points, lost in the source text, were restored.")
        lines += [f"• {note}" for row in table.rows for note in row.notes] if notes else []
    return literal("\n".join(lines))


def _title(board: Board, row: Row) -> str:
    return row.title if len(board.model_sets) == 1 else f"{row.title} ({row.model_set})"


def _reported(row: PublishedRow, number: int) -> str:
    return literal(f"{row.method} (reported [{number}])")


def _two(accuracy: str, length: Estimate | float | None) -> str:
    value = length if length is None or isinstance(length, float) else length.value
    return accuracy if value is None else f"{accuracy}\n{value:.1f}"


def _percent(estimate: Estimate | None) -> str:
    return text.MISSING if estimate is None else f"{100 * estimate.value:.1f}"


def _number(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:.1f}"
