"""`make` passes on what it is asked and how it ended, and installs only when something changed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = {"setup", "bench", "regress", "test", "leaderboard", "zoo", "lint", "clean", "help"}

ECHO = """#!/bin/sh
echo "$0 $@" >> "$(dirname "$0")/../../calls"
case "$*" in *no_such_method*) exit 2;; *broken*) exit 1;; esac
"""


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone whose virtual environment only writes down how it was called."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("bench", "python", "streamlit"):
        (programs / name).write_text(ECHO)
        (programs / name).chmod(0o755)
    for stamp in (".installed-core", ".installed-test"):
        (tmp_path / ".venv" / stamp).touch()
    return tmp_path


def make(clone: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run make in `clone` as a person would: without the variables of the make that runs the tests."""
    hidden = {
        "MAKEFLAGS",
        "MAKELEVEL",
        "MFLAGS",
        "METHOD",
        "SUITE",
        "MODELS",
        "LIMIT",
        "ENGINE",
        "DB",
        "ARGS",
        "PORT",
    }
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    return subprocess.run(
        ["make", *words], cwd=clone, env=environment, capture_output=True, text=True, check=False
    )


def calls(clone: Path) -> list[str]:
    path = clone / "calls"
    return path.read_text().splitlines() if path.exists() else []


def test_help_is_the_default_and_names_every_target(clone: Path) -> None:
    done = make(clone)
    assert {line.split()[1] for line in done.stdout.splitlines() if line.startswith("  make ")} >= TARGETS


def test_bench_passes_on_what_it_is_asked(clone: Path) -> None:
    make(
        clone,
        "bench",
        "METHOD=ties,fim_ties",
        "SUITE=gsm8k",
        "MODELS=mini_l2s",
        "LIMIT=5",
        "DB=a b.duckdb",
        "ARGS=--json",
    )
    (call,) = calls(clone)
    words = "run --method ties,fim_ties --suite gsm8k --models mini_l2s --limit 5 --db a b.duckdb --json"
    assert call.endswith(f"/bench {words}")


def test_bench_alone_runs_the_default(clone: Path) -> None:
    assert make(clone, "bench").returncode == 0
    assert calls(clone)[0].endswith("/bench run --method fim_ties --suite mini_l2s")


@pytest.mark.parametrize(("words", "asked"), [((), "all"), (("METHOD=ties,dare",), "ties,dare")])
def test_regress_takes_all_methods_unless_told(clone: Path, words: tuple[str, ...], asked: str) -> None:
    assert make(clone, "regress", *words, "ARGS=--accept 'a reason'").returncode == 0
    (call,) = calls(clone)
    assert call.endswith(f"/bench regress --method {asked} --accept a reason")


@pytest.mark.parametrize("method", ["no_such_method", "broken"])
def test_a_failed_bench_fails_make(clone: Path, method: str) -> None:
    assert make(clone, "bench", f"METHOD={method}").returncode != 0


def test_a_changed_pin_installs_again(clone: Path) -> None:
    newer = (clone / ".venv" / ".installed-core").stat().st_mtime + 10
    os.utime(clone / "constraints.txt", (newer, newer))
    make(clone, "setup")
    installs = [call for call in calls(clone) if "-m pip install" in call]
    assert len(installs) == 1 and "-c constraints.txt -e ." in installs[0]


def test_a_failed_installation_leaves_no_stamp(clone: Path) -> None:
    (clone / ".venv" / ".installed-core").unlink()
    (clone / ".venv" / "bin" / "python").write_text('#!/bin/sh\ncase "$*" in *install*) exit 1;; esac\n')
    done = make(clone, "setup")
    assert done.returncode != 0 and "installation failed" in done.stdout
    assert not (clone / ".venv" / ".installed-core").exists()


def test_clean_keeps_the_runs(clone: Path) -> None:
    (clone / "runs").mkdir()
    (clone / "runs" / "leaderboard.duckdb").touch()
    assert make(clone, "clean").returncode == 0
    assert (clone / "runs" / "leaderboard.duckdb").exists() and not (clone / ".venv").exists()
    assert "removed" in make(clone, "clean-runs").stdout
    assert not (clone / "runs").exists()
