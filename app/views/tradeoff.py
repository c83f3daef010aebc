"""The trade-off page: what does a shorter answer cost?"""

from __future__ import annotations

import streamlit as st

from app import chart, notes
from app.filters import View

BARS = {"± 1 standard error": 1.0, "95 % interval": 1.96, "none": 0.0}


def show(view: View) -> None:
    """Draw the page."""
    board = view.board()
    st.title("Accuracy against length")
    st.caption(f"{board.suite} · {board.split} split · model set {view.model_set}")
    mean = f"mean of {len(board.benchmarks)}"
    names = ([mean] if len(board.benchmarks) > 1 else []) + list(board.benchmarks)
    left, middle, right = st.columns([3, 2, 1], vertical_alignment="bottom")
    what = left.segmented_control(
        "Benchmark", names, default=names[0], required=True, key="tradeoff-benchmark"
    )
    bars = middle.selectbox("Error bars", list(BARS), key="tradeoff-bars")
    log = right.toggle("Log length", key="tradeoff-log")

    points = chart.points_of(board, None if what == mean else what)
    if not points:
        labels = not board.with_length or (what in board.benchmarks and what not in board.with_length)
        st.info(
            "The models choose labels here: such answers have no length to trade."
            if labels
            else "No row has both an accuracy and a length here."
        )
        return
    st.altair_chart(
        chart.tradeoff(points, errors=BARS[bars], log=log),
        alt="Accuracy against mean response length, with error bars and the Pareto front",
    )
    on_front = [point.row.title for point, is_on in zip(points, chart.front(points), strict=True) if is_on]
    st.caption(
        f"Up and to the left is better. Dashed: the Pareto front ({', '.join(on_front)}), the models that no "
        "other one beats in accuracy and length at once. It is drawn through estimates: where error bars "
        "overlap, the order is not certain."
    )
    shown = [point.row for point in points]
    left_out = [row.title for row in board.rows if row not in shown]
    if left_out:
        st.caption(f"Not shown, because a score is missing: {', '.join(left_out)}.")
    if found := notes.reconstructions(shown):
        st.caption("  \n".join(found))


show(st.session_state["view"])
