"""Task Arithmetic against its worked examples, the oracle, and what must hold for any input."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import QWEN2, Tensors, qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run, set_block
from tests.methods.toy import BASE, TAU, TAUS

PROBLEMS = st.tuples(st.integers(0, 10_000), st.integers(1, 4), st.floats(-2, 2, allow_nan=False))


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (0.4, [1.25, -1.65, 0.45, 0, 3.1, -0.925]),
        (1 / 3, [1.208333, -1.708333, 0.458333, 0, 3.083333, -0.9375]),
    ],
)
def test_worked_examples(scale: float, expected: list[float]) -> None:
    merged = run("task_arithmetic", BASE, moved(BASE, *TAUS), lambda_=scale)
    torch.testing.assert_close(merged[UP], torch.tensor([expected]), atol=1e-6, rtol=0)


def test_lambda_1_with_one_expert_returns_the_expert_exactly() -> None:
    expert = moved(BASE, TAUS[0])
    assert torch.equal(run("task_arithmetic", BASE, expert, lambda_=1.0)[UP], expert[0][UP])


def test_weights_scale_each_task_vector_and_normalize_divides_by_their_sum() -> None:
    experts = moved(BASE, *TAUS)
    weighted = run("task_arithmetic", BASE, experts, weights=[2, -0.5, 1], lambda_=0.5)
    change = 0.5 * (2 * TAU[0] - 0.5 * TAU[1] + TAU[2])
    torch.testing.assert_close(weighted[UP], BASE[UP] + change, atol=1e-6, rtol=0)
    normalized = run("task_arithmetic", BASE, experts, weights=[2, -0.5, 1], lambda_=0.5, normalize=True)
    torch.testing.assert_close(normalized[UP], BASE[UP] + change / 2.5, atol=1e-6, rtol=0)


@pytest.mark.parametrize("experts", [1, 3])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_agrees_with_the_oracle(experts: int, dtype: torch.dtype) -> None:
    base = _as(qwen2_tensors(0), dtype)
    others = [_as(qwen2_tensors(seed), dtype) for seed in range(1, experts + 1)]
    weights = [1.0, 0.3, -0.7][:experts]
    merged = run("task_arithmetic", base, others, weights=weights, lambda_=0.37, out_dtype="float32")
    assert_close(merged, oracle.task_arithmetic(arrays(base), [arrays(o) for o in others], weights, lam=0.37))


@given(PROBLEMS)
@settings(max_examples=25, deadline=None)
def test_any_problem_agrees_with_the_oracle_and_the_order_of_experts_is_free(
    problem: tuple[int, int, float],
) -> None:
    seed, count, scale = problem
    base, *experts = (matrix(_random(seed + i)) for i in range(count + 1))
    weights = [0.5 + i for i in range(count)]
    merged = run("task_arithmetic", base, experts, weights=weights, lambda_=scale)
    expected = oracle.task_arithmetic(arrays(base), [arrays(e) for e in experts], weights, lam=scale)
    assert_close(merged, expected, 5e-6)
    reverse = run("task_arithmetic", base, experts[::-1], weights=weights[::-1], lambda_=scale)
    torch.testing.assert_close(reverse[UP], merged[UP], atol=5e-6, rtol=0)


@given(st.integers(0, 10_000))
@settings(max_examples=10, deadline=None)
def test_flipping_the_task_vectors_flips_the_change_exactly(seed: int) -> None:
    zero, delta = matrix(torch.zeros(11)), matrix(_random(seed))
    forth = run("task_arithmetic", zero, moved(zero, delta), lambda_=0.3)[UP]
    back = run("task_arithmetic", zero, moved(zero, {UP: -delta[UP]}), lambda_=0.3)[UP]
    assert torch.equal(forth, -back)


def test_lambda_0_returns_every_tensor_of_the_base_bit_for_bit() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    merged = run("task_arithmetic", base, [expert], lambda_=0)
    assert all(torch.equal(merged[name], base[name]) for name in base)
    assert len(base) == 27 and QWEN2["num_hidden_layers"] == 2


def test_identical_experts_with_lambda_1_over_m_return_the_expert() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    merged = run("task_arithmetic", base, [expert] * 4, lambda_=0.25)
    assert_close(merged, arrays(expert))


@pytest.mark.parametrize("block", [1 << 16, 1 << 17])
def test_the_size_of_blocks_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    base, expert = matrix(_random(1, 150_001)), matrix(_random(2, 150_001))
    whole = run("task_arithmetic", base, [expert], lambda_=0.37)
    set_block(monkeypatch, block)
    assert torch.equal(run("task_arithmetic", base, [expert], lambda_=0.37)[UP], whole[UP])


def _random(seed: int, n: int = 11) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))


def _as(tensors: Tensors, dtype: torch.dtype) -> Tensors:
    return {name: tensor.to(dtype) for name, tensor in tensors.items()}
