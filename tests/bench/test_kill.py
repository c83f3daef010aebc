"""SIGKILL at any moment of a real `bench merge`, and the same merge asked for twice at once."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch

from bench.merging.writer import draft_folder
from tests.bench.command import BENCH, environment
from tests.helpers.checkpoints import checkpoints_under, qwen2_tensors, write_checkpoint

SIZES = {"vocab_size": 4000, "hidden_size": 256, "intermediate_size": 768, "num_hidden_layers": 8}
KILLS = 10


def _models(folder: Path) -> list[Path]:
    """Eight blocks in bfloat16: long enough to be killed while it is read, merged and written."""
    paths = []
    for seed, name in enumerate(("base", "one", "two")):
        tensors = {key: values.to(torch.bfloat16) for key, values in qwen2_tensors(seed, **SIZES).items()}
        paths.append(write_checkpoint(folder / name, tensors, dtype="bfloat16", **SIZES))
    return paths


def _start(folder: Path, out: str) -> subprocess.Popen[str]:
    words = ("merge", "--method", "dare_ties", "--set", "scope=model", "--base", "base", "--expert", "one",
             "--expert", "two", "--out", out)  # fmt: skip
    return subprocess.Popen(
        [*BENCH, *words],
        cwd=folder,
        env=environment(),
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def _finished(process: subprocess.Popen[str]) -> str:
    said = process.communicate(timeout=300)[0]
    assert process.returncode == 0, said
    return said


def _weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def _wait_for_draft(folder: Path, out: str, process: subprocess.Popen[str]) -> None:
    while not draft_folder(folder / out).exists() and process.poll() is None:
        time.sleep(0.001)


@pytest.mark.slow
def test_killed_at_ten_random_moments_and_run_again(tmp_path: Path) -> None:
    """Whatever the moment: no half checkpoint, and the next run gives the bytes of one that nobody disturbed."""
    models = sorted(_models(tmp_path))
    process = _start(tmp_path, "whole")
    _wait_for_draft(tmp_path, "whole", process)
    began = time.perf_counter()
    while not (tmp_path / "whole").exists() and process.poll() is None:
        time.sleep(0.001)
    lasts = time.perf_counter() - began
    _finished(process)
    expected = _weights(tmp_path / "whole")
    rng, struck = random.Random(20261122), 0
    for _ in range(KILLS):
        process = _start(tmp_path, "out")
        _wait_for_draft(tmp_path, "out", process)
        time.sleep(rng.uniform(0, lasts))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        struck += process.returncode == -signal.SIGKILL and not (tmp_path / "out").exists()
        complete = [tmp_path / "out"] if (tmp_path / "out").exists() else []
        assert checkpoints_under(tmp_path) == sorted([*models, *complete, tmp_path / "whole"])
        for folder in complete:  # the kill came after the last rename
            assert _weights(folder) == expected
            folder.rename(tmp_path / f"late{time.monotonic_ns()}")
            models.extend(path for path in tmp_path.glob("late*") if path not in models)
    assert struck >= 3, "too few kills came in the middle"
    assert "Wrote" in _finished(_start(tmp_path, "out"))
    assert _weights(tmp_path / "out") == expected
    assert not list(tmp_path.glob(".*partial"))


def test_two_commands_for_the_same_merge_do_it_once(tmp_path: Path) -> None:
    _models(tmp_path)
    both = [_start(tmp_path, "out") for _ in range(2)]
    said = sorted(_finished(process).split()[0] for process in both)
    assert said == ["Already", "Wrote"]
    assert checkpoints_under(tmp_path) == [tmp_path / name for name in ("base", "one", "out", "two")]


def test_a_lock_of_a_killed_process_does_not_hold_the_next(tmp_path: Path) -> None:
    """The operating system lets go of a lock with its process; the file that stays means nothing."""
    _models(tmp_path)
    process = _start(tmp_path, "out")
    _wait_for_draft(tmp_path, "out", process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=60)
    assert list((tmp_path / "runs" / "locks").iterdir())
    assert "Wrote" in _finished(_start(tmp_path, "out"))
