"""The tasks of lm-eval that a suite asks: loaded before anything is merged, answered by the engine that answers the
suite's own benchmarks too, recorded under the suite's names."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BadInput
from bench.lm_eval.bars import few_words, no_foreign_bars
from bench.lm_eval.local_data import data_of, unavailable
from bench.lm_eval.offline import check_punkt, not_ours, nothing_fetched
from bench.lm_eval.tasks import check_kinds, require_lm_eval

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

    from bench.evaluation.held import HeldEngine
    from bench.evaluation.target import EvalTarget
    from bench.lm_eval.asking import Asked
    from bench.suites import EvalOptions
    from results.spool import Spool
    from results.store import Store
    from tasks.contract import LmEvalTask, Suite


@dataclass(frozen=True)
class SuiteTasks:
    """Loaded tasks of a suite, by lm-eval's name; those of one benchmark follow each other."""

    asked: Mapping[str, Asked]
    manager: TaskManager

    @property
    def benchmarks(self) -> Mapping[str, list[Asked]]:
        """The tasks of every benchmark."""
        found: dict[str, list[Asked]] = {}
        for one in self.asked.values():
            found.setdefault(one.benchmark.name, []).append(one)
        return found

    @property
    def remarks(self) -> list[str]:
        """What a reader of the scores must know of the data: which benchmarks are not whole."""
        parts = [said for name, members in self.benchmarks.items() if (said := _part(name, members))]
        return (
            [f"scores are of a part of the benchmark, of the rows that were read: {', '.join(parts)}"]
            if parts
            else []
        )


def load_suite(suite: Suite, options: EvalOptions) -> SuiteTasks | None:
    """The tasks that `suite` asks of lm-eval, with their data; None where it asks none.

    Raises BadInput for what is known to fail: no lm-eval, data that are nowhere, a task that cannot be asked.
    """
    scored = [task for task in suite.lm_eval if not task.beside]
    if not scored:
        return None
    require_lm_eval()
    from lm_eval.tasks import TaskManager

    asked: dict[str, Asked] = {}
    missing: list[str] = []
    for task in scored:
        manager = TaskManager(include_path=_folders(task), include_defaults=False)
        try:
            asked |= _loaded(suite.name, task, manager, options)
        except BadInput as error:
            missing.append(str(error))
            if options.data_dir is None:  # the Hub would be asked in vain for the others too
                break
    if missing:
        raise BadInput("\n".join(missing))
    tasks = {name: one.task for name, one in asked.items()}
    check_kinds(tasks)
    check_punkt(tasks, options.limit)
    return SuiteTasks(asked, TaskManager(include_defaults=False))


def _folders(task: LmEvalTask) -> list[str | Path]:
    import lm_eval

    own = Path(str(lm_eval.__file__)).parent / "tasks"
    return [own / folder for folder in task.folders]  # an absolute path stays itself


def _loaded(suite: str, scored: LmEvalTask, manager: TaskManager, options: EvalOptions) -> dict[str, Asked]:
    """The tasks of one benchmark."""
    from bench.lm_eval.asking import Asked, Place, graded_by

    with (
        nothing_fetched() as refused,
        few_words(),
        no_foreign_bars(),
        redirect_stdout(sys.stderr),
        data_of(scored, options.data_dir) as sources,
    ):
        try:
            found = manager.load([scored.task])["tasks"]
        except Exception as error:  # datasets, its Hub client and task files raise dozens of unrelated types
            raise unavailable(scored, error, options.data_dir) from error
    if refused:
        raise BadInput(not_ours(refused[0]))
    members = {}
    for name, task in found.items():
        if scored.num_fewshot is not None:
            task.set_config("num_fewshot", scored.num_fewshot)
        group = name.removeprefix(f"{scored.task}_") if len(found) > 1 else None
        place = Place(suite, scored, group, sources.get(name))
        members[name] = Asked(task, budget=options.max_new_tokens, place=place)
    version = graded_by([one.scoring for one in members.values()])
    return {
        name: replace(one, place=replace(one.place, grader_version=version))
        for name, one in members.items()
        if one.place
    }


def _part(name: str, members: Sequence[Asked]) -> str | None:
    place, n = members[0].place, sum(len(one.docs) for one in members)
    if place is None or place.scored.size in (None, n):
        return None
    return f"{name} {n:,} of {place.scored.size:,}"


def answer_suite(
    target: EvalTarget,
    tasks: SuiteTasks,
    options: EvalOptions,
    *,
    held: HeldEngine,
    store: Store,
    spool: Spool,
) -> str:
    """Ask one model all tasks, spool responses, verdicts and scores; the report in a sentence."""
    from bench.evaluation.scoring import new_scores
    from bench.lm_eval.measuring import evaluated
    from bench.lm_eval.model import EngineLM
    from bench.lm_eval.suite_scores import measured_of, suite_scores
    from bench.lm_eval.verdicts import new_verdicts, verdict_rows

    started = time.perf_counter()
    lm = EngineLM(target, options, tasks.asked, store=store, spool=spool, held=held)
    specs = [one.task for one in tasks.asked.values()]
    found = evaluated(lm, specs, options, manager=tasks.manager)
    judged, scores = 0, []
    for members in tasks.benchmarks.values():
        measured = [measured_of(one, found) for one in members]
        verdicts = [row for one in measured for row in verdict_rows(one, lm)]
        new = new_verdicts(verdicts, store, members[0].grader_version)
        spool.append_many("verdicts", new)
        judged += len(new)
        scores += suite_scores(measured, verdicts, lm, target)
    spool.append_many("scores", new_scores(scores, store, target.fingerprint))
    store.ingest()
    seconds = time.perf_counter() - started
    return f"{target.name}, lm-eval: {lm.said()}; {judged:,} new verdicts; {seconds:.1f} s"
