"""All that a suite asks, read and checked before anything is merged or loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bench.evaluation.questions import Pool
    from bench.lm_eval.suite import SuiteTasks
    from bench.suites import EvalOptions
    from tasks.contract import Suite


@dataclass(frozen=True)
class AskedSuite:
    """What our benchmarks ask, and the tasks of lm-eval (None where the suite has none)."""

    pools: list[Pool]
    tasks: SuiteTasks | None

    @property
    def remarks(self) -> list[str]:
        """What a reader of the scores must know of the data."""
        from bench.evaluation.questions import remarks

        return [*remarks(self.pools), *(self.tasks.remarks if self.tasks else ())]


def asked_suite(suite: Suite, options: EvalOptions, readers: Iterable[Path]) -> AskedSuite:
    """Everything that `suite` asks of models whose tokenizers are in the folders `readers`.

    Raises BadInput for data that cannot be read, a prompt that a model cannot be asked, a judge that is not there.
    """
    from bench.evaluation.judges import check_judges
    from bench.evaluation.questions import check_prompts, pools
    from bench.lm_eval.suite import load_suite

    asked = pools(suite, options)
    check_prompts(asked, readers)
    tasks = load_suite(suite, options)
    check_judges(suite.benchmarks, options)
    return AskedSuite(asked, tasks)
