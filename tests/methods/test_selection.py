"""Keeping the largest by counting, against a sort."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from methods.common.contract import Piece, Role, Scope, Seen, TensorInfo
from methods.common.selection import Selection, TrimRule, kept_count
from tests.methods import oracle
from tests.methods.harness import searched

FLOATS = st.floats(-(2.0**100), 2.0**100, width=32)
FEW = st.sampled_from([float(np.float32(x)) for x in (0.0, -0.0, 1e-45, -1e-45, 1.0, -1.0, 1.0000001, 3e38)])
VECTORS = st.integers(1, 40).flatmap(
    lambda n: st.lists(
        st_numpy.arrays(np.float32, n, elements=FLOATS) | st_numpy.arrays(np.float32, n, elements=FEW),
        min_size=1,
        max_size=3,
    )
)
KEEPS = st.sampled_from([1e-6, 0.1, 0.2, 0.29, 1 / 3, 0.5, 0.7, 0.999]) | st.floats(0.001, 1)
RULES: tuple[TrimRule, ...] = ("exact", "kth_inclusive", "quantile")


@given(VECTORS, KEEPS, st.sampled_from(RULES))
@settings(max_examples=100, deadline=None)
def test_masks_equal_those_of_a_sort(vectors: list[np.ndarray], keep: float, rule: TrimRule) -> None:
    selection = Selection("trim", "model", keep, rule, score=lambda piece, m: piece.experts[m])
    for found, vector in zip(_masks(selection, vectors), vectors, strict=True):
        np.testing.assert_array_equal(found, oracle.kept(np.abs(vector), keep, rule))


@given(VECTORS, KEEPS)
@settings(max_examples=60, deadline=None)
def test_exact_keeps_exactly_that_many_whatever_is_equal(vectors: list[np.ndarray], keep: float) -> None:
    selection = Selection("trim", "model", keep, "exact", score=lambda piece, m: piece.experts[m])
    wanted = max(1, math.floor(keep * vectors[0].size + 1e-9))
    assert [int(mask.sum()) for mask in _masks(selection, vectors)] == [wanted] * len(vectors)


@given(st_numpy.arrays(np.float32, (2, 24), elements=FEW), KEEPS)
@settings(max_examples=60, deadline=None)
def test_a_second_score_breaks_ties_and_then_the_index(pair: np.ndarray, keep: float) -> None:
    """Scores alternate 0, 1, 0, 1; their ties are settled by the second row."""
    first = np.tile(np.array([0, 1], np.float32), 12)
    selection = Selection(
        "trim",
        "model",
        keep,
        "exact",
        score=lambda piece, m: piece.base,
        tie=lambda piece, m: piece.experts[m],
    )
    for found, vector in zip(_masks(selection, list(pair), base=first), pair, strict=True):
        np.testing.assert_array_equal(found, oracle.kept(first, keep, "exact", np.abs(vector)))


@pytest.mark.parametrize(
    ("keep", "n", "count"),
    [(0.5, 6, 3), (0.29, 100, 29), (0.2, 4, 1), (0.01, 5, 1), (1.0, 7, 7), (0.7, 10, 7), (1 / 3, 3, 1)],
)
def test_kept_count(keep: float, n: int, count: int) -> None:
    assert kept_count(keep, n) == count


def test_scopes_count_within_a_tensor_a_block_or_the_model() -> None:
    """Two blocks of two tensors with growing values: the top quarter of each scope."""
    values = torch.arange(1.0, 33).reshape(4, 8)
    found = {scope: _by_tensor(values, scope) for scope in ("tensor", "block", "model")}
    assert found == {"tensor": [2, 2, 2, 2], "block": [0, 4, 0, 4], "model": [0, 0, 0, 8]}


def test_what_does_not_take_part_is_left_whole() -> None:
    selection = Selection("t", "model", 0.1, "exact", score=_expert, takes=lambda piece: False)
    piece = _pieces([torch.ones(5)], [torch.ones(5)])[0]
    assert selection.mask(piece, 0, Seen()).all()


def _expert(piece: Piece, m: int) -> torch.Tensor:
    return piece.experts[m]


def _by_tensor(values: torch.Tensor, scope: Scope) -> list[int]:
    pieces = []
    for order, row in enumerate(values):
        info = TensorInfo(f"layers.{order // 2}.{order}.weight", (8,), Role.LINEAR, order // 2, order)
        pieces.append(Piece(info, torch.zeros(8), row.unsqueeze(0), (1.0,)))
    selection = Selection("trim", scope, 0.25, "exact", score=_expert)
    seen = searched(selection, pieces)
    return [int(selection.mask(piece, 0, seen).sum()) for piece in pieces]


def _pieces(runs: list[torch.Tensor], base: list[torch.Tensor]) -> list[Piece]:
    """One tensor as consecutive runs; `runs` are [experts, length]."""
    info = TensorInfo("layers.0.a.weight", (sum(b.numel() for b in base),), Role.LINEAR, 0, 0)
    pieces, start = [], 0
    for run, own in zip(runs, base, strict=True):
        experts = tuple(run.reshape(-1, own.numel()))
        pieces.append(Piece(info, own, torch.stack(tuple(experts)), (1.0,) * len(experts), start))
        start += own.numel()
    return pieces


def _masks(
    selection: Selection, vectors: list[np.ndarray], base: np.ndarray | None = None
) -> list[np.ndarray]:
    """The masks of whole vectors, found over runs of 1, 2, 4, ... elements."""
    n = vectors[0].size
    sizes: list[int] = []
    while sum(sizes) < n:
        sizes.append(min(1 << len(sizes), n - sum(sizes)))
    stacked = torch.from_numpy(np.stack(vectors))
    own = torch.from_numpy(np.zeros(n, np.float32) if base is None else base)
    pieces = _pieces(list(stacked.split(sizes, 1)), list(own.split(sizes)))
    seen = searched(selection, pieces)
    return [torch.cat([selection.mask(p, m, seen) for p in pieces]).numpy() for m in range(len(vectors))]
