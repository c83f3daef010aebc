"""The choices in the sidebar, shared by all pages."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from app import data
from results.board import Board
from results.browse import Measured

FIRST = "the benchmark's first"


@dataclass(frozen=True)
class View:
    """What the reader looks at. None means all."""

    database: Path
    model_set: str
    suite: str
    split: str
    benchmarks: tuple[str, ...] | None
    methods: tuple[str, ...] | None
    grader: str | None = None

    def board(self) -> Board:
        """The leaderboard of these choices."""
        return data.board(
            self.database,
            suite=self.suite,
            model_set=self.model_set,
            split=self.split,
            benchmarks=self.benchmarks,
            methods=self.methods,
            grader=self.grader,
        )


def choose(database: Path, measured: list[Measured]) -> View:
    """Draw the sidebar; each choice offers only what the ones above it leave."""
    with st.sidebar:
        st.subheader("Show")
        model_set = _one(
            "Model set", [m.model_set for m in measured], "A base with its experts and their merges."
        )
        mine = [m for m in measured if m.model_set == model_set]
        suite = _one("Suite", [m.suite for m in mine], "Benchmarks that are reported together.")
        mine = [m for m in mine if m.suite == suite]
        split = _one(
            "Split", [m.split for m in mine], "Only test scores are results; the others serve selection."
        )
        mine = [m for m in mine if m.split == split]
        # Of all model sets: what this one lacks is missing, not unknown.
        everyone = data.board(database, suite=suite, model_set=model_set, split=split).benchmarks
        benchmarks = _some("Benchmarks", list(everyone), "Means are over the chosen ones.")
        methods = _some(
            "Methods", sorted(name for m in mine for name in m.methods), "Base and experts always stay."
        )
        grader = _grader([name for m in mine for name in m.graders])
        st.divider()
        st.caption(f"Database  \n`{database}`")
    return View(
        database=database,
        model_set=model_set,
        suite=suite,
        split=split,
        benchmarks=benchmarks,
        methods=methods,
        grader=grader,
    )


def _grader(names: list[str]) -> str | None:
    """The grader whose numbers are shown; nothing to choose where there is one, and None is each benchmark's
    first."""
    known = list(dict.fromkeys(names))
    if len(known) < 2:
        return None
    explanation = "Several graders judged the same answers; the first one's numbers compare with the papers."
    chosen = st.selectbox("Grader", [FIRST, *known], help=explanation, key="choice-Grader")
    return None if chosen == FIRST else str(chosen)


def _one(label: str, options: list[str], explanation: str) -> str:
    names = sorted(set(options), key=lambda name: (name != "test", name))  # of the splits, test comes first
    return str(st.selectbox(label, names, help=explanation, key=f"choice-{label}"))


def _some(label: str, options: list[str], explanation: str) -> tuple[str, ...] | None:
    """Any number of the options, in their order; none chosen means all."""
    names = list(dict.fromkeys(options))
    chosen = st.multiselect(label, names, placeholder="all", help=explanation, key=f"choice-{label}")
    return tuple(name for name in names if name in chosen) or None
