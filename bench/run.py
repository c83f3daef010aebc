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
    from bench.checkpoint import Checkpoint
    from bench.evaluate import EvalTarget
    from bench.merge import MergeResult, Place
    from bench.questions import Pool
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

    def record(self, table: str, rows: list[dict[str, Any]]) -> None:
        """Append the rows that say something new."""
        from bench.lineage import record

        record(self.spool, self.store, table, rows)

    def evaluate(
        self, target: EvalTarget, asked: list[Pool], options: EvalOptions, *, rescore: bool = False
    ) -> None:
        """Evaluate one model and say what was done."""
        from bench.evaluate import evaluate

        report = evaluate(target, asked, options, store=self.store, spool=self.spool, rescore=rescore)
        self.note(report.sentence())
        if report.generated:  # what was chosen for us, now that it is known
            self.facts.update(batch_size=report.batch_size, threads=report.threads)


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
        raise BadInput(
            f"suite {suite} has no model set of its own: give --models ({', '.join(model_set_names())}) "
            "or --base and --expert"
        )
    return model_set(name)


def _ad_hoc(base: str, experts: list[str]) -> ModelSet:
    from bench.recipe import parse_expert

    names = [Path(parse_expert(expert)[0]).name for expert in experts]
    labels = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, 1)]
    title = "+".join([Path(base).name, *labels])
    return ModelSet(name=title, base=base, experts=dict(zip(labels, experts, strict=True)))


def run(
    methods: Sequence[str],
    options: EvalOptions,
    *,
    models: str | None,
    base: str | None,
    experts: list[str],
    settings: list[str],
    runs: Path,
    db: Path,
    say: Say,
) -> RunReport:
    """Merge with every method, evaluate base, experts and merges, record, and build the board."""
    from bench.alignment import align
    from bench.questions import pools
    from bench.recipe import parse_settings

    suite = chosen_suite(options)
    chosen = chosen_models(models, base, experts, suite=suite.name)
    recipes, refused = _recipes(methods, parse_settings(settings), chosen, suite.name)
    for recipe in recipes:
        align(recipe)
    asked = pools(suite, options)
    with _road(runs, db, options, say) as road:
        for sentence in refused:
            road.note(sentence)
        for target in _merge_and_record(road, recipes, chosen):
            road.evaluate(target, asked, options)
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
        self.road = Road(Place(runs), store, Spool(store.spool_dir, run_id), _run_row(run_id, options), say)
        self.road.spool.append("runs", self.road.facts)
        self.known = dict(self.road.facts)

    def __enter__(self) -> Road:
        return self.road

    def __exit__(self, *error: object) -> None:
        if self.road.facts != self.known:
            self.road.spool.append("runs", self.road.facts)
        self.road.spool.close()
        self.road.store.ingest()


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
    }


def _merge_and_record(road: Road, recipes: list[Recipe], chosen: ModelSet) -> list[EvalTarget]:
    """Checkpoint rows of base, experts and merges, and the models to evaluate, in the order of the table."""
    from bench.checkpoint import Checkpoint
    from bench.identity import fingerprint
    from bench.lineage import base_row, expert_row, layer_rows, merged_row, method_row, target

    first = recipes[0]
    base = fingerprint(first.base.path, road.place.fingerprints)
    experts = [fingerprint(expert.path, road.place.fingerprints) for expert in first.experts]
    rows = [base_row(first.base, base, chosen.name)]
    rows += [
        expert_row(label, model, mark, base, chosen.name)
        for label, model, mark in zip(chosen.experts, first.experts, experts, strict=True)
    ]
    for recipe in recipes:
        result = _merge(road, recipe)
        rows.append(merged_row(Checkpoint(result.path, str(result.path)), result.manifest, chosen.name))
        if not result.reused:
            road.spool.append_many("layers", layer_rows(result))
    road.record("methods", [method_row(recipe) for recipe in recipes])
    road.record("checkpoints", rows)
    return [target(row, base=base, expert=experts[0]) for row in rows]


def _merge(road: Road, recipe: Recipe) -> MergeResult:
    from bench.merge import merge, merge_id

    out = road.place.runs / "merges" / merge_id(recipe, road.place)
    result = merge(recipe, out, road.place, say=lambda text: None)
    cost = result.manifest["seconds"] + result.manifest["statistics_seconds"]
    state = "merge reused" if result.reused else f"merged in {cost:.1f} s"
    road.note(f"{recipe.label}: {state} ({out})")
    return result


def evaluate_models(
    specs: list[str],
    options: EvalOptions,
    *,
    models: str | None,
    rescore: bool,
    runs: Path,
    db: Path,
    say: Say,
) -> RunReport:
    """Evaluate models as they are; with `rescore`, grade stored responses again (of all models if none is named)."""
    from bench.lineage import stored_targets
    from bench.questions import pools

    suite = chosen_suite(options)
    if not specs and not models and not rescore:
        raise BadInput("name what to evaluate: --model FOLDER, --model zoo:NAME, or --models SET")
    named = specs or (_specs_of(model_set(models)) if models and not rescore else [])
    opened = [_open(spec) for spec in named]
    asked = pools(suite, options)
    with _road(runs, db, options, say) as road:
        targets = [_identified(road, checkpoint, models) for checkpoint in opened]
        if not named:
            targets = stored_targets(road.store, [b.name for b in suite.benchmarks], models)
            if not targets:
                raise BadInput(f"nothing is stored for {suite.name}: there is nothing to grade again")
        for target in targets:
            road.evaluate(target, asked, options, rescore=rescore)
    sets = {target.model_set for target in targets}
    board = board_of(db, options.suite, split=options.split, model_set=sets.pop() if len(sets) == 1 else None)
    return RunReport(board, road.summary)


def _specs_of(found: ModelSet) -> list[str]:
    return [found.base, *found.experts.values()]


def _open(spec: str) -> Checkpoint:
    from bench.checkpoint import Checkpoint, locate

    return Checkpoint(locate(spec), spec)


def _identified(road: Road, model: Checkpoint, models: str | None) -> EvalTarget:
    """Record what a model is (a merge of ours, a member of a configured set, or a stranger) and return it."""
    from bench.identity import fingerprint
    from bench.lineage import base_row, expert_row, merged_row, target
    from bench.writer import read_manifest

    mark = fingerprint(model.path, road.place.fingerprints)
    manifest = read_manifest(model.path)
    if manifest is not None:
        parents = [expert["name"] for expert in manifest["experts"]]
        name = models or _set_with(manifest["base"]["name"], parents)
        row = merged_row(model, {**manifest, "fingerprint": mark}, name)
        base, expert = row["base"], row["experts"][0]
    else:
        found = model_set(models) if models else _set_of(model.name)
        name = found.name if found else model.path.name
        base = fingerprint(_open(found.base).path, road.place.fingerprints) if found else mark
        others = list(found.experts.items()) if found else []
        expert = fingerprint(_open(others[0][1]).path, road.place.fingerprints) if others else None
        label = next((domain for domain, spec in others if spec == model.name), None)
        row = expert_row(label, model, mark, base, name) if label else base_row(model, mark, name)
    road.record("checkpoints", [row])
    return target(row, base=base, expert=expert)


def _set_with(base: str, experts: list[str]) -> str:
    """Name of the configured set of these models, or one made of their names."""
    for name in model_set_names():
        found = model_set(name)
        if found.base == base and list(found.experts.values()) == experts:
            return name
    return _ad_hoc(base, experts).name


def _set_of(spec: str) -> ModelSet | None:
    """The configured set that a model belongs to."""
    every = (model_set(name) for name in model_set_names())
    return next((found for found in every if spec in _specs_of(found)), None)


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
        Store(db),
        found.name,
        model_set=model_set,
        split=split,
        methods=methods,
        benchmarks=[benchmark.name for benchmark in found.benchmarks],
    )
