"""SIGKILL while a real run asks tasks of lm-eval: what was finished is kept, and the same command goes on.

Once while `bench lm-eval` generates, once while `bench eval` takes the likelihoods of a suite's multiple choice.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")

from bench.road import board_of  # noqa: E402
from tests.bench import lm_eval_tasks as made  # noqa: E402
from tests.bench import suite_data  # noqa: E402
from tests.bench.command import BENCH, bench, environment  # noqa: E402

N = 24
ENOUGH = 4  # responses in the spool when the process is killed


ASKED = {
    "lm-eval:gsm8k_local": ["lm-eval", "--tasks", "gsm8k_local", "--include-path", "tasks"],
    "m_arc_fr": ["eval", "--suite", "m_arc_fr", "--data-dir", "data"],
}


def words(benchmark: str, runs: str) -> list[str]:
    """The command that asks a benchmark."""
    common = ["--model", "zoo:l2s-expert", "--engine", "hf", "--batch-size", "1", "--runs", runs, "--json"]
    return [*ASKED[benchmark], *common]


def finished(spool: Path) -> set[str]:
    """Ids of the responses in the only spool; a line cut off is none."""
    lines = [line for path in spool.glob("*.jsonl") for line in path.read_text().splitlines(keepends=True)]
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return {row["row"]["response_id"] for row in rows if row.get("table") == "responses"}


@pytest.mark.slow
@pytest.mark.parametrize("benchmark", list(ASKED))
def test_killed_while_answering_and_run_again(tmp_path: Path, benchmark: str) -> None:
    made.write_task(tmp_path / "tasks", "gsm8k_local", made.questions(N))
    suite_data.write(tmp_path / "data", "arc_fr", suite_data.m_arc("fr"), N)
    process = subprocess.Popen(
        [*BENCH, *words(benchmark, "runs")], cwd=tmp_path, env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    spool = tmp_path / "runs" / "spool"
    while len(finished(spool)) < ENOUGH:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.001)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    kept = finished(spool)
    assert ENOUGH <= len(kept) < N

    again = json.loads(bench(*words(benchmark, "runs"), cwd=tmp_path, OMP_NUM_THREADS="1").stdout)
    said = " ".join(again["report"])
    assert f"{N - len(kept)} responses generated" in said and f"{len(kept)} reused" in said
    bench(*words(benchmark, "undisturbed"), cwd=tmp_path, OMP_NUM_THREADS="1")
    for rows in ("response_id, text FROM responses", "metric, grader, value FROM current_scores"):
        both = [
            made.stored(tmp_path / runs, f"SELECT {rows} ORDER BY ALL") for runs in ("runs", "undisturbed")
        ]
        assert both[0] == both[1] and both[0]
    assert len(made.stored(tmp_path / "runs", "SELECT 1 FROM responses")) == N
    board = board_of(tmp_path / "runs" / "leaderboard.duckdb", benchmark, split="test", model_set=None)
    assert board.benchmarks == (benchmark,) and board.rows[0].cells[benchmark] is not None
