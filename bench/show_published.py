"""Numbers of papers in a terminal: tables of their own, every row marked as reported."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.show_columns import folded, table_of_models
from results import text
from results.published import PublishedTable, expert_of, means

if TYPE_CHECKING:
    from rich.table import Table


def tables(benchmarks: Sequence[str], reported: Sequence[PublishedTable]) -> list[Table]:
    """One table for each printed one, with the columns of the board."""
    return [
        _votes_table(table) if table.vote_sizes else _accuracy_table(benchmarks, table) for table in reported
    ]


def _table(reported: PublishedTable, caption: str, columns: Sequence[str]) -> Table:
    title = f"reported, not measured here · {reported.source} · {reported.model_set}"
    return table_of_models(title, _caption(reported, caption), columns)


def _accuracy_table(benchmarks: Sequence[str], reported: PublishedTable) -> Table:
    caption = (
        "Accuracy in %, below it the mean length, as printed. Averages are formed from the printed numbers as "
        "those of measured rows are."
    )
    table = _table(
        reported, caption, (*map(folded, benchmarks), "average", "average\nlength", "length\nvs exp.")
    )
    expert = expert_of(reported)
    for row in reported.rows:
        mean = means(row, expert, benchmarks)
        table.add_row(
            f"{row.method} (reported)",
            *(_two(row.accuracy.get(b), row.length.get(b)) for b in benchmarks),
            _number(mean.accuracy),
            _number(mean.length),
            text.change(mean.change),
        )
    return table


def _votes_table(reported: PublishedTable) -> Table:
    """Printed accuracies of majority votes; n = 1 is the greedy answer there."""
    (benchmark,) = {b for row in reported.rows for b in row.accuracy}
    sizes = reported.vote_sizes
    caption = f"Accuracy in % on {benchmark} of the majority of n answers at temperature 0.3, as printed."
    table = _table(reported, caption, ("greedy", *(f"n = {n}" for n in sizes)))
    for row in reported.rows:
        greedy = row.accuracy.get(benchmark)
        table.add_row(f"{row.method} (reported)", *(_number(v) for v in (greedy, *map(row.votes.get, sizes))))
    return table


def _caption(reported: PublishedTable, caption: str) -> str:
    lines = [caption]
    if reported.restored:
        lines.append(f"{reported.restored} decimal points, lost in the source text, were restored.")
    return "\n".join([*lines, *(f"• {note}" for row in reported.rows for note in row.notes)])


def _two(accuracy: float | None, length: float | None) -> str:
    return _number(accuracy) if length is None else f"{_number(accuracy)}\n{_number(length)}"


def _number(value: float | None) -> str:
    return text.MISSING if value is None else f"{value:.1f}"
