"""What a person reads in a terminal: plain tables, a line of progress, and plain JSON."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.table import Table

WIDTH = 110


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
        table.add_row(*(literal(cell) for cell in row))
    return table


def literal(words: str) -> str:
    """Words that rich shows as they are, brackets too."""
    from rich.markup import escape

    return escape(words)


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
