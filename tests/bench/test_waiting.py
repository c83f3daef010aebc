"""How threads wait: what a real busy process beside us changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import waiting

pytestmark = pytest.mark.skipif(not waiting.STATISTICS.is_file(), reason="no /proc/stat on this system")


def test_a_busy_neighbour_is_seen_and_threads_sleep() -> None:
    spin = "print(1, flush=True)\nwhile True: pass"
    neighbours = [
        subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE)
        for _ in range(os.cpu_count() or 1)
    ]
    try:
        for process in neighbours:
            assert process.stdout is not None and process.stdout.readline()
        environment: dict[str, str] = {}
        waiting.set_waiting(environment)
    finally:
        for process in neighbours:
            process.kill()
            process.communicate()
    assert environment == {"OMP_WAIT_POLICY": "PASSIVE"}


def test_a_quiet_machine_lets_threads_spin_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "others_running", lambda: 0.1)  # the machine of a test is seldom quiet
    environment: dict[str, str] = {}
    waiting.set_waiting(environment)
    assert environment == {"GOMP_SPINCOUNT": waiting.SPINS}


@pytest.mark.parametrize("there", [None, "cpu  1 2 3\n"])
def test_a_system_that_does_not_say_who_runs_keeps_openmps_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str | None
) -> None:
    if there is not None:
        (tmp_path / "stat").write_text(there)
    monkeypatch.setattr(waiting, "STATISTICS", tmp_path / "stat")
    environment: dict[str, str] = {}
    waiting.set_waiting(environment)
    assert environment == {}


@pytest.mark.parametrize("name", ["OMP_WAIT_POLICY", "GOMP_SPINCOUNT"])
def test_what_the_caller_has_set_is_kept(name: str) -> None:
    environment = {name: "as it was"}
    waiting.set_waiting(environment)
    assert environment == {name: "as it was"}
