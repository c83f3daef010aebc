"""`bench plan`: what merges would do and cost, before any of them is made."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import (
    AnySuite,
    Base,
    ContextLength,
    ExperimentName,
    Experts,
    Json,
    Mergekit,
    Models,
    RopeFrom,
    Settings,
)
from bench.commands.printing import show_json, show_rows
from bench.commands.recipe import recipe_of_options
from bench.errors import BadInput, CheckFailed

if TYPE_CHECKING:
    from bench.experiments import Wanted
    from bench.merging.plan import Plan
    from bench.models.context import Context
    from bench.recipe import Recipe


def plan(
    *,
    method: Annotated[
        str | None, typer.Option("--method", help="Merge method; METHOD@PRESET takes a preset [fim_ties].")
    ] = None,
    models: Models = None,
    base: Base = None,
    expert: Experts = None,
    set_: Settings = None,
    suite: AnySuite = None,
    experiment: ExperimentName = None,
    context_length: ContextLength = None,
    rope_from: RopeFrom = None,
    mergekit: Mergekit = None,
    write_mergekit: Annotated[
        Path | None, typer.Option("--write-mergekit", help="Also write the merge as a mergekit YAML.")
    ] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor.")] = False,
    json: Json = False,
) -> None:
    """What a merge would do and cost, from headers alone: of Hub models too, nothing is downloaded."""
    from bench.experiments import wanted
    from bench.mergekit import save_mergekit
    from bench.merging.plan import plan as make_plan
    from bench.models.context import Context
    from bench.models.hub import open_headers

    said = Context(context_length, rope_from)
    if mergekit is None:
        asked = wanted(experiment, method=method, suite=suite, models=models, base=base, experts=expert)
        recipes = _recipes(asked, base, expert, asked.set_with(set_), said)
    else:
        if models or experiment:
            raise BadInput("--mergekit says what to merge: leave out --models and --experiment")
        made = recipe_of_options(mergekit, method, base, expert, set_, opener=open_headers)
        recipes = [replace(made, context=said)]
    if write_mergekit is not None:
        if len(recipes) > 1:
            raise BadInput("--write-mergekit writes one merge: name one --method")
        save_mergekit(recipes[0], write_mergekit)
    plans = [make_plan(recipe) for recipe in recipes]
    if json:
        show_json(plans[0] if experiment is None and len(plans) == 1 else plans)
    else:
        for one in plans:
            _show(one, tensors=tensors)
    bad = [f"{len(one.mismatches)} places ({one.label})" for one in plans if one.mismatches]
    if bad:
        raise CheckFailed(f"base and experts do not match in {', '.join(bad)}: no merge")


def _recipes(
    asked: Wanted, base: str | None, expert: list[str] | None, set_: list[str] | None, said: Context
) -> list[Recipe]:
    """What an experiment or the options mean, of headers alone; a Hub model is asked once."""
    from bench.choice import chosen_models
    from bench.models.hub import open_headers

    chosen = chosen_models(asked.models, base, expert or [], suite=asked.suite).within(said)
    opener, experts = cache(open_headers), list(chosen.experts.values())
    made = [
        recipe_of_options(None, method, chosen.base, experts, set_, suite=asked.suite, opener=opener)
        for method in (*asked.methods, *asked.left_out)
    ]
    return [replace(recipe, context=chosen.context) for recipe in made]


def _show(made: Plan, *, tensors: bool) -> None:
    from bench.merging import plan_listing

    show_rows(f"plan: {made.label}", plan_listing.summary(made), json=False)
    show_rows("what happens to its tensors", plan_listing.groups(made), json=False)
    for title, rows in (("tensors", plan_listing.tensors(made) if tensors else []),
                        ("mismatches", plan_listing.mismatches(made))):  # fmt: skip
        if rows:
            show_rows(title, rows, json=False)
