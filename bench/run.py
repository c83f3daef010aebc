"""The road: config, plan, merge, evaluate, record, compare. What can be refused is refused first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.choice import chosen_models, recorded_name, settings_of
from bench.config import ModelSet
from bench.errors import BadInput
from bench.road import Road, RunReport, Say, board_of, opened
from bench.suites import EvalOptions, chosen_suite

if TYPE_CHECKING:
    from bench.evaluate import EvalTarget
    from bench.merge import MergeResult
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
) -> RunReport:
    """Merge with every method, evaluate base, experts and merges, record, and build the board."""
    from bench.alignment import align
    from bench.experts import check_heads
    from bench.loading import require_tokenizer
    from bench.questions import pools
    from bench.recipe import parse_settings

    suite = chosen_suite(options)
    chosen = chosen_models(models, base, experts, suite=suite.name)
    recipes, refused = _recipes(methods, parse_settings(settings), chosen, suite.name)
    check_heads(suite.benchmarks, dict(zip(chosen.experts, recipes[0].experts, strict=True)))
    for recipe in recipes:
        align(recipe)  # every mismatch is said before anything is merged
    for model in (recipes[0].base, *recipes[0].experts):
        require_tokenizer(model.path, model.name)
    asked = pools(suite, options)
    with opened(runs, db, say) as road:
        for sentence in refused:
            road.note(sentence)
        targets = _merge_and_record(road, recipes, chosen)
        for target in targets:
            road.evaluate(target, asked, options)
    board = board_of(db, options.suite, split=options.split, model_set=targets[0].model_set)
    return RunReport(board, road.summary)


def _recipes(
    methods: Sequence[str], settings: Mapping[str, Any], chosen: ModelSet, suite: str
) -> tuple[list[Recipe], list[str]]:
    """A checked recipe per method. Of `all`, methods that do not fit the models are left out with the reason."""
    from bench.checkpoint import Checkpoint, locate
    from bench.recipe import build_recipe, method_names, parse_expert

    names = [name.strip() for name in methods if name.strip()]
    if not names:
        raise BadInput(f"no method given. Known: {', '.join(method_names())}, or all")
    every = "all" in names
    for spec in (chosen.base, *(parse_expert(expert)[0] for expert in chosen.experts.values())):
        Checkpoint(locate(spec), spec)  # a model that is not there is no method's fault
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


def _merge_and_record(road: Road, recipes: list[Recipe], chosen: ModelSet) -> list[EvalTarget]:
    """Checkpoint rows of base, experts and merges, and the models to evaluate, in the order of the table."""
    from bench.alignment import align
    from bench.checkpoint import Checkpoint
    from bench.experts import Expert
    from bench.identity import fingerprint
    from bench.lineage import base_row, expert_row, layer_rows, merged_row, method_row, target
    from bench.merge import merge_id
    from bench.writer import check_disk

    first = recipes[0]
    base = fingerprint(first.base.path, road.place.fingerprints)
    experts = [fingerprint(expert.path, road.place.fingerprints) for expert in first.experts]
    name = recorded_name(chosen, [base, *experts])
    rows = [base_row(first.base, base, name)]
    rows += [
        expert_row(label, model, mark, base, name)
        for label, model, mark in zip(chosen.experts, first.experts, experts, strict=True)
    ]
    outs = [road.place.runs / "merges" / merge_id(recipe, road.place) for recipe in recipes]
    needed = sum(align(recipe).nbytes for recipe, out in zip(recipes, outs, strict=True) if not out.exists())
    check_disk(road.place.runs, needed, f"writing {len(recipes)} merge(s)")
    for recipe, out in zip(recipes, outs, strict=True):
        result = _merge(road, recipe, out)
        rows.append(merged_row(Checkpoint(result.path, str(result.path)), result.manifest, name))
        if not result.reused:
            road.spool.append_many("layers", layer_rows(result))
    road.record("methods", [method_row(recipe) for recipe in recipes])
    road.record("checkpoints", rows)
    by_domain = {
        label: Expert(mark, model.name)
        for label, model, mark in zip(chosen.experts, first.experts, experts, strict=True)
    }
    return [target(row, base=base, experts=by_domain) for row in rows]


def _merge(road: Road, recipe: Recipe, out: Path) -> MergeResult:
    from bench.merge import merge
    from bench.show import status

    if not out.exists():
        # Evaluation needs it anyway; loaded now, every merge of a run is measured on the same floor.
        import transformers.modeling_utils  # noqa: F401
    with status() as show:
        result = merge(recipe, out, road.place, say=show)
    cost = result.manifest["seconds"] + result.manifest["statistics_seconds"]
    state = "merge reused" if result.reused else f"merged in {cost:.1f} s"
    road.note(f"{recipe.label}: {state} ({out})")
    return result
