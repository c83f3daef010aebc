"""What commands print: tables or JSON on standard output, remarks on standard error."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from results.board import Board


def say(text: str) -> None:
    """A remark for a person, on standard error, so that --json stays clean."""
    sys.stderr.write(text + "\n")


def show(what: Any) -> None:
    """A text or a rich table."""
    from bench.show import printer

    printer()(what)


def show_json(value: Any) -> None:
    """The value as JSON."""
    from bench.show import to_json

    sys.stdout.write(to_json(value) + "\n")


def show_rows(title: str, rows: list[dict[str, Any]], *, json: bool, whole: Any = None) -> None:
    """A table of `rows`, or JSON of them, or of `whole` where that says more."""
    from bench.show import simple_table

    if json:
        show_json(rows if whole is None else whole)
        return
    columns = list(rows[0]) if rows else ["nothing"]
    show(simple_table(title, columns, [[str(row[c]) for c in columns] for row in rows]))


def show_board(
    board: Board, *, json: bool, extra: Mapping[str, Any], asked: str | None = None, parts: bool = False
) -> None:
    """The leaderboard with what must be known beside it; `extra` goes into the JSON. `asked` is the suite or
    benchmark as the person named it, and `parts` shows what some benchmarks are made of."""
    from bench.lm_eval import is_lm_eval
    from bench.show_board import board_tables, grader_lines
    from results.protocol import judge_lines, limit_lines, protocol_lines

    if json:
        show_json({"board": board, **extra})
        return
    if not board.rows:
        name = asked or board.suite
        command = "bench lm-eval" if is_lm_eval(name) else f"bench run --suite {name}"
        say(f"No rows for {name} ({board.split} split) yet: `{command}` makes some.")
    for one in board_tables(board, parts=parts):
        show(one)
        show("")
    for line in (*protocol_lines(board), *grader_lines(board), *limit_lines(board), *judge_lines(board)):
        show(line)
    for note in board.notes:
        say(note)
