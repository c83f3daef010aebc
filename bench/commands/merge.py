"""`bench merge`: one merged checkpoint, published if asked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import (
    Base,
    ContextLength,
    Experts,
    Json,
    Mergekit,
    PlaceGroup,
    RopeFrom,
    Settings,
)
from bench.commands.printing import show, show_json
from bench.commands.recipe import recipe_of_options
from bench.errors import BadInput


def merge(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of the merged checkpoint.")],
    method: Annotated[
        str | None, typer.Option("--method", help="Merge method; METHOD@PRESET takes a preset.")
    ] = None,
    base: Base = None,
    expert: Experts = None,
    mergekit: Mergekit = None,
    set_: Settings = None,
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", help="JSON lines, one file per expert, for methods that need data."),
    ] = None,
    push_to_hub: Annotated[
        str | None, typer.Option("--push-to-hub", help="Then upload it to this Hub repository.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    context_length: ContextLength = None,
    rope_from: RopeFrom = None,
    place: PlaceGroup,
    json: Json = False,
) -> None:
    """Write one merged checkpoint, and publish it if asked."""
    from bench.data import with_files
    from bench.merging.merge import Place
    from bench.merging.merge import merge as merge_models
    from bench.merging.push import check_push, push
    from bench.models.context import Context
    from bench.show import status
    from results import text

    if private and push_to_hub is None:
        raise BadInput("--private is about the Hub repository: give --push-to-hub NAME too, or leave it out")
    recipe = recipe_of_options(mergekit, method, base, expert, set_)
    recipe = replace(recipe, context=Context(context_length, rope_from))
    recipe = with_files(recipe, data or [])
    if push_to_hub is not None:
        check_push(push_to_hub)
    with status() as progress:
        result = merge_models(recipe, out, Place(place.runs), say=progress)
        pushed = None
        if push_to_hub is not None:
            progress(f"uploading to {push_to_hub}")
            pushed = push(result, push_to_hub, private=private, db=place.database)
    if json:
        show_json({"path": str(result.path), "reused": result.reused, "pushed": pushed, **result.manifest})
        return
    done = "Already there" if result.reused else "Wrote"
    show(
        f"{done} {result.path}: {recipe.label}, {result.manifest['seconds']:.1f} s and "
        f"{result.manifest['statistics_seconds']:.1f} s for statistics, peak memory "
        f"{text.size(result.manifest['peak_bytes'])}."
    )
    if pushed is not None:
        show(f"Pushed to {pushed}.")
