"""Benchmarks that run programs of the model: only where that was asked for, and only where a sandbox can be made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from bench.errors import BadInput
from tasks.contract import Suite

if TYPE_CHECKING:
    from bench.suites import EvalOptions

ASKING = "--run-code (in a sandbox: docs/coding.md)"


def decided(suite: Suite, options: EvalOptions, models: Sequence[str]) -> EvalOptions:
    """`options` that say whether programs of `models` (as they were named) may run.

    What was asked for counts; else a suite's own file of configs/suites may say so of embedded models, whose programs
    are known. Anyone else's run only where that is asked for.
    """
    if options.run_code is not None or not any(benchmark.executes for benchmark in suite.benchmarks):
        return options
    from bench.config import suite_defaults

    embedded = bool(models) and all(model.startswith("zoo:") for model in models)
    return replace(options, run_code=embedded and suite_defaults(suite.name).run_code)


def allowed(suite: Suite, options: EvalOptions) -> Suite:
    """The suite without the benchmarks that run programs, where that was not asked for."""
    if options.run_code:
        return suite
    return replace(suite, benchmarks=tuple(one for one in suite.benchmarks if not one.executes))


def check_programs(suite: Suite, options: EvalOptions) -> list[str]:
    """What a person has to know of programs that are not run, in sentences.

    Raises BadInput, before any work, where programs are asked for and nothing can isolate them, and where nothing
    else is asked.
    """
    programs = [benchmark.name for benchmark in suite.benchmarks if benchmark.executes]
    if not programs:
        return []
    if options.run_code:
        from tasks.sandbox import available

        if (reason := available()) is not None:
            raise BadInput(f"{', '.join(programs)}: {reason}; or leave them out with --no-run-code")
        return []
    said = f"{', '.join(programs)}: left out, grading runs programs that the model wrote; ask for it with {ASKING}"
    kept = allowed(suite, options)
    if not kept.benchmarks and not any(not task.beside for task in suite.lm_eval):
        raise BadInput(said)
    return [said]
