"""Order statistics of signed scores by counting, against a sort."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from methods.common.contract import Piece, Role, Scope, TensorInfo
from methods.common.order_statistics import OrderStatistics, order_keys, value_of
from tests.methods.harness import searched

FEW = st.sampled_from(
    [float(np.float32(x)) for x in (0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 1.0000001, -3e38, 3e38)]
)
ROWS = st.integers(1, 40).flatmap(
    lambda n: (
        st_numpy.arrays(np.float32, (2, n), elements=st.floats(-(2.0**100), 2.0**100, width=32))
        | st_numpy.arrays(np.float32, (2, n), elements=FEW)
    )
)


@given(ROWS, st.floats(0, 1), st.integers(1, 5))
@settings(max_examples=100, deadline=None)
def test_values_at_positions_are_those_of_a_sort(rows: np.ndarray, at: float, pieces: int) -> None:
    n = rows.shape[1]
    position = min(n - 1, int(at * n))
    wanted = OrderStatistics("w", "model", lambda n: (0, position, n - 1), lambda p, seen: p.experts)
    parts = [part for part in np.array_split(rows, pieces, axis=1) if part.size]
    found = searched(wanted, [_piece(torch.from_numpy(part.copy()), 0) for part in parts]).all("w")["model"]
    np.testing.assert_array_equal(np.array(found), np.sort(rows, axis=1)[:, [0, position, n - 1]])


@given(st_numpy.arrays(np.float32, 20, elements=st.floats(width=32, allow_nan=False)))
@settings(max_examples=60, deadline=None)
def test_keys_order_like_numbers_and_lead_back_to_them(values: np.ndarray) -> None:
    keys = order_keys(torch.from_numpy(values))
    ordered = values[np.argsort(keys, kind="stable")]
    assert (ordered[1:] >= ordered[:-1]).all()
    assert [value_of(int(key)) for key in keys] == values.tolist()


def test_positions_outside_the_vector_mean_its_ends() -> None:
    wanted = OrderStatistics("w", "model", lambda n: (-1, n, 10 * n), lambda p, seen: p.experts)
    found = searched(wanted, [_piece(torch.tensor([[2.0, -1.0, 5.0]]), 0)]).all("w")
    assert found == {"model": [[-1.0, 5.0, 5.0]]}


@pytest.mark.parametrize(
    ("scope", "smallest"),
    [
        ("model", {"model": -8}),
        ("block", {"block 0": -8, "block 1": 1}),
        ("tensor", {"layers.0.0.weight": -8, "layers.0.1.weight": 3, "layers.1.2.weight": 1}),
    ],
)
def test_scopes_are_searched_apart(scope: Scope, smallest: dict[str, float]) -> None:
    rows = ([5.0, -8.0], [4.0, 3.0], [1.0, 2.0])
    wanted = OrderStatistics("w", scope, lambda n: (0,), lambda piece, seen: piece.experts)
    found = searched(wanted, [_piece(torch.tensor([row]), i) for i, row in enumerate(rows)]).all("w")
    assert {key: value[0][0] for key, value in found.items()} == smallest


def _piece(experts: torch.Tensor, order: int) -> Piece:
    n = experts.shape[1]
    info = TensorInfo(f"layers.{order // 2}.{order}.weight", (n,), Role.LINEAR, order // 2, order)
    return Piece(info, torch.zeros(n), experts, (1.0,) * len(experts))
