"""What a reader must know about a row, in sentences: the same on every page."""

from __future__ import annotations

from collections.abc import Iterable

from results import text
from results.board import Row


def reconstructions(rows: Iterable[Row]) -> list[str]:
    """Markdown: for each method among `rows` whose definition had to be reconstructed, what was left open."""
    found = {row.method: row.reconstructed for row in rows if row.method and row.reconstructed}
    return [
        f"{text.RECONSTRUCTED} **{method}** is a reconstruction: {what}" for method, what in found.items()
    ]
