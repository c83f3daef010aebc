"""One run under way: its folders, its database and spool, its own row, and what it says."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import unknown
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.asked import AskedSuite
    from bench.evaluation.held import HeldEngine
    from bench.evaluation.target import EvalTarget
    from bench.lm_eval.suite import SuiteTasks
    from bench.merging.merge import Place
    from results.board import Board
    from results.spool import Spool
    from results.store import Store
    from tasks.contract import Suite

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunReport:
    """What a run did, in sentences, and the board that it ends with.

    `refused` and `failed` give the reason for each method that does not apply, and for each that broke off;
    `checkpoints` are the fingerprints of what it asked.
    """

    board: Board
    summary: list[str]
    refused: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    checkpoints: tuple[str, ...] = ()


@dataclass
class Road:
    """One run under way: where things are, the run's own row (`facts`), and what has been said."""

    place: Place
    store: Store
    spool: Spool
    facts: dict[str, Any]
    say: Say
    summary: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something now and keep it for the report."""
        self.summary.append(text)
        self.say(text)

    def note_all(self, texts: Iterable[str]) -> None:
        """Note each of them."""
        for text in texts:
            self.note(text)

    def record(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Append the rows that say something new."""
        from bench.lineage import record

        record(self.spool, self.store, table, rows)

    def record_columns(self, suite: Suite) -> None:
        """Append what the columns of a suite's table are made of: of all of it, where a part of it is asked."""
        from bench.lineage import composite_rows
        from tasks.catalogue import suites

        self.record("composites", composite_rows(suites().get(suite.name, suite)))

    def evaluate(self, target: EvalTarget, asked: AskedSuite, options: EvalOptions) -> None:
        """Evaluate one model and say what was done. One engine answers what lm-eval asks and the rest."""
        from bench.engines import engine_identity
        from bench.evaluation.evaluate import evaluate, with_engine
        from bench.evaluation.held import HeldEngine

        options, why = with_engine(target, asked.pools, options)
        if why is not None and (said := f"engine {options.engine}: {why}") not in self.summary:
            self.note(said)
        with closing(HeldEngine(target.path, options, target.reader)) as held:
            if asked.tasks is not None:
                self._through_lm_eval(target, asked.tasks, options, held)
            if not asked.pools:
                return
            report = evaluate(target, asked.pools, options, store=self.store, spool=self.spool, held=held)
        self.note(report.sentence())
        if report.generated:  # what was chosen for us, now that it is known
            _, dtype = engine_identity(options.engine, target.path, **options.engine_options())
            self.facts.update(
                engine=options.engine, dtype=dtype, batch_size=report.batch_size, threads=report.threads
            )

    def _through_lm_eval(
        self, target: EvalTarget, tasks: SuiteTasks, options: EvalOptions, held: HeldEngine
    ) -> None:
        from bench.lm_eval.suite import answer_suite

        self.note(answer_suite(target, tasks, options, held=held, store=self.store, spool=self.spool))
        if engine := held.loaded:
            self.facts.update(
                engine=options.engine,
                dtype=engine.dtype,
                batch_size=engine.batch_size,
                threads=engine.threads,
            )


@contextmanager
def opened(runs: Path, db: Path, say: Say) -> Iterator[Road]:
    """Store, spool and the run's row; the spool goes into the database at the end, however it ends."""
    from bench.merging.merge import Place
    from results.spool import Spool
    from results.store import Store

    run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
    store = Store(db)
    with store.reading():  # what is no database of ours is refused here, before any work
        pass
    store.ingest()
    facts = _run_row(run_id)
    road = Road(Place(runs), store, Spool(store.spool_dir, run_id), dict(facts), say)
    road.spool.append("runs", facts)
    try:
        yield road
    finally:
        if road.facts != facts:
            road.spool.append("runs", road.facts)
        road.spool.close()
        store.ingest()


def _run_row(run_id: str) -> dict[str, Any]:
    """The run's own row; engine, dtype, batch size and threads are known once something was generated."""
    from bench.machine import commit, machine, package_versions

    head, dirty = commit()
    return {
        "run_id": run_id,
        "command": shlex.join(["bench", *sys.argv[1:]]),
        "commit": head,
        "dirty": dirty,
        "packages": package_versions(),
        "machine": machine(),
        "created_at": datetime.now(UTC),
    }


def check_stored_set(store: Store, model_set: str | None) -> None:
    """Refuse the name of a model set that is neither stored nor configured."""
    from bench.config import model_set_names

    known = {row["model_set"] for row in store.rows("SELECT DISTINCT model_set FROM checkpoints")}
    if model_set is not None and model_set not in known | set(model_set_names()):
        raise unknown("model set", model_set, known | set(model_set_names()))


def board_of(
    db: Path, suite: str, *, split: str, model_set: str | None, methods: Collection[str] | None = None,
    grader: str | None = None, samples: int | None = None, prompt_mode: str | None = None,
    max_new_tokens: int | None = None,
) -> Board:  # fmt: skip
    """The leaderboard of a suite or benchmark, from what is stored. Raises BadInput for a name that is unknown."""
    from bench.lm_eval import is_lm_eval
    from bench.recipe import method_names
    from results.leaderboard import leaderboard
    from results.store import Store

    store = Store(db)
    # A task of lm-eval is known by what was stored.
    found = None if is_lm_eval(suite) else chosen_suite(EvalOptions(suite, split, prompt_mode=prompt_mode))
    check_stored_set(store, model_set)
    _check_grader(store, grader, found)
    for method in methods or ():
        if method not in method_names():
            raise unknown("method", method, method_names())
    return leaderboard(
        store,
        found.name if found else suite,
        model_set=model_set,
        split=split,
        methods=methods,
        benchmarks=found.reported if found else None,
        composed=found is None or bool(found.composites),
        grader=grader,
        samples=samples,
        prompt_mode=prompt_mode,
        max_new_tokens=max_new_tokens,
    )


def _check_grader(store: Store, grader: str | None, suite: Suite | None) -> None:
    """Refuse the name of a grader that no benchmark asked for has, and that graded nothing stored."""
    if grader is None:
        return
    rows = store.rows("SELECT DISTINCT grader FROM scores WHERE grader IS NOT NULL ORDER BY grader")
    known = [str(row["grader"]).rpartition("@")[0] for row in rows]
    for benchmark in suite.benchmarks if suite else ():
        known += [make().name for make in (benchmark.grader, *benchmark.also_graded_by)]
    if grader not in known:
        raise unknown("grader", grader, dict.fromkeys(known))
