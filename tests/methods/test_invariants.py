"""What must hold for every method, whatever its arithmetic: order of experts, identical experts, scale 0, signs.

The table says for every method which options an invariant holds under, or why it does not hold.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from bench.recipe import method_names
from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods.harness import assert_close, run, set_block
from tests.methods.planted import statistics

Options = dict[str, Any]
NO_LAMBDA = "it has no scale"
COEFFICIENTS = "its coefficients do not sum to 1"


class Row(NamedTuple):
    """Options, or several sets of them, under which an invariant holds; or why there are none."""

    permuted: str | list[Options]  # another order of the experts changes nothing
    identical: str | list[Options]  # copies of one expert give that expert
    still: str | list[Options]  # scale 0 gives the base, up to the sign of zero
    flipped: str | list[Options]  # task vectors of the other sign give a merged one of the other sign


TIES: list[Options] = [{}, {"aggregate": "sum", "scope": "tensor", "zero_sign": "zero"}]
DRIFT: list[Options] = [{}, {"zeros": "exclude", "median_rule": "min_magnitude", "select": "above_mean"}]
ACM = [{"lambda_": 0.7}]

TABLE = {
    "acm_ta": Row(ACM, COEFFICIENTS, [{"lambda_": 0}], ACM),
    "acm_ties": Row(ACM, COEFFICIENTS, [{"lambda_": 0}], ACM),
    "adamerging": Row([{}, {"granularity": "task"}], COEFFICIENTS, NO_LAMBDA, [{}]),
    "aim": Row(
        [{"inner": "ties"}],
        [{"inner": "task_arithmetic lambda=0.3333333333", "omega": 1}],
        [{"inner": "task_arithmetic lambda=0"}, {"inner": "ties lambda=0"}],
        [{"inner": "ties"}],
    ),
    "average": Row([{}], [{}], NO_LAMBDA, [{}, {"include_base": True}]),
    "dare": Row(
        [{}],
        [{"drop_rate": 0, "lambda_": 1 / 3}],
        [{"lambda_": 0}],
        [{"drop_rate": 0}],  # otherwise other weights draw other masks
    ),
    "dare_ties": Row([{}], [{"drop_rate": 0, "lambda_": 1, "keep": 1}], [{"lambda_": 0}], [{"drop_rate": 0}]),
    "drift_median": Row(
        [*DRIFT, {"normalize_fisher": "l2"}, {"order": "select_then_sign", "weights_": "uniform"}],
        [{"lambda_": 1}, {"lambda_": 1, "aggregate": "fisher_mean"}, {"lambda_": 1, "sign": False}],
        [{"lambda_": 0}],
        [*DRIFT, {"sign": False, "select": "all"}, {"aggregate": "fisher_mean"}],
    ),
    "fim_ta": Row([{}, {"expert_alpha": "own"}], COEFFICIENTS, NO_LAMBDA, [{}]),
    "fim_ties": Row([{}], COEFFICIENTS, NO_LAMBDA, [{"calibration": "off"}]),
    "fisher": Row(
        [{}, {"normalize_fisher": "l2"}], [{}], NO_LAMBDA, [{}, {"floor_rule": "max", "floor": 0.01}]
    ),
    "localize_and_stitch": Row([{}], [{"keep": 1}], NO_LAMBDA, [{}, {"overlap": "mergebench"}]),
    "model_stock": Row(
        [{}, {"granularity": "row"}], [{}], NO_LAMBDA, [{}, {"average": "angle", "clamp": False}]
    ),
    "pcb": Row(
        [{"clip": 0, "keep": 0.4}],
        "the entries with the lowest score are dropped",
        [{"lambda_": 0}],
        [{"clip": 0, "keep": 0.4}],
    ),
    "regmean": Row([{}], [{}], NO_LAMBDA, [{}]),
    "sce": Row([{}, {"keep": 0.4}], [{}], NO_LAMBDA, [{}, {"keep": 0.4}]),
    "sens": Row([{}], [{"lambda_": 1 / 3}], [{"lambda_": 0}], [{}]),
    "slerp": Row([{}, {"granularity": "row"}], [{}], NO_LAMBDA, [{"on": "deltas"}]),
    "task_arithmetic": Row([{}], [{"lambda_": 1 / 3}], [{"lambda_": 0}], [{}]),
    "ties": Row(TIES, [{"keep": 1}], [{"lambda_": 0}], TIES),
}


def test_the_table_names_every_method() -> None:
    assert sorted(TABLE) == method_names()


def cases(invariant: str) -> list[Any]:
    """Every (method, options) under which an invariant holds."""
    return [
        pytest.param(method, options, id=" ".join([method, *(f"{k}={v}" for k, v in options.items())]))
        for method, row in TABLE.items()
        if not isinstance(getattr(row, invariant), str)
        for options in getattr(row, invariant)
    ]


def experts_of(method: str) -> list[Tensors]:
    """Three experts, two where a method takes no more."""
    return [qwen2_tensors(seed) for seed in range(1, 3 if method == "slerp" else 4)]


def merge(method: str, base: Tensors, experts: list[Tensors], order: list[int], options: Options) -> Tensors:
    """Merge the experts in an order, their statistics with them."""
    planted = statistics(method, options, order)
    return run(method, base, [experts[m] for m in order], statistics=planted, **options)


@pytest.mark.parametrize(("method", "options"), cases("permuted"))
def test_the_order_of_experts_does_not_count(method: str, options: Options) -> None:
    base, experts = qwen2_tensors(0), experts_of(method)
    order = list(range(len(experts)))
    merged = merge(method, base, experts, order, options)
    assert any(not torch.equal(merged[name], base[name]) for name in base)
    turned = merge(method, base, experts, order[1:] + order[:1], options)
    assert_close(turned, {name: t.numpy() for name, t in merged.items()}, 3e-6)


@pytest.mark.parametrize(("method", "options"), cases("identical"))
def test_identical_experts_give_that_expert(method: str, options: Options) -> None:
    """With statistics of their own: data may differ where weights do not."""
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    count = len(experts_of(method))
    merged = merge(method, base, [expert] * count, list(range(count)), options)
    assert_close(merged, {name: t.numpy() for name, t in expert.items()}, 3e-6)


@pytest.mark.parametrize(("method", "options"), cases("still"))
def test_scale_0_gives_the_base(method: str, options: Options) -> None:
    base, experts = qwen2_tensors(0), experts_of(method)
    merged = merge(method, base, experts, list(range(len(experts))), options)
    assert all(torch.equal(merged[name], base[name]) for name in base), (
        "equal counts zeros of both signs as equal"
    )


@pytest.mark.parametrize(("method", "options"), cases("flipped"))
def test_flipped_task_vectors_flip_the_merged_one(method: str, options: Options) -> None:
    """Weights on a grid, so that base + tau and base - tau have exactly opposite task vectors, and no sum is 0."""
    base, *experts = [_on_grid(model) for model in (qwen2_tensors(0), *experts_of(method))]
    mirrored = [{name: 2 * base[name] - expert[name] for name in base} for expert in experts]
    order = list(range(len(experts)))
    merged = merge(method, base, experts, order, options)
    turned = merge(method, base, mirrored, order, options)
    for name in base:
        change, back = merged[name] - base[name], turned[name] - base[name]
        np.testing.assert_allclose(back.numpy(), -change.numpy(), atol=4e-6, err_msg=name)
    assert any((merged[name] != base[name]).any() for name in base)


LONGER: Options = {"hidden_size": 256, "intermediate_size": 300, "num_hidden_layers": 1}


@pytest.mark.parametrize("method", TABLE)
def test_runs_of_another_size_give_the_same_bits(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrices of 76,800 elements in one run, and in two."""
    options = TABLE[method].permuted[-1]
    assert isinstance(options, dict)
    base, *experts = [qwen2_tensors(seed, **LONGER) for seed in range(len(experts_of(method)) + 1)]
    planted = statistics(method, options, range(len(experts)), **LONGER)
    whole = run(method, base, experts, statistics=planted, **options)
    set_block(monkeypatch, 1 << 16)
    parts = run(method, base, experts, statistics=planted, **options)
    assert all(torch.equal(parts[name], whole[name]) for name in base)


def _on_grid(model: Tensors) -> Tensors:
    return {name: (t * 2**20).round() / 2**20 for name, t in model.items()}
