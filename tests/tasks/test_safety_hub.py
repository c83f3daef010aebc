"""The safety benchmarks from the Hub: the same requests as from a folder, and a gated dataset says that it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tasks.safety.benchmarks import BENCHMARKS
from tests.helpers.hub_datasets import datasets_hub, jsonl
from tests.tasks.test_safety import ROWS, write

ROOT = Path(__file__).resolve().parents[2]
GIVEN = {
    "wildguardtest": ("allenai/wildguardmix", "wildguardtest"),
    "harmbench": ("allenai/tulu-3-harmbench-eval", "default"),
    "dan": ("allenai/tulu-3-do-anything-now-eval", "default"),
}
READ = """
from tasks.errors import DataUnavailable
from tasks.safety.benchmarks import BENCHMARKS
for benchmark in BENCHMARKS:
    try:
        samples, source = benchmark.load("test", None)
    except DataUnavailable as error:
        print("unavailable:", error)
    else:
        print([(s.id, s.question, s.group, s.target, s.reference) for s in samples])
"""


def test_the_hub_gives_what_a_folder_gives_and_a_gate_is_named(tmp_path: Path) -> None:
    folder, expected = tmp_path / "data", []
    repositories = {}
    for benchmark in BENCHMARKS:
        write(folder, name := benchmark.name, ROWS[name])
        if name in GIVEN:
            repository, config = GIVEN[name]
            repositories[repository] = jsonl(tmp_path / name, folder / name / "test.jsonl", config=config)
            samples, _ = benchmark.load("test", folder)
            expected.append(str([(s.id, s.question, s.group, s.target, s.reference) for s in samples]))
    with datasets_hub(repositories) as (endpoint, _):
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "",
                    "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", READ], env={**os.environ, **settings}, capture_output=True,
                              text=True, timeout=300, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    *read, last = done.stdout.splitlines()
    assert read == expected
    assert last.startswith("unavailable: cannot read walledai/XSTest (test)")
    assert "walledai/XSTest is gated: accept its terms" in last and "xstest/test.jsonl" in last
