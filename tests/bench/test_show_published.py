"""Measured and printed rows in one table: each where it belongs, and nobody can take one for the other."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.show import WIDTH
from bench.show_published import tables
from results.board import Board
from results.leaderboard import leaderboard
from results.published import published_rows, published_tables
from results.published.retained import recomputed
from results.store import Store
from tests.results.factory import write
from tests.results.wide import wide


@pytest.fixture
def board(tmp_path: Path) -> Board:
    store = Store(tmp_path / "leaderboard.duckdb")
    write(store, wide())
    return leaderboard(store, "mergebench")


def printed(board: Board) -> list[str]:
    rows = published_rows()
    reported = published_tables(rows, board.benchmarks)
    sources = {table.source for table in reported}
    rates = [one for one in recomputed(rows) if one.source in sources]
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, highlight=False)
    for table in tables(board, reported, rates):
        console.print(table)
    return out.getvalue().splitlines()


def test_measured_rows_stand_beside_reported_ones_that_say_so(board: Board) -> None:
    lines = printed(board)
    assert max(map(len, lines)) <= WIDTH
    names = [row.title for row in board.rows]
    heads = [i for i, line in enumerate(lines) if line.startswith("measured and reported · mergebench")]
    assert len(heads) == 4  # three for the scores, one for PRR
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        table = lines[start:end]
        mine = [line for line in table if any(line.startswith(f" {name} ") for name in names)]
        papers = [line for line in table if "[1])" in line or "[2])" in line]  # long names go on below
        assert len(mine) == len(names) and len(papers) >= 18
        assert table.index(mine[-1]) < table.index(papers[0]) and "" in [
            line.strip() for line in table[table.index(mine[-1]) : table.index(papers[0])]
        ], "a line between them"
    ours = next(line for line in lines if line.startswith(" DRIFT-MEDIAN (reported [1])"))
    assert ours.split()[3:] == ["64.7", "23.3", "47.7", "40.2", "62.5"]


def test_the_printed_rate_stands_over_what_the_printed_scores_give(board: Board) -> None:
    lines = printed(board)
    lines = lines[
        next(
            i for i, line in enumerate(lines) if line.startswith("measured and reported · mergebench · PRR")
        ) :
    ]
    at = next(i for i, line in enumerate(lines) if line.startswith(" DRIFT-MEDIAN (reported [1])"))
    assert lines[at].split()[3:] == ["85.19", "89.44", "71.24", "94.45", "101.47", "87.51"]
    assert lines[at + 1].split() == ["(80.95≠)", "(89.44)", "(71.24)", "(94.45)", "(101.47)", "(87.51)"]
    marked = sum(line.count("≠)") for line in lines)
    assert marked == 8 + 1 + 1  # maths of Table 2, a coding cell of it, maths of Task Arithmetic in Table 3
    words = " ".join(" ".join(lines).split())
    assert "PRR of coding 89.57: a digit is wrong" in words and "[1] Skyline(s)" in words


def test_two_possible_denominators_are_both_shown() -> None:
    board = leaderboard(
        Store(Path("/nonexistent/leaderboard.duckdb")), "llama2", benchmarks=("cmmlu", "gsm8k", "humaneval")
    )
    lines = printed(board)
    lines = lines[
        next(i for i, line in enumerate(lines) if line.startswith("measured and reported · llama2 · PRR")) :
    ]
    at = next(i for i, line in enumerate(lines) if line.startswith(" DRIFT-MEDIAN (reported [1])"))
    assert [line.split()[-1] for line in lines[at : at + 3]] == ["96.02", "(90.37≠)", "(96.02)"]
