"""Run one case on the real road: checkpoints on disk, statistics in their place, the executor, and what it wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.data import data_needs
from bench.examples import ExampleSet
from bench.merging.merge import Place, merge
from bench.models.checkpoint import Checkpoint
from bench.recipe import Recipe, build_method, build_recipe
from bench.regress.cases import Case, experts_of, on_classifiers
from bench.regress.given import given
from bench.regress.models import FAMILIES, Family
from bench.statistics import plant
from methods.common.contract import Method, Need
from tasks.contract import Example

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Written:
    """One tensor of a result: its safetensors dtype, its shape, and its values in float32, flat."""

    dtype: str
    shape: tuple[int, ...]
    values: Tensor


@dataclass(frozen=True)
class Product:
    """What a case gives: tensors by name, digest of its fixed models, what it asked statistics for, and the unit in
    which differences are told (root mean square of the task vectors)."""

    tensors: dict[str, Written]
    models: str
    needs: list[str]
    scale: float


def family_of(case: Case, method: Method) -> Family:
    """The models of a case."""
    return FAMILIES[case.family or ("classifier" if on_classifiers(method) else "qwen2")]


def produce(name: str, case: Case, folder: Path) -> Product:
    """Merge one case in `folder`, which must be new: nothing stored before is seen."""
    method = build_method(name, case.settings)
    family = family_of(case, method)
    base, experts = family.write(folder / "models")
    specs = _specs(experts[: case.experts or experts_of(method)], case.weights)
    recipe = build_recipe(name, case.settings, str(base), specs)
    recipe = replace(recipe, data=_data(recipe))
    place = Place(folder / "runs")
    plant(recipe, given, folder=place.statistics, memory=place.fingerprints)
    result = Checkpoint(merge(recipe, folder / "merged", place).path)
    needs = [_asked(need) for need in recipe.method.needs()]
    return Product(_tensors(result), family.digest, needs, family.scale)


def _specs(experts: list[Path], weights: tuple[float, ...]) -> list[str]:
    return [
        f"{path}:{weight!r}" if weights else str(path)
        for path, weight in zip(experts, weights or (1.0,) * len(experts), strict=True)
    ]


def _data(recipe: Recipe) -> tuple[ExampleSet, ...]:
    """Examples for a method that needs some: their statistics are given, so that nobody reads them."""
    if not data_needs(recipe.method.needs()):
        return ()
    example = Example("a prompt", "a response", 0)
    return tuple(
        ExampleSet(f"examples {m}", (replace(example, prompt=f"prompt {m}"),))
        for m in range(len(recipe.experts))
    )


def _asked(need: Need) -> str:
    """A need in words: with it changes what a method computes, although the given statistics may not."""
    options = " ".join(f"{key}={value}" for key, value in sorted(need.options.items()))
    asked = f"{need.name}: {need.kind} of {need.of} on {need.data} at {need.scope}, {_list(need.roles)}; {options}"
    return f"{asked} objective={_name(need.objective)}" if need.objective else asked


def _name(function: Callable[..., Any]) -> str:
    """A function's name, with what is bound to it."""
    if isinstance(function, partial):
        return f"{_name(function.func)}{function.args}{function.keywords}"
    return function.__name__


def _list(roles: Iterable[Any]) -> str:
    return "+".join(sorted(str(role) for role in roles))


def _tensors(result: Checkpoint) -> dict[str, Written]:
    return {
        name: Written(stored.dtype, tuple(stored.shape), result.read(name).float().flatten())
        for name, stored in sorted(result.tensors.items())
    }
