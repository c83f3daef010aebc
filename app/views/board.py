"""The leaderboard page: which merge is better, on what, by how much, and how sure are we?"""

from __future__ import annotations

import streamlit as st

from app import table
from app.filters import View
from results import text
from results.board import Board, Cell, Row


def show(view: View) -> None:
    """Draw the page."""
    board = view.board()
    st.title("Leaderboard")
    st.caption(f"{board.suite} · {board.split} split · model set {view.model_set}")
    _headline(board)
    options = _choose_columns(board)
    complete = [row for row in board.rows if row.complete]
    incomplete = [row for row in board.rows if not row.complete]
    if complete:
        _dataframe(board, complete, options, "Complete rows", none=text.MISSING)
    if incomplete:
        st.markdown("#### Incomplete")
        st.caption("A score is missing, so these rows have no mean and no rank. Missing is not zero.")
        _dataframe(board, incomplete, options, "Incomplete rows", none="missing")
    for note in board.notes:
        st.info(note, icon=":material/info:")
    _legend(board)


def _headline(board: Board) -> None:
    """The base, the expert and the best merge in three cards."""
    cards: list[tuple[str, Row]] = [
        (row.kind.capitalize(), row) for row in board.rows if row.kind != "merged" and row.complete
    ]
    best = next((row for row in board.rows if row.rank == 1), None)
    if best:
        cards.append(("Most accurate merge", best))
    if not cards or len(cards) > 4:
        return
    for column, (title, row) in zip(st.columns(len(cards)), cards, strict=True):
        assert row.accuracy is not None and row.length is not None
        length = f"{row.length.value:.1f} tokens"
        if row.kind != "expert" and row.length_reduction is not None:
            length += f", {text.change(row.length_reduction)}"
        column.metric(
            title if row.name == row.kind else f"{title}: {row.name.removeprefix(f'{row.kind}:')}",
            f"{100 * row.accuracy.value:.1f} %",
            length,
            help="Mean accuracy; mean response length and its change against the expert.",
            delta_color="off",
            delta_arrow="off",
            border=True,
        )


def _choose_columns(board: Board) -> list[str]:
    names = [name for name in table.OPTIONS if name != "votes" or any(board.votes.values())]
    default = [name for name in table.DEFAULT if name in names]
    return list(st.pills("Columns", names, selection_mode="multi", default=default, key="columns"))


def _dataframe(board: Board, rows: list[Row], options: list[str], description: str, *, none: str) -> None:
    styled = table.styled(board, rows, options)
    model = list(styled.data.columns).index(table.MODEL) + 1  # the hidden index is column 0
    st.dataframe(
        styled,
        hide_index=True,
        height="content",
        column_config={model: st.column_config.Column(pinned=True)},
        placeholder=none,
        alt=description,
    )


LEGEND = """
○ base, ● expert, – not applicable or not measured. **Accuracy** in % ± standard error, with a question as
the unit. **Length** is the mean response in tokens ± standard error. Means are unweighted over benchmarks.
**Length vs expert** is the mean over benchmarks of (length / expert's length − 1). **Points vs base** is the
difference in mean accuracy on the same questions; **p vs base** is the exact McNemar test on those questions,
all benchmarks pooled. **Merge**: seconds with statistics, peak memory. **maj@n** is the accuracy of the
majority of the first n samples of one pool ± standard error over questions; maj@1 is the mean of the single
samples. **Truncated** answers were cut off at the budget. Ranked are merges that were asked every question;
bold is the most accurate of them. Click a header to sort.
"""


def _legend(board: Board) -> None:
    """What each number is, how it was measured, and what to know about a method."""
    st.caption(LEGEND)
    lines = [f"**{name}**: {'; '.join(kinds)}" for name, kinds in _protocols(board).items()]
    for method, what in _reconstructions(board).items():
        lines.append(f"† **{method}** is a reconstruction: {what}")
    st.caption("  \n".join(lines))


def _protocols(board: Board) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in board.rows:
        for name, cell in row.cells.items():
            if cell and _protocol(cell) not in found.setdefault(name, []):
                found[name].append(_protocol(cell))
    return found


def _protocol(cell: Cell) -> str:
    """How a cell was measured, in a few words."""
    parts = [f"n = {cell.coverage}", cell.draw, cell.prompt_mode and f"prompt {cell.prompt_mode}"]
    parts += [
        cell.grader and f"grader {cell.grader}",
        cell.engine and f"engine {cell.engine} {cell.dtype or ''}",
    ]
    return ", ".join(part.strip() for part in parts if part)


def _reconstructions(board: Board) -> dict[str, str]:
    return {row.method: row.reconstructed for row in board.rows if row.method and row.reconstructed}


show(st.session_state["view"])
