"""Run the command line as a user does: a process of its own, with its exit code and both streams."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BENCH = [sys.executable, "-c", "from bench.cli import main; main()"]


def environment(**more: str) -> dict[str, str]:
    """This process's environment without settings of its user, so that only flags decide."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("MERGEBOARD_")}
    return {**kept, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", **more}


def bench(*words: str | Path, cwd: Path, code: int = 0, **env: str) -> subprocess.CompletedProcess[str]:
    """Run `bench WORDS` in `cwd` and insist on its exit code."""
    done = subprocess.run(
        [*BENCH, *map(str, words)],
        cwd=cwd,
        env=environment(**env),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, f"exit {done.returncode}, wanted {code}\n{done.stdout}\n{done.stderr}"
    return done


def bench_json(*words: str | Path, cwd: Path) -> Any:
    """Standard output of `bench WORDS --json`, parsed."""
    return json.loads(bench(*words, "--json", cwd=cwd).stdout)
