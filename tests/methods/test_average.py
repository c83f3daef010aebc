"""Model averaging against the worked example, plain NumPy, and what must hold for any models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import qwen2_tensors
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run
from tests.methods.toy import BASE, TAUS

MEAN = [1.208333, -1.708333, 0.458333, 0, 3.083333, -0.9375]


def test_worked_example() -> None:
    merged = run("average", BASE, moved(BASE, *TAUS))
    torch.testing.assert_close(merged[UP], torch.tensor([MEAN]), atol=1e-6, rtol=0)


def test_without_embeddings_the_layers_are_averaged_and_the_rest_is_the_base() -> None:
    base, *experts = (qwen2_tensors(seed) for seed in range(4))
    merged = run("average", base, experts, embeddings="base")
    for name in base:
        if "embed" in name or "lm_head" in name:
            assert torch.equal(merged[name], base[name])
        else:
            expected = np.mean([e[name].double().numpy() for e in experts], axis=0)
            np.testing.assert_allclose(merged[name].numpy(), expected, atol=1e-6)


def test_the_base_counts_only_when_asked() -> None:
    expert = moved(BASE, TAUS[0])
    assert torch.equal(run("average", BASE, expert)[UP], expert[0][UP])
    half = run("average", BASE, expert, include_base=True)[UP]
    torch.testing.assert_close(half, (BASE[UP] + expert[0][UP]) / 2, atol=0, rtol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_weighted_means_of_odd_shapes(dtype: torch.dtype) -> None:
    models = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    weights = [0.5, 2.0, 0.25]
    merged = run("average", models[0], models[1:], weights=weights, out_dtype="float32")
    expected = {
        name: np.average([arrays(m)[name].astype(np.float64) for m in models[1:]], axis=0, weights=weights)
        for name in models[0]
    }
    assert_close(merged, expected)


@given(st.integers(0, 1000), st.integers(1, 7))
@settings(max_examples=20, deadline=None)
def test_the_mean_of_equal_models_is_that_model(seed: int, count: int) -> None:
    expert = matrix(torch.randn(33, generator=torch.Generator().manual_seed(seed)))
    assert torch.equal(run("average", matrix([0.0] * 33), [expert] * count)[UP], expert[UP])
