"""Queries of the pages, remembered until the database changes. The file is open only while one runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import streamlit as st

from results import browse
from results.board import Board
from results.errors import StoreError
from results.leaderboard import leaderboard
from results.published import PublishedTable, published_tables
from results.published.recording import stored
from results.published.retained import Recomputed, recomputed
from results.store import Store

WAIT_SECONDS = 5.0  # for a run that writes just now, before the page says so

T = TypeVar("T")


def measured(path: Path) -> list[browse.Measured]:
    """What there are scores of: model sets, suites, benchmarks, splits, methods."""
    return _ask(lambda: _measured(str(path), Store(path).stamp()))


def board(path: Path, **selection: Any) -> Board:
    """The leaderboard; arguments as for `results.leaderboard.leaderboard`."""
    return _ask(lambda: _board(str(path), Store(path).stamp(), selection))


def published(path: Path, benchmarks: tuple[str, ...]) -> tuple[PublishedTable, ...]:
    """The printed tables on these benchmarks, where somebody has asked for them: `bench table SUITE --published`."""
    return published_tables(_ask(lambda: _published(str(path), Store(path).stamp())), benchmarks)


def published_rates(path: Path, sources: tuple[str, ...]) -> list[Recomputed]:
    """What the printed scores of some tables give for their PRR."""
    rows = _ask(lambda: _published(str(path), Store(path).stamp()))
    return [one for one in recomputed(rows) if one.source in sources]


def draws(path: Path, checkpoint: str, benchmark: str, split: str) -> list[str]:
    """The draws under which a model answered a benchmark."""
    return _ask(lambda: _draws(str(path), Store(path).stamp(), checkpoint, benchmark, split))


def responses(path: Path, **selection: Any) -> browse.Page:
    """A page of responses; arguments as for `results.browse.responses_of`."""
    return _ask(lambda: _responses(str(path), Store(path).stamp(), selection))


# The stamp changes with the file: an argument that only makes the memory forget.
@st.cache_data(show_spinner=False, max_entries=8)
def _measured(path: str, stamp: tuple[int, ...]) -> list[browse.Measured]:
    return browse.measured(Store(path, wait_seconds=WAIT_SECONDS))


@st.cache_data(show_spinner="Reading the scores", max_entries=32)
def _board(path: str, stamp: tuple[int, ...], selection: dict[str, Any]) -> Board:
    return leaderboard(Store(path, wait_seconds=WAIT_SECONDS), **selection)


@st.cache_data(show_spinner=False, max_entries=8)
def _published(path: str, stamp: tuple[int, ...]) -> list[dict[str, Any]]:
    return stored(Store(path, wait_seconds=WAIT_SECONDS))


@st.cache_data(show_spinner=False, max_entries=64)
def _draws(path: str, stamp: tuple[int, ...], checkpoint: str, benchmark: str, split: str) -> list[str]:
    return browse.draws_of(Store(path, wait_seconds=WAIT_SECONDS), checkpoint, benchmark, split=split)


@st.cache_data(show_spinner="Reading the responses", max_entries=32)
def _responses(path: str, stamp: tuple[int, ...], selection: dict[str, Any]) -> browse.Page:
    return browse.responses_of(Store(path, wait_seconds=WAIT_SECONDS), **selection)


def _ask(query: Callable[[], T]) -> T:
    """The answer; or, when the database cannot be read, the reason instead of a page."""
    try:
        return query()
    except StoreError as error:
        st.error(str(error), icon=":material/database_off:")
        st.button("Try again")
        st.stop()
        raise  # never reached: stop() ends the page
