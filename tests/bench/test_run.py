"""A run of many methods: who does not apply and why, what is reused, and a failure that loses nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BadInput, CheckFailed
from bench.merging.merge import quiet
from bench.recipe import method_names
from bench.road import RunReport
from bench.run import run
from bench.suites import EvalOptions


def ran(tmp_path: Path, *methods: str) -> RunReport:
    return run(
        methods, EvalOptions(suite="mini_gsm", limit=2), models="mini_l2s", base=None, experts=[], settings=[],
        runs=tmp_path, db=tmp_path / "leaderboard.duckdb", say=quiet,
    )  # fmt: skip


def test_all_runs_what_applies_and_gives_a_reason_for_the_rest(tmp_path: Path) -> None:
    report = ran(tmp_path, "all")
    shown = {row.method for row in report.board.rows} - {None}
    assert shown | set(report.refused) == set(method_names()) and not shown & set(report.refused)
    assert not report.failed and {"task_arithmetic", "ties", "fim_ties", "average"} <= shown
    assert all("\n" not in why and 10 < len(why) < 160 for why in report.refused.values())
    assert "2" in report.refused["pcb"] and "expert" in report.refused["pcb"]
    merges = [row for row in report.board.rows if row.kind == "merged"]
    assert all(row.merge_seconds is not None and row.statistics_seconds is not None for row in merges)
    fisher = {row.method: row.statistics_seconds for row in merges}
    assert fisher["ties"] == 0 and fisher["fim_ties"] == fisher["fim_ta"] > 0  # type: ignore[operator]
    [first, second] = [line for line in report.summary if line.startswith("fim_") and "merged in" in line]
    assert "reused" not in first and "(Fisher on random tokens reused)" in second


def broken(*_: Any, **__: Any) -> None:
    raise ZeroDivisionError("planted")


def test_one_failure_does_not_lose_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("methods.average.METHOD.merge_piece", broken)
    words = ["run", "--method", "average,fim_ties", "--suite", "mini_gsm", "--limit", "2", "--json"]
    result = CliRunner().invoke(app, [*words, "--runs", str(tmp_path)])
    assert isinstance(result.exception, CheckFailed) and "average" in str(result.exception)
    said = json.loads(result.stdout)
    assert said["failed"] == {"average": "ZeroDivisionError: planted"} and said["not_applicable"] == {}
    merges = [row for row in said["board"]["rows"] if row["kind"] == "merged"]
    assert [(row["method"], bool(row["reconstructed"])) for row in merges] == [("fim_ties", True)]
    assert "average  FAILED: ZeroDivisionError: planted" in result.stderr
    assert "Traceback" in result.stderr, "whoever mends it needs the place"
    with pytest.raises(ZeroDivisionError):
        ran(tmp_path, "average")


def test_a_method_asked_for_by_name_is_refused_and_not_left_out(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="pcb takes"):
        ran(tmp_path, "ties", "pcb")
    assert not list(tmp_path.glob("merges/*"))
