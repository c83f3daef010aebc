"""What all tables of models have in common: the first column, the legend, names that are folded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from results import text

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Row


def table_of_models(title: str, caption: str, columns: Sequence[str], rows: Sequence[Row] = ()) -> Table:
    """A table without vertical lines, so that it fits eighty columns; the first column, the name, folds.

    The caption has the legend that some of `rows` need.
    """
    from rich import box
    from rich.table import Table

    table = Table(
        title=title,
        caption=caption + legend(rows),
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


def legend(rows: Sequence[Row]) -> str:
    """What the mark beside some names means; nothing where there is none."""
    if not any(row.reconstructed for row in rows):
        return ""
    return f" {text.RECONSTRUCTED} the method's definition had to be reconstructed: `bench methods NAME`."


def folded(name: str) -> str:
    """A name on lines of its parts, or of eight letters: `minerva_/ocw`, `olympiad/bench`."""
    return (
        name.replace("_", "_\n")
        if "_" in name
        else "\n".join(name[i : i + 8] for i in range(0, len(name), 8))
    )


def style(row: Row) -> str:
    """Dim where something is missing, bold for the best merge."""
    return "dim" if not row.complete else ("bold" if row.rank == 1 else "")


def ends_section(row: Row, following: Row | None) -> bool:
    """Whether it is the last row before the merges."""
    return row.kind != "merged" and following is not None and following.kind == "merged"
