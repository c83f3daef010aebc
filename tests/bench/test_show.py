"""What a person reads in a terminal: six benchmarks fit, graders and flips are named, votes have both rules."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from bench.show import WIDTH
from bench.show_board import board_tables, grader_lines
from bench.show_columns import folded
from results.board import Board
from results.leaderboard import leaderboard
from results.store import Store
from tests.results.factory import answers, checkpoint, response, scores, verdict, write
from tests.results.wide import ASKED, COLUMNS, wide

SIX = ("gsm8k", "math500", "minerva_ocw", "olympiadbench", "college_math", "aime24")


@pytest.fixture
def board(tmp_path: Path) -> Board:
    """Two models on six benchmarks under two graders; the last one with a pool that votes."""
    store = Store(tmp_path / "leaderboard.duckdb")
    rows: list = []
    for name, kind, length in (("base", "base", 300), ("expert", "expert", 4000)):
        rows.append(("checkpoints", checkpoint(name, kind)))
        for benchmark in SIX:
            good = [q % 3 == 0 for q in range(12)]
            responses, verdicts = answers(name, benchmark, good, [length] * 12)
            other = [row | {"grader": "strict", "correct": q == 0} for q, row in enumerate(verdicts)]
            first = scores((responses, verdicts), expected_n=2818, others={"strict": other})
            second = scores((responses, other), expected_n=2818, others={"boxed": verdicts}, first=False)
            rows += [("responses", row) for row in responses] + [("verdicts", row) for row in verdicts]
            rows += [("scores", row) for row in first + second]
        pool = [
            response(name, "aime24", q, k, draw="pool", n_tokens_text=length)
            for q in range(12)
            for k in range(4)
        ]
        judged = [verdict(row, row["sample_id"].endswith("1")) for row in pool]
        rows += [("scores", row) for row in scores((pool, judged), expected_n=2818, votes=(1, 4))]
    write(store, rows)
    return leaderboard(store, "mini", benchmarks=SIX)


def printed(board: Board, *, parts: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, highlight=False)
    for table in board_tables(board, parts=parts):
        console.print(table)
    return out.getvalue()


def test_six_benchmarks_fit_with_names_and_errors(board: Board) -> None:
    words = printed(board)
    assert "…" not in words and max(map(len, words.splitlines())) <= WIDTH
    head = words[: words.index("─")]
    for part in (
        "gsm8k",
        "math500",
        "minerva_",
        "olympiad",
        "college_",
        "aime24",
        "average",
        "length",
        "vs exp.",
    ):
        assert part in head
    assert "33.3" in words and "±14.2" in words  # 4 of 12: the root of p (1 - p) / 11
    assert "4000.0" in words and "−92 %" in words  # 300 / 4000 - 1, on each


def test_which_grader_and_how_many_flip(board: Board) -> None:
    shown, flips = grader_lines(board)
    assert shown.startswith("Graded by boxed@1 (gsm8k, math500") and "boxed, strict" in shown
    assert flips.startswith("Verdicts that flip under strict: gsm8k 6 of 24 (25.0 %)")  # 3 of 12, two models


def test_both_rules_and_what_they_cost(board: Board) -> None:
    words = printed(board)
    votes = words[words.index("self-consistency on aime24") :]
    assert "n = 4" in votes and "1200.0 tokens" in votes and "16000.0 tokens" in votes
    assert (
        votes.count("16.7 ±11.2") == 6
    )  # questions 1 and 11; one sample, and four under two rules, two models


def test_names_are_folded_at_their_parts() -> None:
    assert folded("minerva_ocw") == "minerva_\nocw" and folded("olympiadbench") == "olympiad\nbench"
    assert folded("gsm8k") == "gsm8k"


def test_a_wide_suite_stays_readable_and_ends_with_what_is_retained(tmp_path: Path) -> None:
    store = Store(tmp_path / "leaderboard.duckdb")
    write(store, wide())
    board = leaderboard(store, "mergebench")
    words = printed(board)
    assert "…" not in words and max(map(len, words.splitlines())) <= WIDTH
    heads = [line for line in words.splitlines() if line.startswith("mergebench")]
    assert [head.split(" · ")[1] for head in heads] == [
        "maths, multilingual",
        "instruction, coding",
        "safety",
    ]
    rates = words[words.index("PRR · performance retained of the experts · pair") :]
    head, _, body = rates.partition("─")
    assert [part for part in (*ASKED, "mean", "without", "worst") if part not in head] == []
    said = " ".join(body.split())
    best = next(row for row in board.rows if row.rank == 1)
    assert best.retain is not None and best.retain.mean is not None and best.retain.worst is not None
    assert f"1. {best.name} " in said and f" {best.retain.mean.value:.1f} " in said
    for name in ASKED:
        assert f"expert:{name} ({name})" in said
    assert "• Missing: m_arc: no score (task_arithmetic lambda=0.4)." in said
    assert "• Above 110 %, which says more of a weak denominator than of the model: xstest (" in said
    assert "• xstest: its denominator, " in said and "below the best constant answer, 60.0" in said
    assert "incomplete: no m_arc_ru" in words and "xstest · groups of samples" in words
    assert "m_arc_ru" not in words.replace("no m_arc_ru", "") and "gsm8k_cot" not in words
    parts = printed(board, parts=True)
    assert "m_hellaswag_ru" in parts and "m_arc is the mean of its parts" in parts
    taken = {line.split()[-1] for line in parts.splitlines() if line.rstrip().endswith(("_cot", "_direct"))}
    assert taken == {"gsm8k_cot", "gsm8k_direct"} and max(map(len, parts.splitlines())) <= WIDTH
    assert len(board.benchmarks) == len(COLUMNS) == 13
