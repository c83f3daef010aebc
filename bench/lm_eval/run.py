"""`bench lm-eval`: tasks of lm-eval on models as they are, recorded like everything else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import engines
from bench.as_is import identified, open_model
from bench.config import model_set
from bench.engines.served import check_one_model
from bench.errors import BadInput, unknown
from bench.evaluation.scoring import new_scores
from bench.lm_eval import SUITE
from bench.lm_eval.measuring import evaluated
from bench.lm_eval.offline import check_punkt
from bench.lm_eval.tasks import check_kinds, load_tasks, require_lm_eval
from bench.road import Road, RunReport, Say, board_of, opened
from bench.suites import EvalOptions

if TYPE_CHECKING:
    from bench.evaluation.target import EvalTarget
    from bench.lm_eval.model import EngineLM
    from bench.lm_eval.tasks import Loaded
    from bench.lm_eval.verdicts import Measured


@dataclass(frozen=True)
class LmEvalOptions:
    """What to ask: tasks, tags or groups of lm-eval, and how. None means the task's own choice."""

    tasks: tuple[str, ...]
    include_path: Path | None = None
    num_fewshot: int | None = None
    apply_chat_template: bool = False


@dataclass(frozen=True)
class LmEvalReport:
    """`measured` has a row for each task, filter and metric of each model, for people."""

    run: RunReport
    measured: list[dict[str, Any]]


def run_lm_eval(
    specs: list[str],
    asked: LmEvalOptions,
    options: EvalOptions,
    *,
    models: str | None,
    runs: Path,
    db: Path,
    say: Say,
) -> LmEvalReport:
    """Ask every model the tasks, record responses, verdicts and scores, and build the board.

    Raises BadInput, before anything is generated, for what is known to fail.
    """
    _check(specs, asked, options)
    checkpoints = [open_model(spec) for spec in specs]
    found = model_set(models) if models else None
    loaded = load_tasks(asked.tasks, asked.include_path)
    check_kinds(loaded.tasks)
    check_punkt(loaded.tasks, options.limit)
    table = []
    with opened(runs, db, say) as road:
        targets = [identified(road, checkpoint, found) for checkpoint in checkpoints]
        for target in targets:
            table += _evaluate(road, target, loaded, asked, options)
    sets = {target.model_set for target in targets}
    board = board_of(db, SUITE, split="test", model_set=sets.pop() if len(sets) == 1 else None)
    return LmEvalReport(RunReport(board, road.summary), table)


def _check(specs: list[str], asked: LmEvalOptions, options: EvalOptions) -> None:
    from bench.engines.hf import DTYPES

    if not specs:
        raise BadInput("name what to ask: --model FOLDER, Hub id or zoo:NAME")
    if not asked.tasks:
        raise BadInput("name what is asked: --tasks TASK[,TASK]")
    require_lm_eval()
    engines.check_engine(options.engine, **options.engine_options())
    check_one_model(options.engine, len(specs))
    if options.dtype is not None and options.dtype not in DTYPES:
        raise unknown("dtype", options.dtype, DTYPES)


def _evaluate(
    road: Road, target: EvalTarget, loaded: Loaded, asked: LmEvalOptions, options: EvalOptions
) -> list[dict[str, Any]]:
    """One model: lm-eval asks through our engine and measures, its rows are spooled."""
    from bench.lm_eval.asking import Asked
    from bench.lm_eval.model import EngineLM
    from bench.lm_eval.verdicts import Measured

    started = time.perf_counter()
    tasks = {
        name: Asked(task, asked.apply_chat_template, options.max_new_tokens)
        for name, task in loaded.tasks.items()
    }
    taken, why = engines.chosen(options.engine, target.path, **options.engine_options())
    if why:
        road.note(f"{target.name}: engine {taken} ({why})")
    with EngineLM(target, options, tasks, store=road.store, spool=road.spool) as lm:
        found = evaluated(
            lm,
            loaded.specs,
            options,
            manager=loaded.manager,
            num_fewshot=asked.num_fewshot,
            apply_chat_template=asked.apply_chat_template,
        )
        measured = [
            Measured(task, found["samples"][name], found["results"][name]) for name, task in tasks.items()
        ]
        judged = _record(road, target, lm, measured, _groups(found, loaded, measured))
        road.note(_sentence(target, lm, judged, time.perf_counter() - started))
        if lm.loaded is not None:  # what was chosen for us, now that it is known
            road.facts.update(
                engine=lm.family, dtype=lm.dtype, batch_size=lm.loaded.batch_size, threads=lm.loaded.threads
            )
    return [row for one in measured for row in _table(target, one)]


def _groups(found: Mapping[str, Any], loaded: Loaded, measured: list[Measured]) -> list[tuple[Any, ...]]:
    """Every group that lm-eval aggregated: name, version, metrics, and the tasks in it."""
    by_name = {one.asked.name: one for one in measured}
    return [
        (name, loaded.groups[name].version, metrics,
         [by_name[task.task_name] for task in loaded.groups[name].get_all_tasks()])
        for name, metrics in found.get("groups", {}).items()
    ]  # fmt: skip


def _record(
    road: Road, target: EvalTarget, lm: EngineLM, measured: list[Measured], groups: list[tuple[Any, ...]]
) -> int:
    """Spool verdicts and scores that say something new; the number of new verdicts."""
    from bench.lm_eval.recording import group_scores, scores
    from bench.lm_eval.verdicts import new_verdicts, verdict_rows

    judged, scored = 0, []
    for one in measured:
        verdicts = verdict_rows(one, lm)
        new = new_verdicts(verdicts, road.store, one.asked.grader_version)
        road.spool.append_many("verdicts", new)
        judged += len(new)
        scored += scores(one, lm, target, verdicts)
    for name, version, metrics, members in groups:
        scored += group_scores(name, version, metrics, members, lm, target)
    road.spool.append_many("scores", new_scores(scored, road.store, target.fingerprint))
    road.store.ingest()
    return judged


def _sentence(target: EvalTarget, lm: EngineLM, judged: int, seconds: float) -> str:
    return f"{target.name}: {lm.said()}; {judged:,} new verdicts; {seconds:.1f} s"


def _table(target: EvalTarget, measured: Measured) -> list[dict[str, Any]]:
    """The aggregated metrics of a task; a standard error that lm-eval does not define is None."""
    from bench.lm_eval.recording import number

    return [
        {
            "model": target.name,
            "task": measured.asked.name,
            "filter": filter,
            "metric": metric,
            "value": number(measured.aggregated.get(f"{metric},{filter}")),
            "stderr": number(measured.aggregated.get(f"{metric}_stderr,{filter}")),
            "n": len(measured.values(filter, metric)),
            "of": measured.asked.expected_n,
            "asked": measured.asked.prompt_mode,
        }
        for filter, metric in measured.metrics
    ]


def listed(measured: list[dict[str, Any]]) -> list[dict[str, str]]:
    """`measured` as texts of a table that fits a terminal."""
    from results.text import MISSING

    return [
        {
            **{name: str(row[name]) for name in ("model", "task", "filter", "metric")},
            "value": MISSING if row["value"] is None else f"{row['value']:.4f}",
            "±": MISSING if row["stderr"] is None else f"{row['stderr']:.4f}",
            "n": f"{row['n']} of {row['of']}",
            "asked": row["asked"],
        }
        for row in measured
    ]
