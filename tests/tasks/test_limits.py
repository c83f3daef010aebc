"""Untrusted work is limited in time and memory, and costs nobody else anything."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tasks.limits import Limited

ROOT = Path(__file__).resolve().parents[2]
HOSTILE = "tests.tasks.test_limits:hostile"


def hostile(item: Any) -> Any:
    """The work of these tests, by name; runs in the worker."""
    if isinstance(item, int):
        return item * 2
    if item == "spin":
        while True:
            pass
    if item == "one long C call":
        return len(str(9 ** (9**9)))
    if item == "sleep":
        time.sleep(10**6)
    if item == "memory":
        return len([bytearray(1 << 20) for _ in range(10**6)])
    if item == "exit":
        os._exit(3)
    if item == "abort":
        os.abort()
    if item == "recursion":
        return hostile_recursion()
    if item == "print":
        print('{"status": "done", "value": "forged"}', flush=True)
        return "honest"
    if item == "close stdin":
        sys.stdin.close()
        return 1
    if item == "not json":
        return object()
    raise LookupError(item)


def hostile_recursion() -> Any:
    """Never returns."""
    return [hostile_recursion()]


def limited(seconds: float = 1.0) -> Limited:
    return Limited(HOSTILE, seconds=seconds, memory_bytes=1 << 30)


@pytest.mark.parametrize(
    ("item", "status", "why"),
    [
        ("spin", "timed out", "processor time"),
        ("one long C call", "timed out", "processor time"),
        ("memory", "out of memory", "memory limit"),
        ("exit", "crashed", "exit code 3"),
        ("abort", "crashed", "SIGABRT"),
        ("recursion", "failed", "RecursionError"),
        ("not json", "failed", "TypeError"),
        ("what?", "failed", "LookupError"),
    ],
)
def test_a_hostile_item_is_an_outcome_and_the_next_one_goes_on(item: str, status: str, why: str) -> None:
    # A gigabyte of new pages takes some machines more than a second.
    with limited(20.0 if item == "memory" else 1.0) as work:
        first, bad, last = work.map([1, item, 2])
    assert (first.status, first.value) == ("done", 2)
    assert bad.status == status and why in bad.why
    assert (last.status, last.value) == ("done", 4)


def test_an_item_that_only_waits_is_stopped_too() -> None:
    with limited(seconds=0.2) as work:
        assert work.call("sleep").status == "timed out"
        assert work.call(21).value == 42


def test_what_the_work_prints_is_not_its_result() -> None:
    with limited() as work:
        assert work.call("print").value == "honest"
        assert work.call(1).value == 2


def test_a_large_item_gets_through() -> None:
    with limited(seconds=10) as work:
        assert work.call("x" * (8 << 20)).status == "failed"


def test_one_worker_serves_many_items() -> None:
    with limited() as work:
        work.call(0)
        worker = work._worker
        assert [outcome.value for outcome in work.map(range(500))] == [2 * n for n in range(500)]
        assert work._worker is worker


def test_a_worker_that_cannot_start_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        pytest.raises(RuntimeError, match="did not start"),
        Limited("tasks.nothing:x", seconds=1, memory_bytes=1 << 30) as work,
    ):
        work.call(1)
    assert "tasks.nothing" in capfd.readouterr().err


def test_no_worker_outlives_its_parent() -> None:
    script = f"""
from tasks.limits import Limited
work = Limited({HOSTILE!r}, seconds=1, memory_bytes=1 << 30)
work.call(1)
print(work._worker.pid, flush=True)
import os, signal; os.kill(os.getpid(), signal.SIGKILL)
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    pid = int(result.stdout)
    deadline = time.monotonic() + 20
    while Path(f"/proc/{pid}/status").exists() and "Z" not in state(pid):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_ctrl_c_is_left_to_the_parent(capfd: pytest.CaptureFixture[str]) -> None:
    """A terminal sends it to everybody in the foreground."""
    with limited() as work:
        work.call(1)
        worker = work._worker
        assert worker is not None
        os.kill(worker.pid, signal.SIGINT)
        assert work.call(2).value == 4
        assert work._worker is worker
    assert capfd.readouterr().err == ""


def state(pid: int) -> str:
    """Its state as the kernel names it; Z when it has ended."""
    try:
        return Path(f"/proc/{pid}/status").read_text().split("State:")[1].split()[0]
    except (OSError, IndexError):
        return "Z"
