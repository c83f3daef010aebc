"""AdaMerging: its objective against hand values and finite differences, and the merge that its coefficients make."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.recipe import build_method
from methods.adamerging import AdaMerging, entropy_of_mean, mean_entropy
from methods.common.contract import Method
from tests.helpers.checkpoints import qwen2_tensors
from tests.methods.harness import arrays, assert_close, run


def test_the_worked_gradient_and_the_first_step_of_adam() -> None:
    coefficients = torch.tensor([0.3, 0.1], requires_grad=True)
    loss = mean_entropy(coefficients[None])
    assert loss.item() == pytest.approx(0.688172, abs=1e-6)
    optimiser = torch.optim.Adam([coefficients], lr=1e-3)
    loss.backward()
    assert coefficients.grad is not None
    np.testing.assert_allclose(coefficients.grad.numpy(), [-0.049503, 0.049503], atol=1e-6)
    optimiser.step()
    np.testing.assert_allclose(coefficients.detach().numpy(), [0.301, 0.099], atol=1e-6)


def test_equal_logits_are_the_maximum_where_the_gradient_vanishes() -> None:
    coefficients = torch.tensor([[0.3, 0.3, 0.3]], requires_grad=True)
    loss = mean_entropy(coefficients)
    loss.backward()
    assert loss.item() == pytest.approx(math.log(3), abs=1e-6)
    assert coefficients.grad is not None and float(coefficients.grad.abs().max()) < 1e-7


LOGITS = st.lists(st.lists(st.floats(-30, 30), min_size=3, max_size=3), min_size=1, max_size=5)


@given(LOGITS)
@settings(max_examples=40, deadline=None)
def test_entropies_are_those_of_the_definition(rows: list[list[float]]) -> None:
    logits = torch.tensor(rows, dtype=torch.float64)
    entropies = [_entropy(row) for row in rows]
    assert float(mean_entropy(logits)) == pytest.approx(float(np.mean(entropies)), abs=1e-9)
    assert float(entropy_of_mean(logits)) == pytest.approx(_entropy(np.mean(rows, axis=0)), abs=1e-9)


def test_the_two_objectives_differ_where_inputs_disagree() -> None:
    """Two sure and opposite predictions: no entropy of each, but the mean is undecided."""
    logits = torch.tensor([[9.0, -9], [-9, 9]])
    assert float(mean_entropy(logits)) < 1e-6
    assert float(entropy_of_mean(logits)) == pytest.approx(math.log(2), abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("granularity", ["task", "layer"])
def test_a_model_agrees_with_the_formula(granularity: str, dtype: torch.dtype) -> None:
    base, *experts = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    rng = np.random.default_rng(1)
    keys = ["model"] if granularity == "task" else sorted(base)
    table = {key: rng.uniform(-0.2, 1, 3).astype(np.float32) for key in keys}
    merged = run(
        "adamerging",
        base,
        experts,
        granularity=granularity,
        out_dtype="float32",
        statistics={"coefficients": {key: torch.from_numpy(row) for key, row in table.items()}},
    )
    expected = {}
    for name, own in arrays(base).items():
        row = table["model" if granularity == "task" else name].astype(np.float64)
        expected[name] = own + sum(
            c * (arrays(e)[name].astype(np.float64) - own) for c, e in zip(row, experts, strict=True)
        )
    assert_close(merged, expected)


def test_its_need_states_scope_objective_and_every_option() -> None:
    task, layer = (build_method("adamerging", {"granularity": g}) for g in ("task", "layer"))
    ((one,), (many,)) = (task.needs(), layer.needs())
    assert (one.scope, many.scope) == ("model", "tensor")
    assert one.objective is mean_entropy and one.data == "all" and not one.per_expert
    (other,) = AdaMerging(entropy_of="batch_mean", steps=7).needs()
    assert other.objective is entropy_of_mean and other.options["steps"] == 7
    own = set(AdaMerging.model_fields) - set(Method.model_fields)
    assert set(one.options) == own - {"granularity", "entropy_of"}


def _entropy(row: Any) -> float:
    """-sum p log p by the definition."""
    shifted = np.exp(np.asarray(row, np.float64) - np.max(row))
    p = shifted / shifted.sum()
    return float(-sum(x * math.log(x) for x in p if x > 0))
