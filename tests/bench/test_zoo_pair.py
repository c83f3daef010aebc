"""The embedded Long-to-Short pair keeps what it promises, measured on its test split through the real road."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path

import pytest

from bench.config import presets
from bench.merging.merge import quiet
from bench.run import run
from bench.suites import EvalOptions
from bench.zoo.__main__ import MODELS
from bench.zoo.l2s import BASE_NAME, EXPERT_NAME
from results.board import Board, Row
from results.statistics import Estimate
from results.store import Store

pytestmark = pytest.mark.slow
GRID = ("0.1", "0.2", "0.3", "0.4", "0.5", "0.6")
LENGTH = -0.4  # a merge is to be at least this much shorter than the expert


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


def road(
    runs: Path, methods: list[str], suite: str, split: str = "test", settings: list[str] | None = None
) -> Board:
    return run(
        methods, EvalOptions(suite=suite, split=split), models="mini_l2s", base=None, experts=[],
        settings=settings or [], runs=runs, db=runs / "leaderboard.duckdb", say=quiet,
    ).board  # fmt: skip


def row(board: Board, name: str) -> Row:
    (found,) = [row for row in board.rows if row.name == name]
    return found


@pytest.fixture(scope="module")
def board(runs: Path) -> Board:
    return road(runs, ["fim_ties", "task_arithmetic"], "mini_l2s")


@pytest.mark.parametrize(("name", "model"), [("base", BASE_NAME), ("expert:long", EXPERT_NAME)])
def test_the_cards_agree_with_the_leaderboard(board: Board, name: str, model: str) -> None:
    stated = json.loads((MODELS / model / "card.json").read_text(encoding="utf-8"))["test_scores"]
    for benchmark, cell in row(board, name).cells.items():
        greedy, *pools = stated[benchmark]
        assert cell and cell.accuracy and cell.length
        measured = {"accuracy": cell.accuracy, "mean_response_tokens": cell.length}
        assert {key: greedy[key] for key in measured} == {k: rounded(e) for k, e in measured.items()}
        votes = {key: value for pool in pools for key, value in pool.items() if key.startswith("maj@")}
        assert votes == {f"maj@{n}": rounded(estimate) for n, estimate in cell.votes.items()}


def rounded(estimate: Estimate) -> dict[str, float]:
    """As a card writes it."""
    assert estimate.stderr is not None
    return {"value": round(estimate.value, 6), "standard_error": round(estimate.stderr, 6)}


def test_the_expert_is_better_and_longer(board: Board) -> None:
    base, expert = (row(board, name).cells["mini_gsm"] for name in ("base", "expert:long"))
    assert base and expert and base.accuracy and expert.accuracy and base.length and expert.length
    assert base.n >= 500
    assert base.accuracy.value >= 0.40
    assert expert.accuracy.value >= base.accuracy.value + 0.20
    assert expert.length.value >= 4 * base.length.value


def test_voting_on_mini_aime_means_something(board: Board, runs: Path) -> None:
    cell = row(board, "expert:long").cells["mini_aime"]
    assert cell and cell.n >= 60 and set(cell.votes) == {1, 8, 16}
    assert 0.20 <= cell.votes[1].value <= 0.80
    answers: dict[str, set[str | None]] = defaultdict(set)
    query = (
        "SELECT sample_id, vote FROM responses JOIN current_verdicts USING (response_id) "
        "WHERE benchmark = 'mini_aime' AND draw = 'pool' AND checkpoint = ?"
    )
    for found in Store(runs / "leaderboard.duckdb").rows(query, [row(board, "expert:long").checkpoint]):
        answers[found["sample_id"]].add(found["vote"])
    disagreeing = sum(len(found) > 1 for found in answers.values()) / len(answers)
    assert disagreeing >= 0.3, "the expert's samples agree: a vote would change nothing"


def test_task_arithmetic_trades_length_for_little(board: Board) -> None:
    chosen = presets("task_arithmetic")["mini_l2s"]["lambda"]
    merged = row(board, f"task_arithmetic lambda={chosen}")
    expert = row(board, "expert:long")
    for benchmark in ("mini_gsm", "mini_math"):
        cell, long = merged.cells[benchmark], expert.cells[benchmark]
        assert cell and long and cell.against_base and cell.length and long.length
        assert cell.against_base.difference > 0 and cell.against_base.p is not None
        assert cell.against_base.p < 0.01
        assert cell.length.value <= 0.6 * long.length.value


def test_default_fim_ties_answers(board: Board) -> None:
    cell = row(board, "fim_ties").cells["mini_gsm"]
    assert cell and cell.no_answer is not None
    assert cell.no_answer <= 0.10


@pytest.mark.sweep
def test_lambda_was_chosen_on_validation(runs: Path) -> None:
    """Most accurate on validation (mean of mini_gsm and mini_math) among those at least 40 % shorter."""
    candidates = {}
    for scale in GRID:
        boards = [
            road(runs, ["task_arithmetic"], suite, "validation", [f"lambda={scale}"])
            for suite in ("mini_gsm", "mini_math")
        ]
        rows = [row(board, f"task_arithmetic lambda={float(scale)}") for board in boards]
        shorter = sum(found.length_reduction or 0.0 for found in rows) / len(rows)
        if shorter <= LENGTH:
            candidates[float(scale)] = sum(found.accuracy.value for found in rows if found.accuracy) / len(
                rows
            )
    assert (
        max(candidates, key=lambda scale: candidates[scale])
        == presets("task_arithmetic")["mini_l2s"]["lambda"]
    )
