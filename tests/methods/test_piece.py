"""What a piece of several models offers to every method, against float32 arithmetic step by step in NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from methods.common.contract import Piece, Role, TensorInfo

WEIGHTS = st.floats(-2, 2, width=32)


def _piece(seed: int, shape: tuple[int, ...], experts: int, dtype: torch.dtype) -> Piece:
    generator = torch.Generator().manual_seed(seed)
    values = (10 * torch.randn(1 + experts, *shape, generator=generator)).to(dtype)
    return Piece(TensorInfo("w", shape, Role.LINEAR, 0, 0), values[0], values[1:], (1.0,) * experts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(
    seed=st.integers(0, 99),
    shape=st.sampled_from([(1,), (7,), (3, 5), (1025,), (2, 1024)]),
    weights=st.lists(WEIGHTS, min_size=1, max_size=4),
    scale=WEIGHTS,
)
def test_sums_of_task_vectors_and_steps_are_rounded_once_an_operation(
    dtype: torch.dtype, seed: int, shape: tuple[int, ...], weights: list[float], scale: float
) -> None:
    piece = _piece(seed, shape, len(weights), dtype)
    base, experts = piece.base.numpy(), piece.experts.numpy()
    total = np.zeros(shape, np.float32)
    for expert, weight in zip(experts, weights, strict=True):
        total = total + np.float32(weight) * (expert - base)
    found = piece.combined(weights)
    assert found.numpy().tobytes() == total.tobytes()
    assert piece.moved(found, scale).numpy().tobytes() == (base + np.float32(scale) * total).tobytes()
