"""The leaderboard page: which merge is better, on what, by how much, and how sure are we?"""

from __future__ import annotations

from typing import Any

import streamlit as st

from app import data, notes, reported, retained, table
from app.filters import View
from results import text
from results.board import Board, Row
from results.cell import Cell


def show(view: View) -> None:
    """Draw the page."""
    board = view.board()
    st.title("Leaderboard")
    st.caption(f"{board.suite} · {board.split} split · model set {view.model_set}")
    _headline(board)
    _retained(board)
    options = _choose_columns(board)
    complete = [row for row in board.rows if row.complete]
    incomplete = [row for row in board.rows if not row.complete]
    if complete:
        _dataframe(board, complete, options, "Complete rows", none=text.MISSING)
    if incomplete:
        st.markdown("#### Incomplete")
        st.caption("A score is missing, so these rows have no mean and no rank. Missing is not zero.")
        _dataframe(board, incomplete, options, "Incomplete rows", none="missing")
    st.caption("  \n".join(notes.measured(board)))
    if graded := notes.graders(board):
        st.caption(graded)
    for note in board.notes:
        st.info(note, icon=":material/info:")
    _legend(board)
    _reported(view, board)


RATES = """Performance Retain Rate: the score in % ± standard error of the score of each domain's expert, of the
benchmarks of a domain first, then of the domains. Not clipped at 100. Merges are ranked by the mean."""
KEPT = """Share in % ± standard error of the base's score: what was forgotten. These benchmarks have no expert, so
they are in no PRR."""


def _retained(board: Board) -> None:
    """What is kept of the experts' performance, by domain, and of the base's where a domain has no expert."""
    rows = [row for row in board.rows if row.retain]
    if rows:
        st.markdown("#### Performance retained of the experts (PRR)")
        _plain(retained.rates(rows), "Performance retained")
        st.caption("  \n".join([RATES, *notes.retained(board)]))
    rows = [row for row in board.rows if row.retention]
    if rows:
        st.markdown("#### Retention against the base")
        _plain(retained.kept(rows), "Retention against the base")
        st.caption("  \n".join([KEPT, *notes.kept(board)]))
    if any(row.retain or row.retention for row in board.rows):
        st.markdown("#### Scores")


def _plain(styled: Any, description: str) -> None:
    """A table with one line of headings; a missing number says so."""
    longest = max((len(name) for name in styled.data["model"]), default=0)
    width = min(table.WIDEST, table.CHARACTER * longest + 20)
    config = {"model": st.column_config.Column(pinned=True, width=width)}
    st.dataframe(
        styled,
        hide_index=True,
        height="content",
        column_config=config,
        placeholder="missing",
        alt=description,
    )


CARDS = 5  # what fits beside each other with readable names


def _headline(board: Board) -> None:
    """The base, the experts (the most accurate one, where there are many) and the best merge in cards.

    Where there is a PRR the cards show it, and the experts, which have 100 % of their own, are left out.
    """
    complete = [row for row in board.rows if row.complete]
    experts = [row for row in complete if row.kind == "expert" and not row.retain]
    if len(experts) > CARDS - 2:
        experts = sorted(experts, key=_accuracy)[-1:]
    cards: list[tuple[str, Row]] = [("Base", row) for row in complete if row.kind == "base"]
    cards += [("Expert", row) for row in experts]
    cards += [("Top merge", row) for row in complete if row.rank == 1]
    if not cards or len(cards) > CARDS:  # several model sets
        return
    for column, (title, row) in zip(st.columns(len(cards)), cards, strict=True):
        rate = row.retain.mean if row.retain else None
        column.metric(
            title if row.name == row.kind else f"{title}: {row.title.removeprefix(f'{row.kind}:')}",
            f"{100 * _accuracy(row):.1f} %" if rate is None else f"PRR {rate.value:.1f} %",
            _length(row) if rate is None else _beside(row),
            help=f"{row.title}. " + (_HELP if rate is None else _RATE_HELP),
            delta_color="off",
            delta_arrow="off",
            border=True,
        )


_HELP = "Mean accuracy; where answers have a length its mean, and its change against the expert."
_RATE_HELP = "Mean performance retained of the experts; mean accuracy, and the domain that keeps least."


def _beside(row: Row) -> str:
    """What stands under the PRR of a card."""
    worst = row.retain.worst if row.retain else None
    lowest = f", worst {worst[0]} {worst[1].value:.1f} %" if worst else ""
    return f"accuracy {100 * _accuracy(row):.1f} %{lowest}"


def _accuracy(row: Row) -> float:
    return row.accuracy.value if row.accuracy else 0.0


def _length(row: Row) -> str | None:
    if row.length is None:
        return None
    change = f", {text.change(row.length_reduction)}" if row.kind != "expert" and row.length_reduction else ""
    return f"{row.length.value:.1f} tokens{change}"


def _choose_columns(board: Board) -> list[str]:
    written = {"truncated", "no answer", "length spread"}  # of answers that are not labels
    names = [
        name
        for name in table.OPTIONS
        if (name != "votes" or any(board.votes.values()))
        and (name not in written or board.with_length)
        and (name != "parts" or any(len(one.parts) > 1 for one in board.composites.values()))
        and (name != "groups" or any(c.groups for row in board.rows for c in row.cells.values() if c))
        and (name != "own metrics" or any(c.native for row in board.rows for c in row.cells.values() if c))
    ]
    default = [name for name in table.DEFAULT if name in names]
    return list(st.pills("Columns", names, selection_mode="multi", default=default, key="columns"))


def _dataframe(board: Board, rows: list[Row], options: list[str], description: str, *, none: str) -> None:
    styled = table.styled(board, rows, options)
    columns = list(styled.data.columns)
    config = {
        columns.index(column) + 1: st.column_config.Column(pinned=column == table.MODEL, width=width)
        for column, width in table.widths(styled.data).items()  # the hidden index is column 0
    }
    st.dataframe(
        styled, hide_index=True, height="content", column_config=config, placeholder=none, alt=description
    )


LEGEND = """ ○ base, ● expert, – not applicable or not measured. **Accuracy** in % ± standard error, with a
question as the unit. **Length** is the mean response in tokens ± standard error. Means are unweighted over
benchmarks. **Length vs expert** is the mean over benchmarks of (length / expert's length − 1). **Points vs
base** is the difference in mean accuracy on the same questions; **p vs base** is the exact McNemar test on
those questions, all benchmarks pooled. **Merge**: seconds with statistics, peak memory. **maj@n** is the
accuracy of the majority of the first n samples of one pool ± standard error over questions; maj@1 is the mean
of the single samples. **Truncated** answers were cut off at the budget; **boxed only** is the accuracy when
such an answer without a complete box is wrong. **Right** and **untruncated** are mean lengths of those
answers. **Parts** are the benchmarks that another is the mean or the best of. Ranked are merges that were asked
every question, by PRR where there is one; bold is the best of them. Click a header to sort.
"""


def _legend(board: Board) -> None:
    """What each number is, how it was measured, and what to know about a method."""
    st.caption(LEGEND)
    lines = [f"**{', '.join(names)}**: {protocol}" for protocol, names in _protocols(board).items()]
    st.caption("  \n".join([*lines, *notes.reconstructions(board.rows)]))


def _reported(view: View, board: Board) -> None:
    """What papers print on the same benchmarks, folded away; nothing where the database has none."""
    tables = data.published(view.database, board.benchmarks)
    if not tables:
        return
    rates = data.published_rates(view.database, tuple(one.source for one in tables))
    with st.expander("Reported in papers, not measured here"):
        for one in tables:
            st.markdown(f"**{one.source}** · {one.model_set}")
            frame = reported.frame(one, board.benchmarks, rates)
            st.dataframe(
                frame.style.format(precision=1, na_rep=text.MISSING), hide_index=True, height="content",
                placeholder=text.MISSING, alt=f"Reported: {one.source}",
            )  # fmt: skip
            if said := [note for row in one.rows for note in row.notes]:
                st.caption("  \n".join(said))


def _protocols(board: Board) -> dict[str, list[str]]:
    """By how they were measured: what was asked."""
    found: dict[str, list[str]] = {}
    for row in board.rows:
        for name, cell in row.measured.items():
            if name not in found.setdefault(_protocol(cell), []):
                found[_protocol(cell)].append(name)
    return found


def _protocol(cell: Cell) -> str:
    """How a cell was measured, in a few words."""
    parts = [f"n = {cell.coverage}", cell.draw, cell.prompt_mode and f"prompt {cell.prompt_mode}"]
    parts += [
        cell.grader and f"grader {cell.grader}",
        cell.engine and f"engine {cell.engine} {cell.dtype or ''}",
    ]
    return ", ".join(part.strip() for part in parts if part)


show(st.session_state["view"])
