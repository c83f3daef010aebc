"""The benchmark itself, on shapes so small that only its own bookkeeping is tested; mergekit is not needed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from perf.cases import CASES, chosen
from perf.checkpoints import QUICK_SMALL, RECORD, TUNING_SCALE, models_of
from perf.measure import RunFailed, Usage, measured
from perf.report import Row, checks

ROOT = Path(__file__).parents[2]


def test_checkpoints_are_models_and_are_built_once(tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    base, expert, _ = models_of(QUICK_SMALL, 2, tmp_path)
    model = AutoModelForCausalLM.from_pretrained(expert)
    assert sum(p.numel() for p in model.parameters()) == QUICK_SMALL.parameters
    assert model.dtype == torch.bfloat16
    moved = (
        load_file(expert / "model.safetensors")["model.embed_tokens.weight"].float()
        - load_file(base / "model.safetensors")["model.embed_tokens.weight"].float()
    )
    assert float(moved.std()) == pytest.approx(TUNING_SCALE, rel=0.1)
    before = (base / "model.safetensors").stat().st_mtime_ns
    (expert / RECORD).unlink()  # as if killed while it was built
    models_of(QUICK_SMALL, 2, tmp_path)
    assert (base / "model.safetensors").stat().st_mtime_ns == before
    assert (expert / RECORD).is_file()


def test_memory_of_a_whole_process_tree_is_seen(tmp_path: Path) -> None:
    holds = "import time; sum(range(10**7)); x = bytearray(b'x') * (100 << 20); time.sleep(0.5)"
    both = (
        f"import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', {holds!r}]); {holds}; p.wait()"
    )
    alone = measured([sys.executable, "-c", holds], tmp_path / "log")
    pair = measured([sys.executable, "-c", both], tmp_path / "log")
    assert 100 << 20 <= alone.anonymous < 130 << 20
    assert 200 << 20 <= pair.anonymous < 260 << 20
    assert 0.5 <= alone.seconds < 30
    assert alone.resident >= alone.anonymous
    assert 0.05 < alone.processor < pair.processor


def test_a_run_that_fails_is_reported_with_its_last_words(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="code 3:\nno luck"):
        measured([sys.executable, "-c", "print('no luck'); raise SystemExit(3)"], tmp_path / "log")


def test_requirements_are_met_or_not() -> None:
    cases = {case.name: case for case in CASES}
    ties = Row(cases["ties"], "x", 100, Usage(10, 10**9, 10**9), Usage(119, 0, 0), merging=8)
    model = Row(cases["ties_model"], "x", 100, Usage(15.1, 2 * 10**9, 0), merging=8)
    three = Row(cases["ties_three"], "x", 100, Usage(5, 13 * 10**8, 0), merging=4)
    small = Row(cases["ties_small"], "x", 100, Usage(5, 12 * 10**8, 0), merging=4)
    drift = Row(cases["drift_median"], "x", 300, Usage(30, 0, 0), merging=24)
    rows = {row.case.name: row for row in (ties, model, three, small, drift)}
    found = {(name, c.what.split()[0]): c for name, row in rows.items() for c in checks(row, rows)}
    assert (found["ties", "times"].measured, found["ties", "times"].met) == ("11.9", False)
    assert found["ties", "anonymous"].met
    assert not found["ties_model", "anonymous"].met
    likes = {name: c for name, row in rows.items() for c in checks(row, rows) if "peak, over" in c.what}
    assert [(c.measured, c.met) for c in likes.values()] == [("1.30", False), ("0.92", True)]
    assert (found["ties_model", "seconds,"].measured, found["ties_model", "seconds,"].met) == ("1.51", False)
    assert (found["drift_median", "seconds"].measured, found["drift_median", "seconds"].met) == ("2.00", True)
    assert checks(replace(ties, peer=None), rows)[0].what == "anonymous peak"


def test_a_case_brings_what_it_is_compared_with() -> None:
    assert [case.name for case in chosen("ties_model")] == ["ties", "ties_model"]
    assert [case.name for case in chosen("drift_median")] == ["ties_small", "drift_median"]
    with pytest.raises(SystemExit, match="no such merge; known: task_arithmetic"):
        chosen("tie")


@pytest.mark.slow
def test_planted_statistics_are_used_and_figures_written(tmp_path: Path) -> None:
    """Nothing computes a Fisher here: without tokenizers it would fail."""
    command = [
        sys.executable,
        "-m",
        "perf",
        "--quick",
        "--no-peer",
        "--only",
        "drift_median",
        "--data",
        tmp_path,
    ]
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads((tmp_path / "results.json").read_text())["rows"]
    assert set(rows) == {"ties_small", "drift_median"}
    read = 6 * QUICK_SMALL.nbytes + 5 * 2 * QUICK_SMALL.nbytes  # bf16 models, float32 Fishers
    assert read <= rows["drift_median"]["nbytes"] <= read + 5 * 10_000
    assert rows["drift_median"]["ours"]["anonymous"] > 50e6
    assert not (tmp_path / "work").exists()
