"""Finding suites and benchmarks by name, without importing anything heavy."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.catalogue import resolve, suites
from tasks.errors import UnknownName

ROOT = Path(__file__).resolve().parents[2]


def test_suites_are_the_folders_with_a_suite_file() -> None:
    folders = {path.parent.name for path in (ROOT / "tasks").glob("*/suite.py")}
    assert set(suites()) == folders >= {"mini_l2s", "l2s"}


def test_a_suite_and_each_of_its_benchmarks_can_be_named() -> None:
    for name, suite in suites().items():
        assert resolve(name) == suite
        for benchmark in suite.benchmarks:
            alone = resolve(benchmark.name)
            assert (alone.name, alone.benchmarks) == (name, (benchmark,))


def test_an_unknown_name_tells_the_known_ones() -> None:
    with pytest.raises(UnknownName) as caught:
        resolve("mini_gms")
    assert caught.value.name == "mini_gms"
    assert {"mini_l2s", "mini_gsm", "mini_math", "mini_aime", "l2s", "gsm8k"} <= set(caught.value.known)


def test_every_benchmark_declares_what_the_contract_asks_for() -> None:
    for suite in suites().values():
        for benchmark in suite.benchmarks:
            assert "test" in benchmark.splits
            assert benchmark.prompts and benchmark.protocols
            names = [draw.name for draw in benchmark.protocols]
            assert len(set(names)) == len(names)
            for draw in benchmark.protocols:
                assert draw.n >= 1 and all(1 <= votes <= draw.n for votes in draw.votes)
            grader = benchmark.grader()
            assert grader.name and grader.version


def test_listing_imports_nothing_heavy() -> None:
    script = (
        "import sys; from tasks.catalogue import suites; "
        "[b.grader() for s in suites().values() for b in s.benchmarks]; "
        "print(sorted({'torch', 'datasets', 'transformers', 'sympy', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"
