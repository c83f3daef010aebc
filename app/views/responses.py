"""The responses page: what the models actually wrote."""

from __future__ import annotations

import math
from typing import Any

import streamlit as st

from app import data, notes, table
from app.filters import View
from results.browse import OUTCOMES, Page

PER_PAGE = 10


def show(view: View) -> None:
    """Draw the page."""
    st.title("Responses")
    board = view.board()
    left, middle, right = st.columns([3, 2, 2])
    row = left.selectbox("Model", board.rows, format_func=table.label, key="responses-model")
    asked = list(dict.fromkeys(key for one in board.rows for key in one.measured))
    key = middle.selectbox("Benchmark", asked, key="responses-benchmark")
    if row and row.reconstructed:
        st.caption("  \n".join(notes.reconstructions([row])))
    cell = row.measured.get(key) if row and key else None
    if row is None or cell is None:
        st.info("This model was not measured on this benchmark.")
        return
    draws = data.draws(view.database, row.checkpoint, cell.benchmark, view.split)
    draw = right.selectbox(
        "Draw", draws, help="Greedy, or a pool of samples that votes.", key="responses-draw"
    )
    place = {"checkpoint": row.checkpoint, "benchmark": cell.benchmark, "split": view.split, "draw": draw}
    place |= {"engine": cell.engine, "benchmark_version": cell.benchmark_version, "grader": cell.grader}
    _list(view, place)


def _list(view: View, place: dict[str, Any]) -> None:
    """The filter with its counts, one page of responses, and the way to the next."""
    counts = data.responses(view.database, **place, limit=0).counts
    outcomes = [name for name in OUTCOMES if counts[name] or name == "all"]
    outcome = st.segmented_control(
        "Verdict",
        outcomes,
        default="all",
        required=True,
        format_func=lambda name: f"{name} · {counts[name]}",
        label_visibility="collapsed",
        key="responses-outcome",
    )
    pages = max(1, math.ceil(counts[outcome] / PER_PAGE))
    # A key of its own for every list: another filter starts at its first page.
    key = "responses-page-" + "-".join([*map(str, place.values()), outcome])
    number = st.session_state.get(key, 1)
    page = data.responses(
        view.database, **place, outcome=outcome, offset=(number - 1) * PER_PAGE, limit=PER_PAGE
    )
    for item in page.items:
        _response(item)
    if not page.items:
        st.info("There is no such response.")
    if pages > 1:
        st.number_input(f"Page, of {pages}", min_value=1, max_value=pages, key=key, width=160)
    if page.items:
        st.caption(_protocol(page))


def _response(item: dict[str, Any]) -> None:
    """One response. Texts are shown as they are: nothing a model wrote is taken for Markdown."""
    with st.container(border=True):
        with st.container(horizontal=True, vertical_alignment="center"):
            _verdict(item)
            st.caption(f"{item['sample_id']} · sample {item['sample_index']} · {_length(item)}")
        question, answer = st.columns([2, 3], gap="medium")
        with question:
            st.caption("Question")
            st.text(item["question"] or "")
            target, extracted = st.columns(2)
            target.caption("Target")
            target.text(item["target"])
            extracted.caption("Extracted")
            extracted.text("none" if item["extracted"] is None else item["extracted"])
        with answer:
            st.caption("Response")
            st.code(item["text"] or "(empty)", language=None, wrap_lines=True)
            if item["why"]:
                st.text(f"Why: {item['why']}.".replace("..", "."))


def _verdict(item: dict[str, Any]) -> None:
    if item["correct"] is None:
        st.badge("not graded", color="gray")
    elif item["correct"]:
        st.badge("correct", icon=":material/check:", color="green")
    elif item["extracted"] is None:
        st.badge("no answer", icon=":material/question_mark:", color="orange")
    else:
        st.badge("wrong", icon=":material/close:", color="red")
    if item["finish_reason"] == "length":
        st.badge("truncated", icon=":material/content_cut:", color="gray")


def _length(item: dict[str, Any]) -> str:
    if item["finish_reason"] == "label":
        return "a label was chosen"
    if item["finish_reason"] == "likelihood":
        return "given answers were scored"
    # A text that is split into tokens once more may have more of them than were generated.
    length = "length unknown" if item["n_tokens_text"] is None else f"{item['n_tokens_text']} tokens"
    thought = "" if item["n_think_tokens"] is None else f", {item['n_think_tokens']} in the think block"
    again = f", {n} reflection keyword{'s' if n > 1 else ''}" if (n := item["n_reflections"]) else ""
    return f"{length}{thought}{again}, {item['n_generated']} generated of at most {item['budget']}"


def _protocol(page: Page) -> str:
    item = page.items[0]
    if item["finish_reason"] == "label":
        return (
            f"The most probable label, under the task head of the domain's expert: engine {item['engine']} "
            f"{item['dtype']}. Data: {item['source']}."
        )
    if item["finish_reason"] == "likelihood":
        return (
            f"Log-probabilities of the given answers, and whether greedy decoding writes them: engine "
            f"{item['engine']} {item['dtype']}. Data: {item['source']}."
        )
    sampling = (
        "greedy" if item["temperature"] == 0 else f"temperature {item['temperature']}, top-p {item['top_p']}"
    )
    grader = f"{item['grader']}@{item['grader_version']}" if item["grader"] else "none"
    return (
        "Length is counted in tokens of the response under the model's own tokenizer. Asked: "
        f"{sampling}, prompt {item['prompt_mode']}, engine {item['engine']} {item['dtype']}. "
        f"Grader {grader}. Data: {item['source']}."
    )


show(st.session_state["view"])
