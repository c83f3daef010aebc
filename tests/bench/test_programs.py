"""Programs of models run only where that was asked for: else their benchmark is left out, and has no score."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import bench.suites
from bench.as_is import evaluate_models
from bench.doctor import report
from bench.engines import hf
from bench.errors import BadInput
from bench.merging.merge import quiet
from bench.programs import allowed, check_programs, decided
from bench.road import RunReport
from bench.suites import EvalOptions, chosen_suite
from results.store import Store
from tasks.catalogue import resolve
from tasks.coding.benchmarks import HUMANEVAL
from tasks.contract import Suite
from tasks.mini_l2s.suite import SUITE as MINI_L2S
from tasks.sandbox import available

OPTIONS = EvalOptions(suite="programs", engine="hf", limit=2, max_new_tokens=12)
MODEL = "zoo:l2s-base"
REASON = available()
sandboxed = pytest.mark.skipif(REASON is not None, reason=f"no sandbox: {REASON}")
Ask = Callable[..., RunReport]


@pytest.fixture
def ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """`bench eval` of a suite of one benchmark that runs programs and one that does not."""
    folder = tmp_path / "data" / "humaneval"
    folder.mkdir(parents=True)
    row = {
        "task_id": "HumanEval/0", "prompt": "def one():\n    return 1\n", "canonical_solution": "    return 1\n",
        "entry_point": "one", "test": "def check(candidate):\n    assert candidate() == 1\n",
    }  # fmt: skip
    # Passes whatever is written behind it, if that is Python; the second never does.
    rows = [
        row | {"prompt": row["prompt"] + "# "},
        row | {"test": "def check(c): assert c() == 2\n", "prompt": "# "},
    ]
    (folder / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    suite = Suite("programs", "Programs and sums", (HUMANEVAL, MINI_L2S.benchmarks[0]))
    monkeypatch.setattr(bench.suites, "resolve", lambda _: suite)

    def asked(options: EvalOptions = OPTIONS, *, rescore: bool = False) -> RunReport:
        # The suite's other benchmark is generated: a folder of data is for the programs alone.
        monkeypatch.setattr("tasks.coding.problems.read_rows", _reading(tmp_path / "data"))
        runs = tmp_path / "runs"
        return evaluate_models(
            [MODEL],
            options,
            models=None,
            rescore=rescore,
            runs=runs,
            db=runs / "leaderboard.duckdb",
            say=quiet,
        )

    return asked


def _reading(data: Path) -> Callable[..., object]:
    from tasks.sources import read_rows

    def read(name: str, split: str, *, data_dir: Path | None, **known: object) -> object:
        return read_rows(name, split, data_dir=data, **known)  # type: ignore[arg-type]

    return read


def scores(tmp_path: Path) -> dict[str, float]:
    sql = "SELECT * FROM current_scores WHERE metric = 'accuracy'"
    rows = Store(tmp_path / "runs" / "leaderboard.duckdb").rows(sql)
    return {row["benchmark"]: row["value"] for row in rows}


def test_programs_are_left_out_where_nobody_asked_for_them(ask: Ask, tmp_path: Path) -> None:
    done = ask()
    assert set(scores(tmp_path)) == {"mini_gsm"}, "a missing score is missing, not 0"
    (note,) = [line for line in done.summary if "humaneval" in line]
    assert "left out" in note and "--run-code" in note


@sandboxed
def test_programs_run_where_somebody_did(ask: Ask, tmp_path: Path) -> None:
    done = ask(replace(OPTIONS, run_code=True))
    assert scores(tmp_path)["humaneval"] == 0.5
    assert not [line for line in done.summary if "left out" in line]
    verdicts = Store(tmp_path / "runs" / "leaderboard.duckdb").rows(
        "SELECT * FROM verdicts WHERE grader = 'executed'"
    )
    assert sorted(row["extracted"] for row in verdicts) == ["failed", "passed"]
    # Graded again: programs run again, so that this too has to be asked for.
    done = ask(rescore=True)
    assert [line for line in done.summary if "left out" in line]
    ask(replace(OPTIONS, run_code=True), rescore=True)
    assert scores(tmp_path)["humaneval"] == 0.5


@pytest.mark.parametrize("rescore", [False, True])
def test_without_a_sandbox_nothing_begins(
    ask: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rescore: bool
) -> None:
    monkeypatch.setattr("tasks.sandbox.available", lambda: "this machine cannot isolate programs")

    def load(*arguments: object, **options: object) -> None:
        raise AssertionError("an engine was loaded")

    monkeypatch.setattr(hf, "load", load)
    with pytest.raises(BadInput, match="cannot isolate programs; or leave them out with --no-run-code"):
        ask(replace(OPTIONS, run_code=True), rescore=rescore)
    assert not (tmp_path / "runs").exists()


def test_programs_alone_are_refused() -> None:
    options = EvalOptions(suite="humaneval")
    with pytest.raises(BadInput, match="humaneval: left out.*--run-code"):
        check_programs(chosen_suite(options), options)


ZOO = ["zoo:mergebench-base", "zoo:mergebench-coding"]


@pytest.mark.parametrize(
    ("name", "said", "models", "run"),
    [
        ("mini_mergebench", None, ZOO, True),
        ("mini_mergebench", False, ZOO, False),
        ("mini_calc", None, ZOO, True),
        ("mini_mergebench", None, [*ZOO, "someone/else"], False),
        ("mini_mergebench", None, [], False),  # everything stored, whoever wrote it
        ("mini_mergebench", True, ["someone/else"], True),
        ("mergebench", None, ZOO, False),
        ("mergebench", True, ["someone/else"], True),
        ("llama2", None, ZOO, False),
    ],
)
def test_a_suite_may_say_that_programs_of_embedded_models_run(
    name: str, said: bool | None, models: list[str], run: bool
) -> None:
    """The twin of MergeBench does, and --no-run-code takes it back; nobody else's programs run unasked."""
    suite = resolve(name)
    found = allowed(suite, decided(suite, EvalOptions(suite=name, run_code=said), models)).benchmarks
    assert any(benchmark.executes for benchmark in found) == run


def test_the_doctor_says_whether_programs_can_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (check,) = [check for check in report(runs=tmp_path) if check.name == "sandbox"]
    assert check.ok == (REASON is None) and not check.required
    monkeypatch.setattr("tasks.sandbox.pool.BACKENDS", {})
    (check,) = [check for check in report(runs=tmp_path) if check.name == "sandbox"]
    assert not check.ok and "bubblewrap" in check.advice
