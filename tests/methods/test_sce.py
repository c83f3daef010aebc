"""SCE against its worked examples, the oracle, and what must always hold."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle_geometry as oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run, run_whole
from tests.methods.toy import BASE, TAUS

COARSE = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]), min_size=7, max_size=7)


@pytest.mark.parametrize(
    ("keep", "share", "expected"),
    [
        (1.0, 0.478079, [0.336429, 0.614874, -0.5, 0, 0.260126, 0.127]),
        (0.6, 0.552083, [0, 0.617378, -0.5, 0, 0.257622, 0]),
    ],
)
def test_worked_examples(keep: float, share: float, expected: list[float]) -> None:
    merged, manifest = run_whole("sce", BASE, moved(BASE, *TAUS), keep=keep)
    assert (merged[UP] - BASE[UP]).flatten().tolist() == pytest.approx(expected, abs=1e-6)
    ((name, metric, value),) = manifest["layers"]
    assert (name, metric) == (UP, "largest_share") and value == pytest.approx(share, abs=1e-6)


@pytest.mark.parametrize("keep", [1.0, 0.5, 0.1, 0.001])
@pytest.mark.parametrize("rounded", [True, False])
def test_a_model_agrees_with_the_oracle(keep: float, rounded: bool) -> None:
    """Rounded: equal variances, zeros and cancelling sums are common. keep=0.001 keeps nothing of small tensors."""
    models = [qwen2_tensors(seed, num_hidden_layers=1) for seed in range(5)]
    base, *experts = [_rounded(m) for m in models] if rounded else models
    merged = run("sce", base, experts, keep=keep)
    assert_close(merged, oracle.sce(arrays(base), [arrays(e) for e in experts], keep=keep))
    if keep == 0.001:
        assert torch.equal(merged["model.norm.weight"], base["model.norm.weight"])


def test_bfloat16_agrees_with_the_oracle() -> None:
    base, *experts = [{n: t.bfloat16() for n, t in qwen2_tensors(seed).items()} for seed in range(3)]
    merged = run("sce", base, experts, keep=0.3, out_dtype="float32")
    assert_close(merged, oracle.sce(arrays(base), [arrays(e) for e in experts], keep=0.3))


@given(st.lists(COARSE, min_size=2, max_size=5), st.sampled_from([0.2, 0.6, 1.0]))
@settings(max_examples=40, deadline=None)
def test_equal_variances_and_zeros_agree_with_the_oracle(rows: list[list[float]], keep: float) -> None:
    base, experts = matrix([0.0] * 7), [matrix(row) for row in rows]
    merged = run("sce", base, experts, keep=keep)
    assert_close(merged, oracle.sce(arrays(base), [arrays(e) for e in experts], keep=keep))


@pytest.mark.parametrize("scale", [1.0, 1e-4, 1e-12, 1e-20])
def test_small_task_vectors_weigh_like_large_ones(scale: float) -> None:
    """No absolute limit: the shares of task vectors of any size are those of the worked example."""
    base = matrix([0.0] * 6)
    for keep, expected in ((1.0, 0.478079), (0.6, 0.552083)):
        experts = [{UP: tau[UP] * scale} for tau in TAUS]
        _, manifest = run_whole("sce", base, experts, keep=keep)
        assert manifest["layers"][0][2] == pytest.approx(expected, abs=1e-5)


def test_positions_where_all_experts_agree_are_kept_only_when_everything_is() -> None:
    base, experts = matrix([0.0] * 3), [matrix([1.0, 1, 2]), matrix([1.0, 3, 8])]
    assert run("sce", base, experts, keep=1)[UP][0, 0] == 1
    assert run("sce", base, experts, keep=0.99)[UP].tolist()[0][:2] == [0, 0]


def _rounded(tensors: Tensors) -> Tensors:
    return {name: (tensor * 8).round() / 8 for name, tensor in tensors.items()}
