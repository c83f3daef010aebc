"""DARE and DARE-TIES. A mask is learnt from one merge (what moved was kept) and must explain every other one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from bench.errors import BadInput
from methods.common import kernels
from methods.common.draws import DRAWS, stream_key
from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run
from tests.methods.toy import BASE, TAUS

N = 40_000


def masks(base: Tensors, experts: Sequence[Tensors], **settings: Any) -> list[dict[str, NDArray[np.bool_]]]:
    """What DARE keeps of each expert, learnt from merges of one expert at a time with nothing rescaled."""
    found = []
    for expert in experts:
        alone = run("dare", base, [expert], lambda_=1.0, rescale="none", **settings)
        found.append({name: (alone[name] != base[name]).numpy() for name in base})
    return found


def sparse(
    base: Tensors, experts: Sequence[Tensors], drop_rate: float, rescale: str
) -> list[dict[str, NDArray[Any]]]:
    """Task vectors after drop and rescale, in plain NumPy, from the masks that were learnt."""
    kept = masks(base, experts, drop_rate=drop_rate)
    deltas = oracle.task_vectors(arrays(base), [arrays(expert) for expert in experts])
    found = []
    for mask, delta in zip(kept, deltas, strict=True):
        left = {name: delta[name] * mask[name] for name in delta}
        factor = {
            name: {
                "none": 1.0,
                "inverse": 1 / (1 - drop_rate),
                "l1": np.abs(delta[name]).sum() / max(np.abs(left[name]).sum(), 1e-30)
                if left[name].any()
                else 1.0,
            }[rescale]
            for name in delta
        }
        found.append({name: left[name] * factor[name] for name in delta})
    return found


@pytest.mark.parametrize("rescale", ["inverse", "l1", "none"])
def test_linear_agrees_with_numpy_given_the_masks(rescale: str) -> None:
    base, *experts = (qwen2_tensors(seed) for seed in range(4))
    weights = [1.0, -0.5, 2.0]
    merged = run("dare", base, experts, weights=weights, drop_rate=0.6, lambda_=0.7, rescale=rescale)
    parts = sparse(base, experts, 0.6, rescale)
    expected = {
        name: array
        + 0.7 * sum(w * part[name].astype(np.float64) for w, part in zip(weights, parts, strict=True))
        for name, array in arrays(base).items()
    }
    assert_close(merged, expected, 5e-6)


@pytest.mark.parametrize(
    ("rescale", "keep", "scope", "aggregate"),
    [
        ("inverse", 1.0, "model", "mean"),
        ("inverse", 0.2, "model", "sum"),
        ("l1", 0.3, "tensor", "mean"),
        ("none", 0.15, "block", "sum"),
    ],
)
def test_ties_on_the_sparse_vectors_agrees_with_the_oracle(
    rescale: str, keep: float, scope: str, aggregate: str
) -> None:
    base, *experts = (qwen2_tensors(seed) for seed in range(4))
    options: dict[str, Any] = {"keep": keep, "scope": scope, "aggregate": aggregate}
    merged = run("dare_ties", base, experts, drop_rate=0.5, lambda_=0.9, rescale=rescale, **options)
    origin = arrays(base)
    moved_by = [{n: origin[n] + part[n] for n in origin} for part in sparse(base, experts, 0.5, rescale)]
    assert_close(merged, oracle.ties(origin, moved_by, [1.0] * 3, lam=0.9, **options), 5e-6)


def test_drop_rate_0_is_task_arithmetic_and_ties() -> None:
    experts = moved(BASE, *TAUS)
    plain = run("task_arithmetic", BASE, experts, lambda_=0.4)[UP]
    assert torch.equal(run("dare", BASE, experts, drop_rate=0.0, lambda_=0.4)[UP], plain)
    trimmed = run("ties", BASE, experts, keep=0.5)[UP]
    assert torch.equal(run("dare_ties", BASE, experts, drop_rate=0.0, keep=0.5)[UP], trimmed)


def test_the_share_dropped_is_right_and_the_rest_is_rescaled() -> None:
    base, expert = matrix([0.0] * N), matrix([1.0] * N)
    merged = run("dare", base, [expert], drop_rate=0.9, lambda_=1.0)[UP]
    kept = float((merged != 0).double().mean())
    assert abs(kept - 0.1) < 4 * (0.1 * 0.9 / N) ** 0.5
    torch.testing.assert_close(merged[merged != 0], torch.full((int((merged != 0).sum()),), 10.0))


def test_the_mean_over_seeds_is_the_task_vector() -> None:
    tau = torch.randn(1, 500, generator=torch.Generator().manual_seed(1))
    base, expert = matrix([0.0] * 500), matrix(tau)
    runs = [run("dare", base, [expert], drop_rate=0.5, lambda_=1.0, seed=seed)[UP] for seed in range(40)]
    # Kept and doubled, or dropped: the standard deviation of one draw is |tau|.
    errors = (torch.stack(runs).double().mean(0) - tau) / (tau.abs() / 40**0.5)
    assert float(errors.abs().max()) < 4.5 and abs(float(errors.mean())) < 4 / 500**0.5


def test_masks_differ_between_experts_and_tensors_and_not_with_the_order_of_experts() -> None:
    base = {UP: torch.zeros(1, N), UP.replace("up", "gate"): torch.zeros(1, N)}
    one = {name: torch.full((1, N), 1.0) for name in base}
    two = {name: torch.full((1, N), 100.0) for name in base}
    merged = run("dare", base, [one, two], drop_rate=0.5, lambda_=1.0, rescale="none")
    swapped = run("dare", base, [two, one], drop_rate=0.5, lambda_=1.0, rescale="none")
    for name in base:
        assert torch.equal(merged[name], swapped[name])
        shares = [float((merged[name] == value).double().mean()) for value in (0.0, 1.0, 100.0, 101.0)]
        assert all(abs(share - 0.25) < 0.02 for share in shares), "the experts' masks are not independent"
    first, second = merged.values()
    assert not torch.equal(first, second)


def test_equal_experts_have_masks_of_their_own() -> None:
    expert = matrix([1.0] * N)
    merged = run("dare", matrix([0.0] * N), [expert, expert], drop_rate=0.5, lambda_=1.0, rescale="none")[UP]
    assert abs(float((merged == 1.0).double().mean()) - 0.5) < 0.02


def test_matrices_only() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    kept = masks(base, [expert], drop_rate=0.5, drops="linear")[0]
    assert all(mask.all() for name, mask in kept.items() if not name.endswith("_proj.weight"))
    assert not all(mask.all() for name, mask in kept.items() if name.endswith("_proj.weight"))


def draws_below(key: np.uint64, start: int, n: int, lowest: int) -> NDArray[np.bool_]:
    """Which elements `drop` drops."""
    kept = np.empty(n, np.float32)
    kernels.drop(np.ones(n, np.float32), key, start, lowest, 1.0, kept)
    return kept == 0


def test_a_run_of_draws_is_a_part_of_the_whole_and_every_key_has_its_own() -> None:
    key, half = stream_key(7, "expert", "tensor"), DRAWS // 2
    whole = draws_below(key, 0, 4096, half)
    assert np.array_equal(draws_below(key, 1023, 100, half), whole[1023:1123])
    for other in (
        stream_key(8, "expert", "tensor"),
        stream_key(7, "expert", "tensor2"),
        stream_key(7, "x", "tensor"),
    ):
        assert abs(float((draws_below(other, 0, 4096, half) == whole).mean()) - 0.5) < 0.04


def test_draws_are_those_of_splitmix64() -> None:
    """The published first outputs for seed 1234567; ours counts from 0, the generator from 1."""
    outputs = (6457827717110365317, 3203168211198807973, 9817491932198370423)
    gamma = np.uint64(0x9E3779B97F4A7C15)
    for i, output in enumerate(outputs, 1):
        draw = output >> 32
        with np.errstate(over="ignore"):
            key = np.uint64(1234567) + gamma
        assert not draws_below(key, i - 1, 1, draw)[0] and draws_below(key, i - 1, 1, draw + 1)[0]


def test_a_second_trim_across_tensors_of_different_factors_is_refused() -> None:
    with pytest.raises(BadInput, match="scope=tensor"):
        run("dare_ties", BASE, moved(BASE, *TAUS), rescale="l1", keep=0.5)
