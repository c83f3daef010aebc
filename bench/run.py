"""The road: config, plan, merge, evaluate, record, compare. Everything that can be refused is refused first."""

from __future__ import annotations

import shlex
import sys
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.config import ModelSet, choose, model_set, model_set_names, suite_defaults
from bench.errors import BadInput, unknown
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.evaluate import EvalTarget
    from bench.merge import MergeResult, Place
    from bench.recipe import Recipe
    from results.board import Board
    from results.spool import Spool
    from results.store import Store

Say = Callable[[str], None]


@dataclass(frozen=True)
class RunReport:
    """What a run did, in sentences, and the board that it ends with."""

    board: Board
    summary: list[str]


@dataclass
class Road:
    """One run under way: where things are, and what has been said about them."""

    place: Place
    store: Store
    spool: Spool
    run_id: str
    say: Say
    summary: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Say something now and keep it for the report."""
        self.summary.append(text)
        self.say(text)


def settings_of(text: str, settings: Mapping[str, Any], suite: str = "") -> tuple[str, dict[str, Any]]:
    """Method name and settings of `METHOD` or `METHOD@PRESET`, with `settings` over the preset's."""
    from bench.recipe import method_class

    method_class(text.partition("@")[0])
    choice = choose(text, suite)
    return choice.method, {**choice.settings, **settings}


def chosen_models(models: str | None, base: str | None, experts: list[str], *, suite: str) -> ModelSet:
    """The model set asked for: by name, by --base and --expert, or the suite's own."""
    if models and (base or experts):
        raise BadInput("give either --models or --base and --expert, not both")
    if base or experts:
        if not base or not experts:
            raise BadInput("--base and --expert go together: one base and at least one expert")
        return _ad_hoc(base, experts)
    name = models or suite_defaults(suite).models
    if name is None:
        raise BadInput(f"suite {suite} has no model set of its own: give --models ({', '.join(model_set_names())}) "
                       "or --base and --expert")
    return model_set(name)


def _ad_hoc(base: str, experts: list[str]) -> ModelSet:
    from bench.recipe import parse_expert

    names = [Path(parse_expert(expert)[0]).name for expert in experts]
    labels = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, 1)]
    title = "+".join([Path(base).name, *labels])
    return ModelSet(name=title, base=base, experts=dict(zip(labels, experts, strict=True)))


def run(
    methods: Sequence[str], options: EvalOptions, *, models: str | None, base: str | None, experts: list[str],
    settings: list[str], runs: Path, db: Path, say: Say,
) -> RunReport:
    """Merge with every method, evaluate base, experts and merges, record, and build the board."""
    from bench.alignment import align
    from bench.recipe import parse_settings

    suite = chosen_suite(options)
    chosen = chosen_models(models, base, experts, suite=suite.name)
    recipes, refused = _recipes(methods, parse_settings(settings), chosen, suite.name)
    for recipe in recipes:
        align(recipe)
    with _road(runs, db, options, say) as road:
        for sentence in refused:
            road.note(sentence)
        targets = _merge_and_record(road, recipes, chosen)
        _evaluate(road, targets, options)
    board = board_of(db, options.suite, split=options.split, model_set=chosen.name)
    return RunReport(board, road.summary)


def _recipes(
    methods: Sequence[str], settings: Mapping[str, Any], chosen: ModelSet, suite: str
) -> tuple[list[Recipe], list[str]]:
    """A checked recipe per method. Of `all`, methods that do not fit the models are left out with the reason."""
    from bench.recipe import build_recipe, method_names

    names = [name.strip() for name in methods if name.strip()]
    if not names:
        raise BadInput(f"no method given. Known: {', '.join(method_names())}, or all")
    every = "all" in names
    if every and settings:
        raise BadInput("--set does not go with all methods: name the methods that it is for")
    recipes, refused = [], []
    for text in method_names() if every else dict.fromkeys(names):
        try:
            name, own = settings_of(text, settings, suite)
            recipes.append(build_recipe(name, own, chosen.base, list(chosen.experts.values())))
        except BadInput as error:
            if not every:
                raise
            refused.append(f"{text} does not apply: {error}")
    if not recipes:
        raise BadInput("no method applies:\n  " + "\n  ".join(refused))
    return recipes, refused


class _road:
    """Opens store, spool and run row; takes the spool into the database at the end, however it ends."""

    def __init__(self, runs: Path, db: Path, options: EvalOptions, say: Say) -> None:
        from bench.merge import Place
        from results.spool import Spool
        from results.store import Store

        run_id = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
        store = Store(db)
        store.ingest()
        self.road = Road(Place(runs), store, Spool(store.spool_dir, run_id), run_id, say)
        self.road.spool.append("runs", _run_row(run_id, options))

    def __enter__(self) -> Road:
        return self.road

    def __exit__(self, *error: object) -> None:
        self.road.spool.close()
        self.road.store.ingest()


def now() -> str:
    """The time of a row, UTC."""
    return datetime.now(UTC).isoformat()


def _run_row(run_id: str, options: EvalOptions) -> dict[str, Any]:
    from bench.machine import commit, machine, package_versions

    head, dirty = commit()
    return {
        "run_id": run_id,
        "command": shlex.join(["bench", *sys.argv[1:]]),
        "commit": head,
        "dirty": dirty,
        "packages": package_versions(),
        "machine": machine(),
        "engine": options.engine,
        "dtype": options.dtype,
        "batch_size": options.batch_size,
        "threads": options.threads,
        "created_at": now(),
    }


def _merge_and_record(road: Road, recipes: list[Recipe], chosen: ModelSet) -> list[EvalTarget]:
    """Checkpoint rows of base, experts and merges, and the models to evaluate, in the order of the table."""
    from bench.identity import fingerprint
    from bench.lineage import expert_row, base_row, merged_row, layer_rows, method_row, record, target

    first = recipes[0]
    base = fingerprint(first.base.path, road.place.fingerprints)
    experts = {
        label: (model, fingerprint(model.path, road.place.fingerprints))
        for label, model in zip(chosen.experts, first.experts, strict=True)
    }
    rows = [base_row(first.base, base, chosen.name)]
    rows += [expert_row(label, model, mark, base, chosen.name) for label, (model, mark) in experts.items()]
    for recipe in recipes:
        result = _merge(road, recipe)
        rows.append(merged_row(recipe, result, chosen.name))
        if not result.reused:
            road.spool.append_many("layers", layer_rows(result, road.run_id))
        record(road, "methods", [method_row(recipe)])
    record(road, "checkpoints", rows)
    expert = next(iter(experts.values()))[1]
    return [target(row, base=base, expert=expert) for row in rows]


def _merge(road: Road, recipe: Recipe) -> MergeResult:
    from bench.merge import merge, merge_id

    out = road.place.runs / "merges" / merge_id(recipe, road.place)
    result = merge(recipe, out, road.place, say=road.say)
    cost = result.manifest["seconds"] + result.manifest["statistics_seconds"]
    state = "reused" if result.reused else f"merged in {cost:.1f} s"
    road.note(f"{recipe.label}: {state} ({out})")
    return result


def _evaluate(road: Road, targets: list[EvalTarget], options: EvalOptions) -> None:
    raise BadInput("pending")


def evaluate_models(
    specs: list[str], options: EvalOptions, *, models: str | None, rescore: bool, runs: Path, db: Path, say: Say
) -> RunReport:
    raise BadInput("pending")


def board_of(
    db: Path, suite: str, *, split: str, model_set: str | None, methods: Collection[str] | None = None
) -> Board:
    """The leaderboard of a suite or benchmark, from what is stored."""
    from bench.recipe import method_names
    from results.leaderboard import leaderboard
    from results.store import Store

    found = chosen_suite(EvalOptions(suite=suite, split=split))
    for method in methods or ():
        if method not in method_names():
            raise unknown("method", method, method_names())
    return leaderboard(
        Store(db), found.name, model_set=model_set, split=split, methods=methods,
        benchmarks=[benchmark.name for benchmark in found.benchmarks],
    )
