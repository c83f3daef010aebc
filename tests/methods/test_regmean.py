"""RegMean: worked examples, what it minimises, its fallback, and what must hold for any input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Piece, Role, Seen, TensorInfo, Unit
from methods.regmean import RegMean
from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods.harness import arrays, assert_close, run, run_whole
from tests.methods.oracle import is_matrix
from tests.methods.oracle_activations import gram, regmean, regress, weighted_mean

Array = NDArray[Any]

IDENTITY, OTHER = torch.eye(2), torch.tensor([[3.0, 0], [2, 1]])
FULL, DIAGONAL = torch.tensor([[2.0, 1], [1, 2]]), torch.tensor([[1.0, 0], [0, 4]])


@pytest.mark.parametrize(
    ("off_diagonal", "expected"),
    [
        (1.0, [[1.235294, 0], [1.294118, 1]]),
        (0.5, [[1.450704, 0], [1.295775, 1]]),
        (0.0, [[1.666667, 0], [1.333333, 1]]),
    ],
)
@pytest.mark.parametrize("axis", [0, 1])
def test_worked_examples_on_both_orientations(
    off_diagonal: float, expected: list[list[float]], axis: int
) -> None:
    """The examples are [in, out], as Conv1D stores matrices; nn.Linear stores the transpose."""
    experts = [w if axis == 0 else w.T for w in (IDENTITY, OTHER)]
    found, notes = _merge(experts, [FULL, DIAGONAL], axis=axis, off_diagonal=off_diagonal)
    torch.testing.assert_close(found if axis == 0 else found.T, torch.tensor(expected), atol=1e-6, rtol=0)
    assert not notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_agrees_with_the_oracle(dtype: torch.dtype) -> None:
    base, *experts = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    weights = [1.0, 0.5, 2.0]
    grams = [_grams(base, seed) for seed in range(3)]
    merged = run(
        "regmean",
        base,
        experts,
        weights=weights,
        statistics={"gram": grams},
        off_diagonal=0.7,
        out_dtype="float32",
    )
    models = list(map(arrays, experts))
    expected = {
        name: regmean(
            [g[name].numpy() for g in grams], [m[name].T for m in models], weights, off_diagonal=0.7
        ).T
        if is_matrix(name)
        else weighted_mean([m[name] for m in models], weights)
        for name in models[0]
    }
    assert_close(merged, expected, 2e-5)


@pytest.mark.parametrize(("features", "outputs"), [(5, 3), (3, 7), (1, 1), (8, 8)])
def test_it_minimises_the_error_on_the_experts_own_inputs(features: int, outputs: int) -> None:
    rng = np.random.default_rng(features)
    inputs = [rng.normal(size=(tokens, features)).astype(np.float32) for tokens in (40, 90, 20)]
    matrices = [rng.normal(size=(features, outputs)).astype(np.float32) for _ in inputs]
    found, _ = _merge(
        [torch.from_numpy(w) for w in matrices],
        [torch.from_numpy(gram(x)).float() for x in inputs],
        off_diagonal=1.0,
    )
    np.testing.assert_allclose(found.numpy(), regress(inputs, matrices, matrices[0]), atol=2e-5)


@pytest.mark.parametrize("unexcited", ["mean", "zero"])
def test_directions_without_data_fall_back_to_the_mean_or_to_zero(unexcited: str) -> None:
    """One channel is never excited and two always agree: the Gram matrices are singular."""
    rng = np.random.default_rng(3)
    inputs = [rng.normal(size=(50, 5)).astype(np.float32) for _ in range(2)]
    for x in inputs:
        x[:, 2] = 0
        x[:, 4] = x[:, 1]
    matrices = [rng.normal(size=(5, 3)).astype(np.float32) for _ in inputs]
    found, notes = _merge(
        [torch.from_numpy(w) for w in matrices],
        [torch.from_numpy(gram(x)).float() for x in inputs],
        off_diagonal=1.0,
        unexcited=unexcited,
    )
    assert notes == {"pseudo_inverse": 1.0}
    start = np.mean(matrices, axis=0) if unexcited == "mean" else np.zeros((5, 3))
    np.testing.assert_allclose(found.numpy(), regress(inputs, matrices, start), atol=2e-4)
    np.testing.assert_allclose(found.numpy()[2], start[2], atol=1e-6)


def test_reduced_off_diagonals_need_no_fallback_where_every_channel_is_excited() -> None:
    ones = torch.ones(4, 4)  # of rank 1: four channels that always agree
    experts = [torch.randn(4, 2, generator=torch.Generator().manual_seed(s)) for s in (1, 2)]
    assert _merge(experts, [ones, ones], off_diagonal=0.9)[1] == {}
    assert _merge(experts, [ones, ones], off_diagonal=1.0)[1] == {"pseudo_inverse": 1.0}


def test_the_manifest_counts_the_fallback() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    zeros = [{name: torch.zeros_like(g) for name, g in _grams(base, 0).items()}] * 2
    merged, manifest = run_whole("regmean", base, experts, statistics={"gram": zeros})
    assert_close(merged, {n: weighted_mean([e[n].numpy() for e in experts], [1, 1]) for n in base})
    assert "pseudo_inverse" in str(manifest)


def test_equal_grams_give_the_mean_and_equal_experts_the_expert() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(4)]
    same = [_grams(base, 5)] * 3
    merged = run("regmean", base, experts, statistics={"gram": same})
    assert_close(merged, {n: weighted_mean([e[n].numpy() for e in experts], [1, 1, 1]) for n in base}, 1e-6)
    other = [_grams(base, seed) for seed in range(3)]
    assert_close(run("regmean", base, [experts[0]] * 3, statistics={"gram": other}), arrays(experts[0]), 1e-6)


def test_the_order_of_experts_is_free() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(4)]
    grams = [_grams(base, seed) for seed in range(3)]
    merged = run("regmean", base, experts, statistics={"gram": grams})
    turned = run("regmean", base, experts[::-1], statistics={"gram": grams[::-1]})
    assert_close(turned, arrays(merged), 1e-6)


def _merge(
    experts: Sequence[Tensor], grams: Sequence[Tensor], *, axis: int = 0, **parameters: Any
) -> tuple[Tensor, dict[str, float]]:
    """One matrix through the method itself."""
    stacked = torch.stack(list(experts))
    info = TensorInfo("h.0.mlp.c_fc.weight", tuple(stacked.shape[1:]), Role.LINEAR, 0, 0, axis)
    weights = (1.0,) * len(experts)
    piece = Piece(info, torch.zeros_like(stacked[0]), stacked, weights, statistics={"gram": tuple(grams)})
    merged = RegMean(**parameters).merge(Unit("h.0.mlp.c_fc", {"weight": piece}), Seen())
    return merged.pieces["weight"], dict(merged.notes)


def _grams(base: Tensors, seed: int) -> Tensors:
    """Gram matrices of random inputs for every matrix in blocks."""
    rng = np.random.default_rng(seed)
    return {
        name: torch.from_numpy(gram(rng.normal(size=(60, tensor.shape[1])))).float()
        for name, tensor in base.items()
        if is_matrix(name)
    }
