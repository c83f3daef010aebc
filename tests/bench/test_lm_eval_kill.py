"""SIGKILL while a real `bench lm-eval` generates: what was finished is kept, and the same command goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")

from tests.bench import lm_eval_tasks as made  # noqa: E402
from tests.bench.command import BENCH, bench, environment  # noqa: E402

N = 24
ENOUGH = 4  # responses in the spool when the process is killed


def words(runs: str) -> list[str]:
    return [
        "lm-eval", "--model", "zoo:l2s-expert", "--tasks", "gsm8k_local", "--include-path", "tasks",
        "--engine", "hf", "--batch-size", "1", "--runs", runs, "--json",
    ]  # fmt: skip


def finished(spool: Path) -> set[str]:
    """Ids of the responses in the only spool; a line cut off is none."""
    lines = [line for path in spool.glob("*.jsonl") for line in path.read_text().splitlines(keepends=True)]
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    return {row["row"]["response_id"] for row in rows if row.get("table") == "responses"}


@pytest.mark.slow
def test_killed_while_generating_and_run_again(tmp_path: Path) -> None:
    made.write_task(tmp_path / "tasks", "gsm8k_local", made.questions(N))
    process = subprocess.Popen(
        [*BENCH, *words("runs")], cwd=tmp_path, env=environment(OMP_NUM_THREADS="1"),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    spool = tmp_path / "runs" / "spool"
    while len(finished(spool)) < ENOUGH:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=60)
    kept = finished(spool)
    assert ENOUGH <= len(kept) < N

    again = json.loads(bench(*words("runs"), cwd=tmp_path, OMP_NUM_THREADS="1").stdout)
    assert f"{N - len(kept)} responses generated" in again["report"][0]
    assert f"{len(kept)} reused" in again["report"][0]
    whole = json.loads(bench(*words("undisturbed"), cwd=tmp_path, OMP_NUM_THREADS="1").stdout)
    assert again["measured"] == whole["measured"]
    rows = [
        made.stored(tmp_path / runs, "SELECT response_id, text FROM responses ORDER BY 1")
        for runs in ("runs", "undisturbed")
    ]
    assert rows[0] == rows[1] and len(rows[0]) == N
    shown = bench("table", "lm_eval", "--runs", "runs", cwd=tmp_path).stdout
    assert "lm-eval:gsm8k_local" in shown
