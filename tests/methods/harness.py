"""Run a method through the real executor on real checkpoints of any tensors; statistics may be planted.

A planted statistic lies where the executor keeps what it computed before, under the identity that it asks
for, so that a test chooses Fisher and inputs freely and everything else is the program itself.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.alignment.align import align
from bench.data import data_needs
from bench.examples import ExampleSet
from bench.merging.job import Job
from bench.merging.merge import MergeResult, Place, merge
from bench.recipe import Recipe, build_method, build_recipe
from bench.statistics import Subject, subjects
from bench.statistics import plant as plant_all
from methods.common.contract import Method, Piece, Seen, Unit
from methods.common.order_statistics import OrderStatistics
from methods.common.selection import Selection
from tasks.contract import Example
from tests.helpers.checkpoints import Tensors, tensors_of, write_checkpoint

UP = "model.layers.0.mlp.up_proj.weight"
GATE = "model.layers.0.mlp.gate_proj.weight"
EMBEDDING = "model.embed_tokens.weight"
CLASSIFIER: dict[str, Any] = {"architectures": ["Qwen2ForSequenceClassification"]}

Planted = Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]]


def run(
    method: str,
    base: Mapping[str, Tensor],
    experts: Sequence[Mapping[str, Tensor]],
    *,
    weights: Sequence[float] | None = None,
    statistics: Mapping[str, Planted] | None = None,
    **settings: Any,
) -> Tensors:
    """Merge tensors and return what was written. `statistics` maps a need's name to what `plant` takes."""
    return run_whole(method, base, experts, weights=weights, statistics=statistics, **settings)[0]


def run_whole(
    method: str,
    base: Mapping[str, Tensor],
    experts: Sequence[Mapping[str, Tensor]],
    *,
    weights: Sequence[float] | None = None,
    statistics: Mapping[str, Planted] | None = None,
    **settings: Any,
) -> tuple[Tensors, dict[str, Any]]:
    """The same, with the manifest."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        public = {key.rstrip("_"): value for key, value in settings.items()}
        # Coefficients are optimised for classifiers only; what is planted asks for nothing else of one.
        needs = build_method(method, public).needs()
        config: dict[str, Any] = CLASSIFIER if any(need.kind == "optimised" for need in needs) else {}
        if EMBEDDING in base:
            config = {**config, "hidden_size": base[EMBEDDING].shape[1]}
        # A few single tensors lack a head, which is allowed where the embedding is said to be one.
        config = {**config, "tie_word_embeddings": "lm_head.weight" not in base}
        write_checkpoint(folder / "base", base, **config)
        specs = []
        for i, expert in enumerate(experts):
            weight = f":{weights[i]}" if weights else ""
            specs.append(f"{write_checkpoint(folder / f'expert{i}', expert, **config)}{weight}")
        recipe = build_recipe(method, public, str(folder / "base"), specs)
        recipe = replace(recipe, data=some_data(recipe.method, len(specs)))
        place = Place(folder / "runs")
        plant(recipe, place, statistics or {})
        result: MergeResult = merge(recipe, folder / "out", place)
        return tensors_of(result.path), result.manifest


def plant(recipe: Recipe, place: Place, statistics: Mapping[str, Planted]) -> None:
    """Put statistics where the executor looks for those it has computed already.

    A need's name maps to the tensors of every subject in order, or to those that all its subjects share: by
    tensor name, or by group ("block 0", "model", a tensor's name) for a need with a scope.
    """

    def of(subject: Subject) -> Mapping[str, Tensor]:
        given = statistics[subject.need.name]
        return given if isinstance(given, Mapping) else given[subject.expert or 0]

    targets = align(recipe).targets
    for need in recipe.method.needs():
        given, count = statistics[need.name], len(subjects(need, recipe, targets))
        assert isinstance(given, Mapping) or len(given) == count, f"{need.name} has {count} subjects"
    plant_all(recipe, of, folder=place.statistics, memory=place.fingerprints)


def set_block(monkeypatch: pytest.MonkeyPatch, block: int) -> None:
    """Merge in runs of `block` elements (a multiple of 65,536) from now on."""
    monkeypatch.setattr("bench.merging.merge.Job", partial(Job, block=block))


def searched(wanted: Selection | OrderStatistics, pieces: Sequence[Piece]) -> Seen:
    """What the executor does with passes: every piece is observed, what is learnt is combined by scope."""
    seen = Seen()
    for one in wanted.passes():
        totals: dict[str, object] = {}
        for piece in pieces:
            key, found = piece.info.key(one.scope), one.observe(Unit("unit", {"weight": piece}), seen)
            totals[key] = one.combine(totals[key], found) if key in totals else found
        for key, total in totals.items():
            seen.put(one, key, one.finish(total, seen, key))
    return seen


def some_data(method: Method, experts: int) -> tuple[ExampleSet, ...]:
    """An example set per expert for a method that needs data, whose statistics are planted; none for others."""
    if not data_needs(method.needs()):
        return ()
    example = Example("a prompt", "a response", 0)
    return tuple(ExampleSet(f"data {m}", (replace(example, prompt=f"prompt {m}"),)) for m in range(experts))


def matrix(values: Sequence[float] | Tensor, name: str = UP) -> Tensors:
    """One matrix in a block, [1, n]."""
    return {name: torch.as_tensor(values, dtype=torch.float32).reshape(1, -1)}


def moved(base: Mapping[str, Tensor], *deltas: Mapping[str, Tensor]) -> list[Tensors]:
    """Experts: the base plus each task vector."""
    return [{name: base[name] + delta[name] for name in base} for delta in deltas]


def arrays(tensors: Mapping[str, Tensor]) -> dict[str, NDArray[np.float32]]:
    """A model as the oracle takes it: float32 arrays in the order of a safetensors file, by name."""
    return {name: tensor.float().numpy() for name, tensor in sorted(tensors.items())}


def assert_close(
    merged: Mapping[str, Tensor], expected: Mapping[str, NDArray[Any]], atol: float = 2e-6
) -> None:
    """The same tensors, each entry within `atol`."""
    assert set(merged) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(merged[name].float().numpy(), values, atol=atol, rtol=0, err_msg=name)
