"""SIGKILL at random moments of a real `bench eval`: what had finished is stored, and is never generated again."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.engines.vllm import installed
from results.store import Store
from tests.bench.command import BENCH, bench_json, environment

QUESTIONS, SAMPLES = 12, 16
TOTAL = QUESTIONS * (1 + SAMPLES)  # once greedily, and a pool
DURABLE_WITHIN = 5.0  # seconds
VLLM = (pytest.mark.vllm, pytest.mark.skipif(installed() is None, reason="vLLM is not installed: make vllm"))


def in_spools(folder: Path) -> dict[str, Any]:
    """The responses of all spools, by id; the line that was being written is not one."""
    rows = {}
    for spool in (folder / "spool").glob("*.jsonl"):
        for line in spool.read_bytes().split(b"\n")[1:-1]:
            found = json.loads(line)
            if found["table"] == "responses":
                rows[found["row"]["response_id"]] = found["row"]
    return rows


@pytest.mark.parametrize(
    ("engine", "kills"), [pytest.param("hf", 3), pytest.param("vllm", 2, marks=VLLM)], ids=("hf", "vllm")
)
def test_killed_at_random_moments_of_generating_nothing_finished_is_lost(
    tmp_path: Path, engine: str, kills: int
) -> None:
    words = ("eval", "--engine", engine, "--model", "zoo:l2s-expert", "--suite", "mini_aime", "--limit",
             str(QUESTIONS), "--samples", str(SAMPLES), "--batch-size", "8", "--runs", "runs")  # fmt: skip
    runs, moments = tmp_path / "runs", random.Random()
    saved: dict[str, Any] = {}
    for _ in range(kills):
        process = subprocess.Popen(
            [*BENCH, *words],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        while process.poll() is None and not in_spools(runs).keys() - saved.keys():
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.8))
        process.send_signal(signal.SIGKILL)
        killed, said = datetime.now(UTC), process.communicate(timeout=60)[0]
        assert process.returncode == -signal.SIGKILL, f"it ended before it could be killed: {said!r}"
        rows = in_spools(runs)
        assert rows and not rows.keys() & saved.keys(), "what is stored is not generated again"
        newest = max(datetime.fromisoformat(row["created_at"]).replace(tzinfo=UTC) for row in rows.values())
        assert (killed - newest).total_seconds() < DURABLE_WITHIN, "finished responses wait somewhere"
        saved |= rows
    report = bench_json(*words, cwd=tmp_path)["report"]
    stored = {
        row["response_id"]: row for row in Store(runs / "leaderboard.duckdb").rows("SELECT * FROM responses")
    }
    assert len(stored) == TOTAL
    assert {id: stored[id]["text"] for id in saved} == {id: row["text"] for id, row in saved.items()}
    left = f"{TOTAL - len(saved)} responses generated"
    assert any(left in line and f"{len(saved)} reused" in line for line in report), report
