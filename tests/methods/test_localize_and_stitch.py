"""Localize-and-Stitch against its worked example, the oracle over its options, and what must always hold."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle_geometry as oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run
from tests.methods.toy import BASE, TAUS

COARSE = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]), min_size=7, max_size=7)


def test_worked_example() -> None:
    merged = run("localize_and_stitch", BASE, moved(BASE, *TAUS), keep=1 / 3)
    assert merged[UP].tolist() == [[1.5, -1.4375, 0, 0, 3.0625, -1]]


def test_mergebench_counts_only_the_last_other_expert() -> None:
    """Three experts on one entry: 1/2 of each instead of 1/3; two experts or one as in the mean."""
    base, experts = matrix([0.0]), [matrix([1.0]), matrix([2.0]), matrix([4.0])]
    for count, mergebench, mean in ((3, 7 / 2, 7 / 3), (2, 3 / 2, 3 / 2), (1, 1, 1)):
        for overlap, expected in (("mergebench", mergebench), ("mean", mean)):
            merged = run("localize_and_stitch", base, experts[:count], overlap=overlap)
            assert merged[UP].item() == pytest.approx(expected), (count, overlap)


@pytest.mark.parametrize(
    ("scope", "trim_rule", "overlap"),
    itertools.product(
        ["tensor", "block", "model"], ["exact", "kth_inclusive", "quantile"], ["mean", "mergebench"]
    ),
)
def test_a_model_agrees_with_the_oracle(scope: str, trim_rule: str, overlap: str) -> None:
    base, *experts = [_rounded(qwen2_tensors(seed, num_hidden_layers=1)) for seed in range(5)]
    options = {"keep": 0.3, "scope": scope, "trim_rule": trim_rule, "overlap": overlap}
    merged = run("localize_and_stitch", base, experts, **options)
    assert_close(merged, oracle.localize_and_stitch(arrays(base), [arrays(e) for e in experts], **options))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_defaults_agree_with_the_oracle(dtype: torch.dtype) -> None:
    base, *experts = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    merged = run("localize_and_stitch", base, experts, out_dtype="float32")
    assert_close(merged, oracle.localize_and_stitch(arrays(base), [arrays(e) for e in experts]))


@given(st.lists(COARSE, min_size=1, max_size=4), st.sampled_from([0.01, 0.3, 5 / 7, 1.0]))
@settings(max_examples=25, deadline=None)
def test_equal_magnitudes_and_zeros_agree_with_the_oracle(rows: list[list[float]], keep: float) -> None:
    base, experts = matrix([0.0] * 7), [matrix(row) for row in rows]
    for overlap in ("mean", "mergebench"):
        merged = run("localize_and_stitch", base, experts, keep=keep, overlap=overlap)
        found = oracle.localize_and_stitch(
            arrays(base), [arrays(e) for e in experts], keep=keep, overlap=overlap
        )
        assert_close(merged, found)


def test_keep_1_is_the_mean_and_one_expert_is_trimmed() -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(4)]
    merged = run("localize_and_stitch", base, experts, keep=1)
    assert_close(merged, {n: sum(e[n].double() for e in experts).numpy() / 3 for n in base})
    alone = run("localize_and_stitch", base, experts[:1], keep=0.25)
    moved_ = sum(int((alone[n] != base[n]).sum()) for n in base)
    assert moved_ == sum(t.numel() for t in base.values()) // 4


def _rounded(tensors: Tensors) -> Tensors:
    return {name: (tensor * 8).round() / 8 for name, tensor in tensors.items()}
