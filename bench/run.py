"""The road: config, plan, merge, evaluate, record, compare. What can be refused is refused first."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from bench.asked import asked_suite
from bench.choice import chosen_models, recorded_name, specs_of
from bench.config import ModelSet
from bench.engines.served import check_one_model
from bench.errors import BadInput, debugging
from bench.models.context import AS_MODELS, Context
from bench.programs import check_programs, decided
from bench.road import Road, RunReport, Say, board_of, opened
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.evaluation.experts import Expert
    from bench.evaluation.target import EvalTarget
    from bench.merging.merge import MergeResult
    from bench.recipe import Recipe


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
    data_split: str = "train",
    context: Context = AS_MODELS,
) -> RunReport:
    """Merge with every method, evaluate base, experts and merges, record, and build the board.

    `data_split` is where methods that need examples take them from the suite: train or validation; `context` is
    what the merges have where the models' configs differ, over what the model set says.
    Of several methods, one that fails on the way does not lose the others' results: the report names it.
    """
    from bench.evaluation.experts import check_heads
    from bench.models.loading import reader_folder, require_reader
    from bench.recipe import parse_settings
    from bench.recipes import Asked, recipes_of

    suite = chosen_suite(options)
    check_one_model(options.engine, 2 + len(experts))
    chosen = chosen_models(models, base, experts, suite=suite.name).within(context)
    options = decided(suite, options, specs_of(chosen))
    notes = check_programs(suite, options)
    recipes, refused = recipes_of(
        methods, Asked(chosen, suite, options, parse_settings(settings), data_split)
    )
    by_domain = dict(zip(chosen.experts, recipes[0].experts, strict=True))
    check_heads(suite.benchmarks, by_domain, recipes[0].base)
    first = recipes[0].base
    members = (first, *recipes[0].experts)
    for model in members:
        require_reader(model, first)
    asked = asked_suite(suite, options, [reader_folder(model.path, first.path) for model in members])
    with opened(runs, db, say) as road:
        road.note_all([*notes, *asked.remarks])
        road.record_columns(suite)
        attempts = Attempts(road, alone=len(recipes) == 1)
        parents, name = _record_parents(road, recipes[0], chosen)
        merges = _merge_and_record(attempts, recipes, parents[0], name)
        for target in parents:
            road.evaluate(target, asked, options)
        for target in merges:
            attempts(target.name, partial(road.evaluate, target, asked, options))
    board = board_of(
        db, options.suite, split=options.split, model_set=name, prompt_mode=options.prompt_mode,
        max_new_tokens=options.max_new_tokens,
    )  # fmt: skip
    asked_now = tuple(target.fingerprint for target in (*parents, *merges))
    return RunReport(board, road.summary, refused, attempts.failed, asked_now)


@dataclass
class Attempts:
    """Steps that may fail without losing the others: `failed` has the reason by name. A step alone just fails."""

    road: Road
    alone: bool
    failed: dict[str, str] = field(default_factory=dict)

    def __call__(self, name: str, step: Callable[[], None]) -> None:
        """Take a step; what it raises is said at once and kept."""
        from bench.recipes import one_line

        try:
            step()
        except Exception as error:
            if self.alone:
                raise
            kind = "" if isinstance(error, BadInput) else f"{type(error).__name__}: "
            self.failed[name] = kind + one_line(error, name)
            if kind or debugging():  # not foreseen: whoever mends it needs the place
                self.road.say(traceback.format_exc())
            self.road.note(f"{name} FAILED: {self.failed[name]}")


def _record_parents(road: Road, recipe: Recipe, chosen: ModelSet) -> tuple[list[EvalTarget], str]:
    """Base and experts as recorded and to be evaluated, and the name that the set is stored under."""
    from bench.evaluation.experts import Expert
    from bench.identity import fingerprint
    from bench.lineage import base_row, expert_row, target

    base = fingerprint(recipe.base.path, road.place.fingerprints)
    marks = [fingerprint(expert.path, road.place.fingerprints) for expert in recipe.experts]
    name = recorded_name(chosen, [base, *marks])
    experts: dict[str, Expert] = {}
    rows = [base_row(recipe.base, base, name)]
    for label, model, mark in zip(chosen.experts, recipe.experts, marks, strict=True):
        rows.append(expert_row(label, model, mark, base, name))
        experts[label] = Expert(mark, model.name)
    road.record("checkpoints", rows)
    return [target(row, base=base, experts=experts, base_name=recipe.base.name) for row in rows], name


def _merge_and_record(
    attempts: Attempts, recipes: list[Recipe], base: EvalTarget, model_set: str
) -> list[EvalTarget]:
    """Merge with every recipe; each is recorded as soon as it is done. The merges to evaluate."""
    from bench.alignment.align import align
    from bench.disk import check_disk
    from bench.lineage import layer_rows, merged_row, method_rows, target
    from bench.merging.merge import merge_id
    from bench.models.checkpoint import Checkpoint

    road = attempts.road
    outs = [road.place.runs / "merges" / merge_id(recipe, road.place) for recipe in recipes]
    needed = sum(align(recipe).nbytes for recipe, out in zip(recipes, outs, strict=True) if not out.exists())
    check_disk(road.place.runs, needed, f"writing {len(recipes)} merge(s)")
    road.record("methods", [row for recipe in recipes for row in method_rows(recipe)])
    targets = []

    def one(recipe: Recipe, out: Path) -> None:
        result = _merge(road, recipe, out)
        row = merged_row(Checkpoint(result.path, str(result.path)), result.manifest, model_set)
        if not result.reused:
            road.spool.append_many("layers", layer_rows(result))
        road.record("checkpoints", [row])
        targets.append(target(row, base=base.fingerprint, experts=base.experts, base_name=base.base_name))

    for recipe, out in zip(recipes, outs, strict=True):
        attempts(recipe.label, partial(one, recipe, out))
    return targets


def _merge(road: Road, recipe: Recipe, out: Path) -> MergeResult:
    from bench.merging.merge import merge
    from bench.show import status

    if not out.exists():
        # Evaluation needs it anyway; loaded now, every merge of a run is measured on the same floor.
        import transformers.modeling_utils  # noqa: F401
    with status() as show:
        result = merge(recipe, out, road.place, say=show)
    road.note(f"{recipe.label}: {_done(recipe, result)} ({out})")
    return result


def _done(recipe: Recipe, result: MergeResult) -> str:
    """What a merge cost, and which of its statistics were there already."""
    from bench.needs import title

    manifest = result.manifest
    if result.reused:
        return "merge reused"
    kinds = {need.name: title(need.kind) for need in recipe.method.needs()}
    reused = [kinds[name] for name, was in manifest["statistics_reused"].items() if was]
    done = f"merged in {manifest['seconds']:.1f} s"
    if manifest["statistics_reused"]:
        done += f", statistics {manifest['statistics_seconds']:.1f} s"
    return done + (f" ({', '.join(dict.fromkeys(reused))} reused)" if reused else "")
