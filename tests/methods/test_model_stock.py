"""Model Stock against its worked examples, the oracle, and what must always hold."""

from __future__ import annotations

import itertools

import pytest
import torch

from tests.helpers.checkpoints import qwen2_tensors
from tests.methods import oracle_geometry as oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run, run_whole, set_block
from tests.methods.toy import BASE, TAUS


def ratio_of(manifest: dict[str, list[list[object]]]) -> tuple[object, object]:
    """The recorded ratio and cosine of the only tensor."""
    found = {metric: value for _, metric, value in manifest["layers"]}
    return found["ratio"], found["cosine"]


def test_worked_example_of_two_experts() -> None:
    experts = [matrix([3.0, 4, 0, 0]), matrix([4.0, 3, 0, 0])]
    merged, manifest = run_whole("model_stock", matrix([0.0] * 4), experts)
    assert merged[UP].flatten().tolist() == pytest.approx([3.428571, 3.428571, 0, 0], abs=1e-6)
    assert ratio_of(manifest) == pytest.approx((0.979592, 0.96), abs=1e-6)


def test_worked_example_of_a_negative_cosine() -> None:
    experts = moved(BASE, *TAUS[:2])
    merged, manifest = run_whole("model_stock", BASE, experts, clamp=False)
    assert merged[UP].flatten().tolist() == pytest.approx(
        [0.722131, -2.185246, 0.638934, 0, 3.092623, -1], abs=1e-6
    )
    assert ratio_of(manifest) == pytest.approx((-0.740983, -0.270335), abs=1e-6)
    assert torch.equal(run("model_stock", BASE, experts)[UP], BASE[UP])


@pytest.mark.parametrize(("average", "ratio"), [("cosine", -1.070936), ("angle", -1.201933)])
def test_worked_example_of_three_experts(average: str, ratio: float) -> None:
    _, manifest = run_whole("model_stock", BASE, moved(BASE, *TAUS), clamp=False, average=average)
    assert ratio_of(manifest)[0] == pytest.approx(ratio, abs=1e-6)


CASES = list(itertools.product(["tensor", "row"], ["cosine", "angle"], [True, False], [2, 4]))


@pytest.mark.parametrize(("granularity", "average", "clamp", "count"), CASES)
def test_a_model_agrees_with_the_oracle(granularity: str, average: str, clamp: bool, count: int) -> None:
    """Experts that share a direction, so that cosines of both signs occur between rows."""
    base, shared, *own = [qwen2_tensors(seed) for seed in range(2 + count)]
    experts = [{n: base[n] + 0.6 * shared[n] + delta[n] for n in base} for delta in own]
    options = {"granularity": granularity, "average": average, "clamp": clamp}
    merged = run("model_stock", base, experts, **options)
    expected = oracle.model_stock(arrays(base), [arrays(e) for e in experts], **options)
    for name, values in expected.items():
        scale = max(1.0, float(abs(values).max()))  # a denominator near 0 magnifies both
        assert_close({name: merged[name] / scale}, {name: values / scale})


def test_bfloat16_agrees_with_the_oracle() -> None:
    base, *experts = [{n: t.bfloat16() for n, t in qwen2_tensors(seed).items()} for seed in range(3)]
    merged = run("model_stock", base, experts, clamp=False, out_dtype="float32")
    assert_close(merged, oracle.model_stock(arrays(base), [arrays(e) for e in experts], clamp=False))


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_identical_experts_are_returned_and_untouched_tensors_stay(granularity: str) -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    expert["model.norm.weight"] = base["model.norm.weight"].clone()
    merged = run("model_stock", base, [expert] * 3, granularity=granularity)
    assert_close(merged, arrays(expert))
    assert torch.equal(merged["model.norm.weight"], base["model.norm.weight"])


@pytest.mark.parametrize("scale", [1.0, 1e-6, 1e-15])
def test_small_tensors_have_the_same_cosine(scale: float) -> None:
    """Norms are guarded against exact zero only."""
    experts = [matrix([3 * scale, 4 * scale]), matrix([4 * scale, 3 * scale])]
    _, manifest = run_whole("model_stock", matrix([0.0, 0]), experts)
    assert ratio_of(manifest) == pytest.approx((0.979592, 0.96), abs=1e-6)


def test_opposite_experts_without_clamp_leave_the_base() -> None:
    """1 + (N - 1) cos is 0: the ratio is undefined."""
    experts = [matrix([2.0, 0]), matrix([-2.0, 0])]
    assert run("model_stock", matrix([1.0, 1]), moved(matrix([1.0, 1]), *experts), clamp=False)[
        UP
    ].tolist() == [[1, 1]]


@pytest.mark.parametrize("granularity", ["tensor", "row"])
def test_the_size_of_blocks_changes_nothing(granularity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 90_001), (700, 301)):
        base, *experts = ({UP: torch.randn(shape, generator=generator)} for _ in range(4))
        whole = run("model_stock", base, experts, granularity=granularity)
        assert_close(
            whole, oracle.model_stock(arrays(base), list(map(arrays, experts)), granularity=granularity)
        )
        set_block(monkeypatch, 1 << 16)
        assert torch.equal(run("model_stock", base, experts, granularity=granularity)[UP], whole[UP])
        monkeypatch.undo()
