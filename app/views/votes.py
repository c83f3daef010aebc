"""The self-consistency page: what do more answers to a question buy, and what do they cost?"""

from __future__ import annotations

import streamlit as st

from app import curve, notes
from app.filters import View
from results.voting import ROBUST, TOOLKIT


def show(view: View) -> None:
    """Draw the page."""
    board = view.board()
    st.title("Self-consistency")
    st.caption(f"{board.suite} · {board.split} split · model set {view.model_set}")
    voted = [name for name in board.benchmarks if board.votes.get(name)]
    if not voted:
        st.info("No benchmark here was answered several times a question, so there is nothing to vote on.")
        return
    left, middle, right = st.columns([2, 2, 3], vertical_alignment="bottom")
    benchmark = left.selectbox("Benchmark", voted, key="votes-benchmark")
    against = middle.selectbox("Against", [curve.ANSWERS, curve.COST], key="votes-against")
    rules = right.segmented_control(
        "Vote rule", [ROBUST, TOOLKIT], selection_mode="multi", default=[ROBUST], key="votes-rules"
    )
    lines = curve.lines_of(board, benchmark, rules or [ROBUST])
    models = list(dict.fromkeys(line.model for line in lines))
    chosen = st.multiselect("Models", models, placeholder="all", key="votes-models")
    lines = [line for line in lines if not chosen or line.model in chosen]
    st.altair_chart(
        curve.chart(lines, against=against),
        alt=f"Accuracy on {benchmark} against {against}, with 95 % intervals",
    )
    st.caption(LEGEND)
    st.caption("  \n".join(notes.measured(board)))
    if graded := notes.graders(board):
        st.caption(graded)
    if found := notes.reconstructions([row for row in board.rows if row.title in models]):
        st.caption("  \n".join(found))


LEGEND = """
Votes over the first n samples of one pool; at n = 1 the mean of all single samples. Solid: **robust**, equal answers
are one cluster and unparsable ones do not vote. Dashed: **toolkit**, as the Qwen2.5-Math toolkit counts: equal
strings, and the empty string of an unparsable answer can win. Bars are 95 % intervals that resample questions, then
draws; at n = 1 Wilson's interval for as many answers as the spread between the questions makes them worth. **Tokens
per problem** are n times the mean length: a vote of 16 short answers may cost more than one long one.
"""


show(st.session_state["view"])
