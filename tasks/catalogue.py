"""Which suites there are: every folder of `tasks/` with a `suite.py` that defines `SUITE`.

Adding a suite is adding a folder; nothing else has to be told. A benchmark may be named wherever a suite may,
so the names of all suites and benchmarks are distinct.
"""

from __future__ import annotations

import importlib
from collections.abc import Collection
from dataclasses import replace
from functools import cache
from pathlib import Path

from tasks.contract import Benchmark, LmEvalTask, Suite
from tasks.errors import UnknownName


@cache
def _folders() -> tuple[str, ...]:
    """Names of the folders that hold a suite, in alphabetical order."""
    return tuple(sorted(path.parent.name for path in Path(__file__).parent.glob("*/suite.py")))


def suites() -> dict[str, Suite]:
    """All suites by name. Raises ValueError when two of them use one name twice."""
    found = [importlib.import_module(f"tasks.{folder}.suite").SUITE for folder in _folders()]
    names = [name for suite in found for name in (suite.name, *(asked.name for asked in _asked(suite)))]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"names that two suites or benchmarks use: {', '.join(twice)}; rename one of each")
    return {suite.name: suite for suite in found}


def resolve(name: str) -> Suite:
    """The suite called `name`, or the suite of the benchmark called `name` with that benchmark alone (with all of
    which it is made, where it is).

    Raises UnknownName, which carries every known name.
    """
    known = suites()
    if name in known:
        return known[name]
    for suite in known.values():
        for asked in _asked(suite):
            if asked.name == name:
                return _part(suite, {name})
    for suite in known.values():
        for made in suite.composites:
            if made.name == name:
                return replace(_part(suite, {part.benchmark for part in made.parts}), composites=(made,))
    raise UnknownName(name, [*known, *(asked.name for suite in known.values() for asked in _asked(suite))])


def _asked(suite: Suite) -> tuple[Benchmark | LmEvalTask, ...]:
    """Everything that a suite can ask."""
    return (*suite.benchmarks, *suite.lm_eval)


def _part(suite: Suite, names: Collection[str]) -> Suite:
    """The suite with some of its benchmarks; what is asked only by its name is asked."""
    return replace(
        suite,
        benchmarks=tuple(one for one in suite.benchmarks if one.name in names),
        lm_eval=tuple(replace(one, beside=False) for one in suite.lm_eval if one.name in names),
        composites=(),
    )
