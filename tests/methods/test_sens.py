"""Sens-Merging: the worked example, the oracle over its options, and its edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Seen
from methods.sens import Sens
from tests.helpers.checkpoints import qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import arrays, assert_close, run
from tests.methods.oracle_coefficients import layer_key, sens

LAYERS = ("block 0", "block 1", "lm_head", "model.embed_tokens", "model.norm")


@pytest.mark.parametrize(
    ("temperature", "scale", "expected"),
    [
        (1.0, 0.5, [0.487503, 0.413382, 0.377541]),
        (3.0, 0.5, [0.495833, 0.470866, 0.458430]),
        (3.0, 0.7, [0.694167, 0.659213, 0.641801]),
    ],
)
def test_worked_example(temperature: float, scale: float, expected: list[float]) -> None:
    """Two experts, three layers; with lambda 1/2 the coefficients are the softmax shares themselves."""
    seen = Seen()
    rows = ((4.0, 3, 0), (1.0, 2, 2))
    layers = [f"block {i}" for i in range(3)]
    seen.give(
        "sensitivity",
        "block",
        {key: tuple(torch.tensor(row[i]) for row in rows) for i, key in enumerate(layers)},
    )
    seen.give("distance", "model", {"model": (torch.tensor([0.0, 2]), torch.tensor([6.0, 0]))})
    method = Sens(**{"lambda": scale}, temperature=temperature)
    found = [method.coefficients(layer, seen) for layer in layers]
    np.testing.assert_allclose([float(pair[0]) for pair in found], expected, atol=1e-6)
    assert all(abs(float(pair.sum()) - 2 * scale) < 1e-9 for pair in found)


class Counting(Seen):
    """Counts how often all layers are asked for."""

    looks = 0

    def all(self, pass_name: str) -> dict[str, Any]:
        self.looks += 1
        return super().all(pass_name)


def test_norms_over_all_layers_are_taken_once_a_merge() -> None:
    merges = Counting(), Counting()
    for seen, other in zip(merges, (3.0, 4.0), strict=True):
        rows = {
            key: (torch.tensor(s), torch.tensor(1.0)) for key, s in (("block 0", 4.0), ("block 1", other))
        }
        seen.give("sensitivity", "block", rows)
        seen.give("distance", "model", {"model": (torch.tensor([0.0, 1]), torch.tensor([1.0, 0]))})
    first, second = ([Sens().coefficients("block 0", seen) for _ in range(9)] for seen in merges)
    assert [seen.looks for seen in merges] == [1, 1]
    assert not torch.equal(first[0], second[0])  # 4/5 of an expert's sensitivity, and 4/sqrt(32)
    assert all(torch.equal(found, first[0]) for found in first)


@pytest.mark.parametrize("alignment", ["distance", "similarity"])
@pytest.mark.parametrize("t_norm", ["l1", "l2"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_agrees_with_the_oracle(alignment: str, t_norm: str, dtype: torch.dtype) -> None:
    base, *experts = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    sensitivity, distance = _random(3)
    options: dict[str, Any] = {"temperature": 0.3, "alignment": alignment, "t_norm": t_norm}
    merged = run(
        "sens",
        base,
        experts,
        lambda_=0.6,
        out_dtype="float32",
        statistics=_planted(sensitivity, distance),
        **options,
    )
    table = sens(sensitivity, distance, lam=0.6, **options)
    tau = oracle.task_vectors(arrays(base), list(map(arrays, experts)))
    expected = {
        n: arrays(base)[n]
        + sum(table[m, LAYERS.index(layer_key(n))] * t[n].astype(np.float64) for m, t in enumerate(tau))
        for n in base
    }
    assert_close(merged, expected)


def test_experts_equal_in_every_way_are_summed_like_task_arithmetic() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    even = _planted(np.ones((2, len(LAYERS))), np.zeros((2, 2)))
    merged = run("sens", base, experts, lambda_=0.4, statistics=even)
    assert_close(merged, arrays(run("task_arithmetic", base, experts, lambda_=0.4)))


def test_layers_without_any_sensitivity_share_evenly() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    sensitivity, distance = _random(2)
    silent = _planted(np.zeros_like(sensitivity), distance)
    merged = run("sens", base, experts, lambda_=0.4, temperature=0.1, statistics=silent)
    assert_close(merged, arrays(run("task_arithmetic", base, experts, lambda_=0.4)))


def test_a_farther_expert_weighs_more_by_distance_and_less_by_similarity() -> None:
    base = {name: torch.zeros_like(tensor) for name, tensor in qwen2_tensors(0).items()}
    experts = [base, {name: torch.ones_like(tensor) for name, tensor in base.items()}]
    planted = _planted(np.ones((2, len(LAYERS))), np.array([[0.0, 1], [9, 0]]))
    options: dict[str, Any] = {"temperature": 0.1, "lambda_": 1.0, "statistics": planted}
    far, near = (
        float(run("sens", base, experts, alignment=alignment, **options)["model.norm.weight"][0])
        for alignment in ("distance", "similarity")
    )
    assert far > 1 > near
    assert abs(far + near - 2) < 1e-6


def test_lambda_0_gives_the_base() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    merged = run("sens", base, experts, lambda_=0, statistics=_planted(*_random(2)))
    assert all(torch.equal(merged[n], base[n]) for n in base)


def test_the_order_of_experts_is_free() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(4)]
    sensitivity, distance = _random(3)
    merged = run("sens", base, experts, statistics=_planted(sensitivity, distance))
    turned = run("sens", base, experts[::-1], statistics=_planted(sensitivity[::-1], distance[::-1, ::-1]))
    assert_close(turned, arrays(merged), 1e-6)


def _random(experts: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(experts)
    distance = rng.uniform(0.5, 4, (experts, experts))
    np.fill_diagonal(distance, 0)
    return rng.uniform(0.1, 3, (experts, len(LAYERS))), distance


def _planted(sensitivity: NDArray[Any], distance: NDArray[Any]) -> dict[str, list[dict[str, Tensor]]]:
    """Both needs: a row per expert."""
    return {
        "sensitivity": [
            {key: torch.tensor(float(x)) for key, x in zip(LAYERS, row, strict=True)} for row in sensitivity
        ],
        "distance": [{"model": torch.from_numpy(row.copy()).float()} for row in distance],
    }
