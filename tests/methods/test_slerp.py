"""SLERP against its worked examples, the oracle, and what must always hold."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from bench.errors import BadInput
from tests.helpers.checkpoints import qwen2_tensors
from tests.methods import oracle_geometry as oracle
from tests.methods.harness import GATE, UP, arrays, assert_close, matrix, moved, run, run_whole, set_block


@pytest.mark.parametrize(
    ("position", "first", "second", "expected", "spherical"),
    [
        (0.5, [1, 0, 0, 0], [0, 2, 0, 0], [0.707107, 1.414214, 0, 0], 1.0),
        (0.25, [3, 4, 0, 0], [4, 3, 0, 0], [3.276009, 3.777270, 0, 0], 1.0),
        (0.5, [1, 0, 0, 0], [1, 0.001, 0, 0], [1, 0.0005, 0, 0], 0.0),
        (0.5, [1, -2, 0, 0], [-1, 2, 0, 0], [0, 0, 0, 0], 0.0),
    ],
)
def test_worked_examples(
    position: float, first: list[float], second: list[float], expected: list[float], spherical: float
) -> None:
    merged, manifest = run_whole("slerp", matrix(first), [matrix(second)], position=position)
    assert merged[UP].flatten().tolist() == pytest.approx(expected, abs=1e-6)
    assert ["model", "spherical_fraction", spherical] in [list(row) for row in manifest["layers"]]


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("position", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("threshold", [0.9995, 0.1])
def test_a_model_agrees_with_the_oracle(granularity: str, position: float, threshold: float) -> None:
    """Some tensors nearly parallel, some not."""
    base = qwen2_tensors(0)
    expert = {n: t + (0.01 if i % 2 else 1) * qwen2_tensors(1)[n] for i, (n, t) in enumerate(base.items())}
    options = {"granularity": granularity, "position": position, "threshold": threshold}
    merged = run("slerp", base, [expert], **options)
    assert_close(merged, oracle.slerp(arrays(base), arrays(expert), **options))


def test_two_experts_are_the_two_ends_and_the_base_does_not_count() -> None:
    base, other, *experts = [qwen2_tensors(seed) for seed in range(4)]
    merged = run("slerp", base, experts, position=0.3)
    assert_close(merged, oracle.slerp(arrays(experts[0]), arrays(experts[1]), position=0.3))
    again = run("slerp", other, experts, position=0.3)
    assert all(torch.equal(again[name], merged[name]) for name in base)


def test_task_vectors_are_interpolated_around_the_base() -> None:
    base, *deltas = [qwen2_tensors(seed) for seed in range(3)]
    merged = run("slerp", base, moved(base, *deltas), position=0.7, on="deltas")
    around = oracle.slerp(arrays(deltas[0]), arrays(deltas[1]), position=0.7)
    assert_close(merged, {n: base[n].numpy() + around[n] for n in base})
    straight = run("slerp", base, moved(base, deltas[0]), position=0.7, on="deltas")
    assert_close(straight, {n: (base[n] + 0.7 * deltas[0][n]).numpy() for n in base})


def test_both_ends_are_the_models_themselves() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    for granularity in ("tensor", "row"):
        assert_close(run("slerp", base, [expert], position=0, granularity=granularity), arrays(base), 0)
        assert_close(run("slerp", base, [expert], position=1, granularity=granularity), arrays(expert), 0)


def test_the_norm_is_kept_between_vectors_of_equal_norm() -> None:
    first, second = torch.randn(2, 50, generator=torch.Generator().manual_seed(0))
    first, second = first / first.norm(), second / second.norm()
    for position in (0.2, 0.5, 0.9):
        merged = run("slerp", matrix(first), [matrix(second)], position=position)
        assert float(merged[UP].norm()) == pytest.approx(1, abs=1e-6)
        angle = math.acos(float(first @ second))
        assert float(merged[UP][0] @ first) == pytest.approx(math.cos(position * angle), abs=1e-6)


def test_bfloat16_is_interpolated_in_float32() -> None:
    base, expert = ({n: t.bfloat16() for n, t in qwen2_tensors(seed).items()} for seed in (0, 1))
    merged = run("slerp", base, [expert], position=0.4, out_dtype="float32")
    assert_close(merged, oracle.slerp(arrays(base), arrays(expert), position=0.4))


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_the_size_of_blocks_changes_nothing(granularity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows longer than a run, and runs that end inside a row."""
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 90_001), (700, 301)):
        first, second = ({UP: torch.randn(shape, generator=generator)} for _ in range(2))
        whole = run("slerp", first, [second], granularity=granularity)
        assert_close(whole, oracle.slerp(arrays(first), arrays(second), granularity=granularity))
        set_block(monkeypatch, 1 << 16)
        assert torch.equal(run("slerp", first, [second], granularity=granularity)[UP], whole[UP])
        monkeypatch.undo()


@pytest.mark.parametrize("granularity", ["tensor", "row"])
@pytest.mark.parametrize("sign", [1, -1])
def test_with_threshold_1_equal_and_opposite_models_meet_on_a_straight_line(
    granularity: str, sign: int
) -> None:
    """The sine between them is 0, or what rounding makes of it."""
    options: dict[str, Any] = {"threshold": 1, "granularity": granularity, "position": 0.3}
    for base in (matrix([3.0, 4, 0, 0]), qwen2_tensors(0)):
        merged = run("slerp", base, [{n: sign * t for n, t in base.items()}], **options)
        assert_close(merged, {n: ((0.7 + 0.3 * sign) * t).numpy() for n, t in base.items()})


def test_with_threshold_1_what_is_nearly_parallel_is_still_on_the_sphere() -> None:
    first, second = matrix([1.0, 0, 0, 0]), matrix([1.0, 0.001, 0, 0])
    _, manifest = run_whole("slerp", first, [second], threshold=1)
    assert fraction_of(manifest) == 1


def fraction_of(manifest: dict[str, Any]) -> float:
    """Which fraction of tensors or rows is said to have lain on the sphere."""
    [found] = [value for _, metric, value in manifest["layers"] if metric == "spherical_fraction"]
    return float(found)


def test_what_is_counted_as_spherical_is_what_was_merged_so() -> None:
    """A way from or to a task vector of 0 is straight; one from weights of 0 is at a right angle."""
    base = {UP: torch.ones(2, 2), GATE: torch.ones(2, 2)}
    across = {UP: torch.tensor([[1.0, 0], [0, 0]]), GATE: torch.zeros(2, 2)}
    along = {UP: torch.tensor([[0, 1.0], [0, 2]]), GATE: torch.tensor([[0, 1.0], [0, 2]])}
    experts = moved(base, across, along)
    assert fraction_of(run_whole("slerp", base, experts[:1], on="deltas")[1]) == 0
    merged, manifest = run_whole("slerp", base, experts, on="deltas")
    assert fraction_of(manifest) == 0.5  # one of two tensors: GATE's first task vector is 0
    torch.testing.assert_close(merged[GATE], base[GATE] + 0.5 * along[GATE])
    _, manifest = run_whole("slerp", base, experts, on="deltas", granularity="row")
    assert fraction_of(manifest) == 0.25  # one of four rows
    merged, manifest = run_whole("slerp", matrix([0.0, 0]), [matrix([2.0, 0])])
    assert merged[UP].tolist() == [[pytest.approx(math.sqrt(2)), 0]] and fraction_of(manifest) == 1


def test_a_zero_vector_and_three_experts() -> None:
    zero, other = matrix([0.0, 0, 0]), matrix([1.0, 2, 3])
    merged = run("slerp", zero, [other])[UP].numpy()
    np.testing.assert_allclose(merged, oracle.slerp(arrays(zero), arrays(other))[UP], atol=1e-6)
    with pytest.raises(BadInput, match="slerp takes 1 to 2 experts, not 3"):
        run("slerp", zero, [other] * 3)
