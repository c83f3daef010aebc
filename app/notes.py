"""What a reader must know about a row, in sentences: the same on every page."""

from __future__ import annotations

from collections.abc import Iterable

from results import text
from results.board import Board, Row
from results.protocol import judge_lines, limit_lines, protocol_lines
from results.remarks import divisor_line, retain_lines, retention_lines


def reconstructions(rows: Iterable[Row]) -> list[str]:
    """Markdown: for each method among `rows` whose definition had to be reconstructed, what was left open."""
    found = {row.method: row.reconstructed for row in rows if row.method and row.reconstructed}
    return [
        f"{text.RECONSTRUCTED} **{method}** is a reconstruction: {what}" for method, what in found.items()
    ]


def measured(board: Board) -> list[str]:
    """Prompt mode, budget and engine of the numbers, how often a grader met a limit or could not read a judge."""
    return [*protocol_lines(board), *limit_lines(board), *judge_lines(board)]


def graders(board: Board) -> str | None:
    """Which grader the numbers come from and how many verdicts flip under another; None where there is one
    only."""
    if len(board.known_graders) < 2:
        return None
    shown = ", ".join(dict.fromkeys(board.graders.values()))
    flips: dict[str, list[str]] = {}
    for flip in board.flips:
        flips.setdefault(flip.other, []).append(f"{flip.benchmark} {flip.flipped:,} of {flip.responses:,}")
    lines = [f"verdicts that flip under {other}: {', '.join(words)}" for other, words in flips.items()]
    return f"**Grader** {'; '.join([shown, *lines])}."


def retained(board: Board) -> list[str]:
    """Markdown: what PRR is over, and what to know of it; for each model set that has one."""
    lines = []
    for model_set in board.experts:
        lines.append(f"**Denominators**: {divisor_line(board, model_set)}.")
        lines += [f"• {line}" for line in retain_lines(board, model_set)]
    return lines


def kept(board: Board) -> list[str]:
    """Markdown: what to know of the retention against the base."""
    return [f"• {line}" for model_set in board.model_sets for line in retention_lines(board, model_set)]
