"""The one merge that the options of `bench merge` and `bench plan` mean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.errors import BadInput

if TYPE_CHECKING:
    from bench.models.checkpoint import Checkpoint
    from bench.recipe import Recipe


def recipe_of_options(
    mergekit: Path | None,
    method: str | None,
    base: str | None,
    expert: list[str] | None,
    set_: list[str] | None,
    *,
    suite: str = "",
    opener: Callable[[str], Checkpoint] | None = None,
) -> Recipe:
    """A mergekit YAML, or a method with a base and experts; `opener` opens the models."""
    from bench.choice import settings_of
    from bench.mergekit import recipe_of
    from bench.models.checkpoint import open_checkpoint
    from bench.recipe import build_recipe, parse_settings

    settings, opener = parse_settings(set_ or []), opener or open_checkpoint
    if mergekit is not None:
        if method or base or expert:
            raise BadInput("--mergekit says what to merge: leave out --method, --base and --expert")
        return recipe_of(mergekit, settings, opener=opener)
    if not method or not base or not expert:
        raise BadInput("give --method, --base and at least one --expert, or --mergekit FILE")
    name, settings = settings_of(method, settings, suite)
    return build_recipe(name, settings, base, expert, opener=opener)
