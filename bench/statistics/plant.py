"""Put given statistics where computed ones lie, under the identities that a recipe asks for.

Everything but their values is then the program itself: what a method makes of statistics can be checked without
models that run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bench.alignment.align import align
from bench.recipe import Recipe
from bench.statistics.store import Computed, save
from bench.statistics.subject import Subject, statistic_id, subjects

if TYPE_CHECKING:
    from torch import Tensor


def plant(
    recipe: Recipe, given: Callable[[Subject], Mapping[str, Tensor]], *, folder: Path, memory: Path
) -> None:
    """Store `given(subject)` for every subject of every need of the recipe's method.

    It returns tensors by parameter name, or by group ("block 0", "model", ...) for a need with a scope. `folder`
    holds statistics, `memory` is the file of remembered fingerprints.
    """
    targets = align(recipe).targets
    folder.mkdir(parents=True, exist_ok=True)
    for need in recipe.method.needs():
        for subject in subjects(need, recipe, targets):
            identity = statistic_id(subject, memory)
            shutil.rmtree(folder / identity, ignore_errors=True)
            record = {"id": identity, "need": need.name, "kind": need.kind, "planted": True, "seconds": 0.0}
            save(folder / identity, Computed(dict(given(subject))), record)
