"""TIES against its worked examples, the oracle over all of its options, and what must hold for any input."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import GATE, UP, arrays, assert_close, matrix, moved, run, set_block
from tests.methods.toy import BASE, TAUS

# Few distinct magnitudes, zeros among them: ties everywhere, sums that cancel exactly.
COARSE = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]), min_size=7, max_size=7)
PROBLEMS = st.tuples(
    st.lists(COARSE, min_size=1, max_size=4),
    st.sampled_from([0.01, 0.2, 0.29, 0.5, 5 / 7, 0.9, 1.0]),
    st.sampled_from(["mean", "sum"]),
    st.sampled_from(["exact", "kth_inclusive", "quantile"]),
    st.sampled_from(["zero", "positive", "majority"]),
)
Problem = tuple[list[list[float]], float, str, str, str]


@pytest.mark.parametrize(
    ("rule", "aggregate", "expected"),
    [
        ("exact", "mean", [0.375, 0.5625, -0.5, 0, 0.5, 0]),
        ("exact", "sum", [0.75, 1.125, -0.5, 0, 0.5, 0]),
        ("kth_inclusive", "mean", [0.375, 0.5625, -0.5, 0, 0.3125, 0.1875]),
        ("kth_inclusive", "sum", [0.75, 1.125, -0.5, 0, 0.625, 0.1875]),
    ],
)
def test_worked_examples(rule: str, aggregate: str, expected: list[float]) -> None:
    merged = run(
        "ties",
        BASE,
        moved(BASE, *TAUS),
        keep=0.5,
        trim_rule=rule,
        aggregate=aggregate,
        lambda_=1.0,
        zero_sign="zero",
    )
    assert torch.equal(merged[UP] - BASE[UP], torch.tensor([expected]))


@pytest.mark.parametrize(
    ("aggregate", "scale", "expected"),
    [("mean", 1.0, [1.375, -1.4375, 0, 0, 3.5, -1]), ("sum", 0.4, [1.3, -1.55, 0.3, 0, 3.2, -1])],
)
def test_worked_examples_scaled(aggregate: str, scale: float, expected: list[float]) -> None:
    merged = run("ties", BASE, moved(BASE, *TAUS), keep=0.5, aggregate=aggregate, lambda_=scale)
    torch.testing.assert_close(merged[UP], torch.tensor([expected]), atol=1e-6, rtol=0)


OPTIONS = list(itertools.product(["tensor", "block", "model"], ["exact", "kth_inclusive", "quantile"]))


@pytest.mark.parametrize(("scope", "rule"), OPTIONS)
@pytest.mark.parametrize("zero_sign", ["zero", "positive", "majority"])
def test_a_model_agrees_with_the_oracle(scope: str, rule: str, zero_sign: str) -> None:
    base, experts = qwen2_tensors(0), [_rounded(qwen2_tensors(seed)) for seed in (1, 2, 3)]
    base = _rounded(base)
    given: dict[str, Any] = {"keep": 0.37, "scope": scope, "zero_sign": zero_sign}
    aggregate = "sum" if zero_sign == "zero" else "mean"
    weights = [1.0, 1.0, 2.0]
    merged = run(
        "ties", base, experts, weights=weights, lambda_=0.8, trim_rule=rule, aggregate=aggregate, **given
    )
    expected = oracle.ties(
        arrays(base), [arrays(e) for e in experts], weights, lam=0.8, rule=rule, aggregate=aggregate, **given
    )
    assert_close(merged, expected)


@pytest.mark.parametrize("aggregate", ["mean", "sum"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_unrounded_values_and_bfloat16_agree_with_the_oracle(aggregate: str, dtype: torch.dtype) -> None:
    models = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    merged = run("ties", models[0], models[1:], lambda_=1.1, aggregate=aggregate, out_dtype="float32")
    base, *experts = map(arrays, models)
    assert_close(merged, oracle.ties(base, experts, [1.0] * 3, lam=1.1, aggregate=aggregate))


@given(PROBLEMS)
@settings(max_examples=60, deadline=None)
def test_equal_magnitudes_zeros_and_cancelling_sums_agree_with_the_oracle(problem: Problem) -> None:
    rows, keep, aggregate, rule, zero_sign = problem
    base = matrix([0.0] * 7)
    options: dict[str, Any] = {"keep": keep, "aggregate": aggregate, "zero_sign": zero_sign}
    merged = run("ties", base, [matrix(row) for row in rows], lambda_=1.0, trim_rule=rule, **options)
    experts = [arrays(matrix(row)) for row in rows]
    expected = oracle.ties(arrays(base), experts, [1.0] * len(rows), rule=rule, **options)
    assert_close(merged, expected, 1e-6)


@given(PROBLEMS)
@settings(max_examples=20, deadline=None)
def test_order_of_experts_and_sign_of_all_task_vectors(problem: Problem) -> None:
    rows, keep, aggregate, rule, zero_sign = problem
    base = matrix([0.0] * 7)
    options: dict[str, Any] = {"keep": keep, "aggregate": aggregate, "trim_rule": rule}
    merged = run("ties", base, [matrix(row) for row in rows], zero_sign=zero_sign, **options)[UP]
    turned = run("ties", base, [matrix(row) for row in rows[::-1]], zero_sign=zero_sign, **options)[UP]
    torch.testing.assert_close(turned, merged, atol=1e-6, rtol=0)
    if zero_sign != "positive":
        flipped = run(
            "ties", base, [matrix([-x for x in row]) for row in rows], zero_sign=zero_sign, **options
        )
        torch.testing.assert_close(flipped[UP], -merged, atol=1e-6, rtol=0)


def test_model_scope_is_the_computation_on_one_flat_vector() -> None:
    base = {n: t for n, t in qwen2_tensors(0).items()}
    experts = [_rounded(qwen2_tensors(seed)) for seed in (1, 2)]
    merged = run("ties", base, experts, keep=0.3)
    flat = [np.concatenate([(e[n] - base[n]).numpy().ravel() for n in base]) for e in experts]
    found = oracle.ties_vector(
        flat, [1.0, 1.0], keep=0.3, aggregate="mean", rule="exact", zero_sign="majority"
    )
    whole = np.concatenate([base[n].numpy().ravel() for n in base]) + found
    np.testing.assert_allclose(np.concatenate([merged[n].numpy().ravel() for n in base]), whole, atol=2e-6)


@pytest.mark.parametrize(("scope", "rule"), OPTIONS)
def test_the_size_of_blocks_changes_nothing(scope: str, rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Entries of equal magnitude on both sides of where a run ends."""
    base, *experts = [_rounded({UP: wide(seed), GATE: wide(seed + 9)}) for seed in range(3)]
    whole = run("ties", base, experts, keep=0.3, scope=scope, trim_rule=rule)
    set_block(monkeypatch, 1 << 16)
    pieces = run("ties", base, experts, keep=0.3, scope=scope, trim_rule=rule)
    assert all(torch.equal(pieces[name], whole[name]) for name in base)


def test_one_expert_keep_1_returns_the_expert_and_lambda_0_the_base() -> None:
    expert = moved(BASE, TAUS[1])
    assert torch.equal(run("ties", BASE, expert, keep=1.0)[UP], expert[0][UP])
    assert torch.equal(run("ties", BASE, expert, lambda_=0.0)[UP], BASE[UP])


def test_identical_experts_keep_1_return_the_expert() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    assert_close(run("ties", base, [expert] * 3, keep=1.0), arrays(expert))


def test_exact_keeps_the_lowest_index_of_equal_entries_across_tensors_in_file_order() -> None:
    base = {GATE: torch.zeros(1, 4), UP: torch.zeros(1, 4)}
    merged = run("ties", base, [{name: torch.ones(1, 4) for name in base}], keep=0.75, scope="model")
    assert merged[GATE].tolist() == [[1, 1, 1, 1]] and merged[UP].tolist() == [[1, 1, 0, 0]]


def test_the_majority_sign_settles_sums_of_zero() -> None:
    base = matrix([0.0] * 4)
    experts = [matrix([1.0, 1, 1, 1]), matrix([-1.0, 1, 1, -1])]
    found = {sign: run("ties", base, experts, keep=1.0, zero_sign=sign)[UP].tolist()[0] for sign in SIGNS}
    assert found == {"zero": [0, 1, 1, 0], "positive": [1, 1, 1, 1], "majority": [1, 1, 1, 1]}
    minus = run("ties", base, [matrix([1.0, -1, -1, 1]), matrix([-1.0] * 4)], keep=1.0)[UP]
    assert minus.tolist() == [[-1, -1, -1, -1]]


SIGNS = ("zero", "positive", "majority")


def test_an_odd_keep_is_counted_as_the_original_code_counts() -> None:
    """0.29 * 100 is 28.999...: exact keeps 29; the original truncates to 28 and keeps one more."""
    base, expert = matrix(torch.zeros(100)), matrix(torch.arange(1.0, 101))
    for rule, count in (("exact", 29), ("kth_inclusive", 29)):
        merged = run("ties", base, [expert], keep=0.29, trim_rule=rule)
        assert int((merged[UP] != 0).sum()) == count, rule


def wide(seed: int) -> torch.Tensor:
    """A matrix longer than two runs of 65,536 elements."""
    return torch.randn((5, 30_001), generator=torch.Generator().manual_seed(seed))


def _rounded(tensors: Tensors) -> Tensors:
    """To a coarse grid: equal magnitudes, zeros and sums that cancel become common."""
    return {name: (tensor * 8).round() / 8 for name, tensor in tensors.items()}
