"""Which suites there are: every folder of `tasks/` with a `suite.py` that defines `SUITE`.

Adding a suite is adding a folder; nothing else has to be told. A benchmark may be named wherever a suite may,
so the names of all suites and benchmarks are distinct.
"""

from __future__ import annotations

import importlib
from dataclasses import replace
from functools import cache
from pathlib import Path

from tasks.contract import Suite
from tasks.errors import UnknownName


@cache
def _folders() -> tuple[str, ...]:
    """Names of the folders that hold a suite, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/suite.py")))


def suites() -> dict[str, Suite]:
    """All suites by name. Raises ValueError when two of them use one name twice."""
    found = [importlib.import_module(f"tasks.{folder}.suite").SUITE for folder in _folders()]
    names = [name for suite in found for name in (suite.name, *(b.name for b in suite.benchmarks))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names that two suites or benchmarks use: {', '.join(twice)}; rename one of each")
    return {suite.name: suite for suite in found}


def resolve(name: str) -> Suite:
    """The suite called `name`, or the suite of the benchmark called `name` with that benchmark alone.

    Raises UnknownName, which carries every known name.
    """
    known = suites()
    if name in known:
        return known[name]
    for suite in known.values():
        for benchmark in suite.benchmarks:
            if benchmark.name == name:
                return replace(suite, benchmarks=(benchmark,), composites=(), lm_eval=())
    raise UnknownName(name, [*known, *(b.name for suite in known.values() for b in suite.benchmarks)])
