"""Fisher averaging against its worked examples, the oracle over its options, and what must always hold."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle_fisher as oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run, run_whole
from tests.methods.toy import BASE, FISHERS, TAUS


@pytest.mark.parametrize(
    ("normalize", "expected"),
    [
        ("none", [1.071429, -1.6875, 0.5, 0, 3.1, -0.9375]),
        ("l2", [1.090974, -1.692875, 0.489694, 0, 3.086916, -0.941589]),
    ],
)
def test_worked_examples(normalize: str, expected: list[float]) -> None:
    experts = moved(BASE, *TAUS)
    merged = run("fisher", BASE, experts, statistics={"fisher": FISHERS}, normalize_fisher=normalize)
    assert merged[UP].flatten().tolist() == pytest.approx(expected, abs=1e-6)


OPTIONS = list(
    itertools.product(
        [{}, {"floor": 0.3}, {"floor": 0.05, "floor_rule": "absolute"}, {"floor": 0.05, "floor_rule": "max"}],
        [
            {},
            {"normalize_fisher": "l2"},
            {"normalize_fisher": "mean", "normalize_scope": "tensor"},
            {"normalize_fisher": "l2", "normalize_scope": "tensor"},
        ],
    )
)


@pytest.mark.parametrize(("floor", "size"), OPTIONS)
def test_a_model_agrees_with_the_oracle(floor: dict[str, Any], size: dict[str, Any]) -> None:
    base, *experts = [qwen2_tensors(seed, num_hidden_layers=1) for seed in range(4)]
    fishers, weights = [fisher(seed) for seed in (7, 8, 9)], [1.0, 0.5, 2.0]
    options = {**floor, **size}
    merged = run("fisher", base, experts, weights=weights, statistics={"fisher": fishers}, **options)
    found = oracle.fisher_average(
        [arrays(e) for e in experts], [arrays(f) for f in fishers], weights, **options
    )
    assert_close(merged, found)


def test_bfloat16_agrees_with_the_oracle() -> None:
    base, *experts = [
        {n: t.bfloat16() for n, t in qwen2_tensors(seed, num_hidden_layers=1).items()} for seed in range(3)
    ]
    fishers = [fisher(7), fisher(8)]
    merged = run("fisher", base, experts, statistics={"fisher": fishers}, out_dtype="float32")
    assert_close(
        merged, oracle.fisher_average([arrays(e) for e in experts], [arrays(f) for f in fishers], [1, 1])
    )


@pytest.mark.parametrize("scale", [1.0, 1e-12, 1e-25])
def test_a_small_fisher_still_decides(scale: float) -> None:
    """The floor is relative: the result does not depend on the Fisher's scale."""
    experts = [matrix([0.0, 0.0]), matrix([4.0, 4.0])]
    fishers = [matrix([3 * scale, 0]), matrix([scale, scale])]
    merged = run("fisher", BASE_2, experts, statistics={"fisher": fishers})
    assert merged[UP].flatten().tolist() == pytest.approx([1.0, 4.0], abs=1e-6)
    flat = run("fisher", BASE_2, experts, statistics={"fisher": fishers}, floor=1e-6, floor_rule="absolute")
    assert (flat[UP] - 2).abs().max() < (1e-5 if scale < 1 else 3)


@pytest.mark.parametrize("floor", [0.0, 1e-10, 1.0])
def test_where_all_fishers_are_zero_it_is_the_plain_mean(floor: float) -> None:
    """Even where the experts' Fishers have very different means."""
    experts = [matrix([0.0, 0.0]), matrix([4.0, 4.0])]
    fishers = [matrix([0.0, 1000.0]), matrix([0.0, 1.0])]
    merged = run("fisher", BASE_2, experts, statistics={"fisher": fishers}, floor=floor)
    assert merged[UP][0, 0] == 2
    nothing = [matrix([0.0, 0.0])] * 2
    merged = run("fisher", BASE_2, experts, weights=[1.0, 3.0], statistics={"fisher": nothing}, floor=floor)
    assert merged[UP].tolist() == [[3, 3]]


def test_a_uniform_fisher_is_the_weighted_mean() -> None:
    base, *experts = [qwen2_tensors(seed, num_hidden_layers=1) for seed in range(3)]
    same = [{name: torch.full_like(t, 0.3) for name, t in base.items()}] * 2
    merged = run("fisher", base, experts, weights=[1.0, 3.0], statistics={"fisher": same})
    assert_close(merged, {n: (experts[0][n] + 3 * experts[1][n]).numpy() / 4 for n in base})


def test_how_often_the_floor_exceeds_the_fisher_is_recorded() -> None:
    experts = [matrix([0.0] * 4), matrix([4.0] * 4)]
    fishers = [matrix([0.0, 1e-3, 1e-3, 1]), matrix([0.0, 0, 1, 1])]
    for options, expected in (
        ({"floor": 0.01, "floor_rule": "absolute"}, 5 / 8),
        ({"floor": 0.01, "floor_rule": "max"}, 5 / 8),
        ({"floor": 1e-10}, 3 / 8),
        ({"floor": 0.0}, 0.0),
    ):
        _, manifest = run_whole(
            "fisher", matrix([0.0] * 4), experts, statistics={"fisher": fishers}, **options
        )
        assert [UP, "floor_exceeds_fisher", expected] in [list(row) for row in manifest["layers"]]


BASE_2 = matrix([0.0, 0.0])


def fisher(seed: int) -> Tensors:
    """Squared random numbers, a fifth of them zero."""
    found = qwen2_tensors(seed, num_hidden_layers=1)
    return {name: torch.where(t < -0.25, 0.0, t.square()) for name, t in found.items()}
