"""Optimised coefficients: the worked first Adam step, and the loop on real classifiers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForSequenceClassification

from bench.statistics.kinds import options_of
from bench.statistics.optimise import minimise
from tests.bench.statistics.small import LABELLED, computed, family, need, tensors


def entropy(logits: Tensor) -> Tensor:
    """Mean entropy of the examples' predictions."""
    logs = logits.log_softmax(-1)
    return -(logs.exp() * logs).sum(-1).mean()


def quarrel(logits: Tensor) -> Tensor:
    """Another objective."""
    return -entropy(logits)


def coefficients(scope: str, **options: Any) -> Any:
    return need("optimised", "base", scope=scope, data="all", objective=entropy, **options)


def toy(start: list[float], steps: int, **options: Any) -> list[float]:
    """Minimise the entropy of logits that are the coefficients themselves."""
    found = minimise(
        lambda given: entropy(given["model"][None]),
        {"model": torch.tensor(start)},
        options_of(coefficients("model", **options)),
        iter(range(steps)),
    )
    return found["model"].tolist()


def test_worked_first_step_of_adam() -> None:
    assert toy([0.3, 0.1], 1) == pytest.approx([0.301, 0.099], abs=1e-6)


def test_the_maximum_of_the_entropy_has_no_gradient() -> None:
    assert toy([0.3, 0.3], 5) == pytest.approx([0.3, 0.3], abs=1e-7)


def test_coefficients_stay_within_0_and_1_when_clamped() -> None:
    assert toy([0.5, 0.4], 400, learning_rate=0.05) == [1.0, 0.0]
    free = toy([0.5, 0.4], 400, learning_rate=0.05, clamp=False)
    assert free[0] > 1 and free[1] < 0


def test_no_steps_give_the_start_and_task_wise_has_one_coefficient_per_expert(tmp_path: Path) -> None:
    recipe = family(tmp_path, "gpt2 classifier", 2)
    (found,) = computed(tmp_path, recipe, coefficients("model", steps=0, initial=0.4))
    assert tensors(found)["model"].tolist() == pytest.approx([0.4, 0.4])
    (layers,) = computed(tmp_path, recipe, coefficients("tensor", steps=1, learning_rate=0.1))
    assert set(layers.tensors) == {name for name in recipe.base.tensors if "score" not in name}
    values = torch.stack(list(tensors(layers).values()))
    assert values.shape[1] == 2 and ((values - 0.3).abs() <= 0.1001).all() and (values != 0.3).any()


def merged_entropy(recipe: Any, lambdas: list[float]) -> float:
    """Sum over tasks of the mean entropy at theta_0 + sum_m lambda_m tau_m, one text at a time."""
    from transformers import AutoTokenizer

    load = AutoModelForSequenceClassification.from_pretrained
    base = dict(load(recipe.base.path).named_parameters())
    experts = [load(expert.path) for expert in recipe.experts]
    taus = [{n: p.detach() - base[n].detach() for n, p in e.named_parameters()} for e in experts]
    total = 0.0
    for j, model in enumerate(experts):
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "score" not in name:
                    parameter.copy_(base[name] + sum(w * t[name] for w, t in zip(lambdas, taus, strict=True)))
            tokens = AutoTokenizer.from_pretrained(recipe.experts[j].path)
            values = [entropy(model(torch.tensor([tokens(e.prompt)["input_ids"]])).logits) for e in LABELLED]
        total += float(torch.stack(values).mean())
    return total


def test_the_loop_descends_the_entropy_of_the_merged_classifiers(tmp_path: Path) -> None:
    """One step of batch 5 (all inputs) moves each coefficient against the gradient found by differences."""
    recipe = family(tmp_path, "gpt2 classifier", 2)
    (one,) = computed(tmp_path, recipe, coefficients("model", steps=1, batch=5, learning_rate=0.01))
    moved = tensors(one)["model"] - 0.3
    slopes = []
    for m in range(2):
        up, down = [0.3, 0.3], [0.3, 0.3]
        up[m], down[m] = 0.31, 0.29
        slopes.append(merged_entropy(recipe, up) - merged_entropy(recipe, down))
    assert [float(x) for x in moved] == pytest.approx([-0.01 if s > 0 else 0.01 for s in slopes], abs=1e-5)
    (many,) = computed(tmp_path, recipe, coefficients("model", steps=10, batch=5, learning_rate=0.01))
    assert merged_entropy(recipe, tensors(many)["model"].tolist()) < merged_entropy(recipe, [0.3, 0.3])


def test_another_objective_is_another_statistic(tmp_path: Path) -> None:
    recipe = family(tmp_path, "gpt2 classifier", 2)
    wanted = coefficients("model", steps=2)
    (first,) = computed(tmp_path, recipe, wanted)
    (second,) = computed(tmp_path, recipe, replace(wanted, objective=quarrel))
    assert first.id != second.id and (tensors(first)["model"] != tensors(second)["model"]).any()
