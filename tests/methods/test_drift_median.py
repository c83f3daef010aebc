"""DRIFT-MEDIAN against its worked examples, the oracle over all of its switches, and what must always hold."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BadInput
from bench.recipe import build_method
from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle_fisher as oracle
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run, set_block
from tests.methods.toy import BASE, FISHERS, TAUS

UNIT: dict[str, Any] = {"lambda_": 1.0}
TOP2: dict[str, Any] = {"select": "top_k", "top_k": 2}
RULES = ("midpoint", "lower", "upper", "min_magnitude")


def toy(**options: Any) -> list[float]:
    """tau* of the worked example: what is added to the base with lambda 1."""
    merged = run(
        "drift_median", BASE, moved(BASE, *TAUS), statistics={"fisher": FISHERS}, **{**UNIT, **options}
    )
    return (merged[UP] - BASE[UP]).flatten().tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TOP2, [0.25, 0.375, 0, 0, 0.125, 0.0625]),
        ({**TOP2, "zeros": "exclude"}, [0.25, 0.375, -0.5, 0, 0.125, 0.0625]),
        ({**TOP2, "zeros": "strict"}, [0.25, 0.375, 0, 0, 0.125, 0.0625]),
        ({"select": "above_mean"}, [0.25, 0.375, -0.5, 0, 0.5, 0.1875]),
        ({"select": "above_median"}, [0.25, 0.375, 0, 0, 0.125, 0.0625]),
        ({"select": "all"}, [0, 0.375, 0, 0, 0.125, 0.0625]),
        ({"select": "all", "zeros": "exclude"}, [0.25, 0.375, -0.5, 0, 0.125, 0.0625]),
        ({**TOP2, "aggregate": "fisher_mean"}, [1 / 3, 0.5, -0.125, 0, 0.21875, 0.09375]),
        ({**TOP2, "aggregate": "fisher_mean", "zeros": "exclude"}, [1 / 3, 0.5, -0.5, 0, 0.21875, 0.09375]),
        ({**TOP2, "sign": False}, [0.25, 0.375, -0.125, 0, 0.0625, 0.0625]),
        ({**TOP2, "sign": False, "median_rule": "lower"}, [0.25, 0.375, -0.5, 0, -0.375, 0.0625]),
        ({**TOP2, "sign": False, "median_rule": "upper"}, [0.25, 0.375, 0.25, 0, 0.5, 0.0625]),
        ({**TOP2, "sign": False, "median_rule": "min_magnitude"}, [0.25, 0.375, 0, 0, 0, 0.0625]),
        ({"select": "keep", "keep": 2 / 3}, [0.25, 0.375, 0, 0, 0.125, 0.0625]),
    ],
)
def test_worked_examples(options: dict[str, Any], expected: list[float]) -> None:
    assert toy(**options) == pytest.approx(expected, abs=1e-6)


def test_worked_example_scaled() -> None:
    merged = run(
        "drift_median", BASE, moved(BASE, *TAUS), statistics={"fisher": FISHERS}, lambda_=1.5, **TOP2
    )
    assert merged[UP].tolist() == [[1.375, -1.4375, 0.5, 0, 3.1875, -0.90625]]


MEDIANS = [  # values, weights, and the four points of RULES
    ([1, 2, 3, 4], [1, 1, 1, 1], (2.5, 2, 3, 2)),
    ([1, 2, 3], [1, 1, 5], (3, 3, 3, 3)),
    ([1, 2, 3], [0, 0, 0], (2, 2, 2, 2)),
    ([-3, -1], [2, 2], (-2, -3, -1, -1)),
    ([1, 2, 3], [2, 0, 2], (2, 1, 3, 1)),
    ([0.5, 0.5, 2], [1, 1, 2], (1.25, 0.5, 2, 0.5)),
    ([1, 2, 10], [2, 3, 5], (6, 2, 10, 2)),
    ([3, 1, 2], [1, 1, 1], (2, 2, 2, 2)),
]


@pytest.mark.parametrize("count", [2, 3, 4])
@pytest.mark.parametrize("rule", RULES)
def test_worked_weighted_medians(rule: str, count: int) -> None:
    """The table of the reference, a coordinate for each of its rows of `count` values."""
    rows = [row for row in MEDIANS if len(row[0]) == count]
    merged = run(
        "drift_median",
        matrix([0.0] * len(rows)),
        [matrix([row[0][m] for row in rows]) for m in range(count)],
        statistics={"fisher": [matrix([row[1][m] for row in rows]) for m in range(count)]},
        select="all",
        sign=False,
        median_rule=rule,
        **UNIT,
    )
    expected = [row[2][RULES.index(rule)] for row in rows]
    assert merged[UP].flatten().tolist() == expected
    assert [oracle.weighted_median(row[0], row[1], rule) for row in rows] == expected


# --- the oracle ------------------------------------------------------------------------------------------

SELECTIONS: list[dict[str, Any]] = [
    {"select": "keep", "keep": 0.6},
    {"select": "keep", "keep": 0.29},
    {"select": "top_k", "top_k": 2},
    {"select": "top_k", "top_k": 9},
    {"select": "above_mean"},
    {"select": "above_median"},
    {"select": "above_mean", "threshold_over": "survivors"},
    {"select": "above_median", "threshold_over": "survivors"},
    {"select": "above_mean", "strict_threshold": True},
    {"select": "above_median", "strict_threshold": True, "threshold_over": "survivors"},
    {"select": "all"},
    {"select": "intra_topk", "keep": 0.4},
]
SWITCHES: list[dict[str, Any]] = [
    {},
    {"sign": False},
    {"zeros": "exclude"},
    {"zeros": "strict"},
    {"order": "select_then_sign"},
    {"order": "select_then_sign", "zeros": "exclude"},
    {"aggregate": "fisher_mean"},
    {"zero_sign": "positive", "median_rule": "lower"},
    {"zero_sign": "majority", "median_rule": "upper"},
    {"zero_sign": "majority", "order": "select_then_sign", "median_rule": "min_magnitude"},
    {"zero_weight": "base", "aggregate": "fisher_mean", "zeros": "exclude"},
    {"zero_weight": "base", "normalize_fisher": "l2"},
    {"normalize_fisher": "mean", "normalize_scope": "tensor"},
]
COMBINATIONS = [
    {**selection, **switch}
    for selection, switch in itertools.product(SELECTIONS, SWITCHES)
    if switch.get("zeros") != "strict" or selection["select"] in ("keep", "top_k")
]


def agree(base: Tensors, experts: list[Tensors], fishers: list[Tensors] | None, **options: Any) -> None:
    """The program and the oracle on the same models."""
    given: dict[str, Any] = {"statistics": {"fisher": fishers}} if fishers else {"weights_": "uniform"}
    merged = run("drift_median", base, experts, lambda_=0.8, out_dtype="float32", **given, **options)
    known = [arrays(fisher) for fisher in fishers] if fishers else None
    found = oracle.drift_median(arrays(base), [arrays(e) for e in experts], known, lam=0.8, **options)
    assert_close(merged, found)


# Every switch under the usual selection, every selection under the switches that meet it; chance does the rest.
CASES = [{**SELECTIONS[0], **switch} for switch in SWITCHES] + [
    {**selection, **switch}
    for selection in SELECTIONS[1:]
    for switch in ({}, {"zeros": "exclude"}, {"order": "select_then_sign"})
]


@pytest.mark.parametrize("options", CASES, ids=lambda o: " ".join(map(str, o.values())))
def test_every_switch_agrees_with_the_oracle(options: dict[str, Any]) -> None:
    """Few distinct values on every side: pruned zeros, cancelling sums, even splits and weights of 0 everywhere."""
    base, *experts = [coarse(seed) for seed in range(5)]
    agree(base, experts, [counts(seed) for seed in range(4)], **options)


@pytest.mark.parametrize(
    ("count", "dtype"), [(2, torch.float32), (3, torch.bfloat16), (5, torch.float32), (8, torch.bfloat16)]
)
def test_models_agree_with_the_oracle(count: int, dtype: torch.dtype) -> None:
    base, *experts = [
        {n: t.to(dtype) for n, t in qwen2_tensors(seed, num_hidden_layers=1).items()}
        for seed in range(count + 1)
    ]
    fishers = [
        {n: t.square() for n, t in qwen2_tensors(90 + m, num_hidden_layers=1).items()} for m in range(count)
    ]
    agree(base, experts, fishers)
    agree(base, experts, fishers, aggregate="fisher_mean", normalize_fisher="l2")


LEVELS = st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.25, 0.5, 1.0])
MASSES = st.sampled_from([0.0, 0.0, 1.0, 1.0, 2.0, 3.0])
COLUMNS = st.integers(2, 6).flatmap(
    lambda m: st.lists(st.lists(st.tuples(LEVELS, MASSES), min_size=m, max_size=m), min_size=12, max_size=12)
)


@st.composite
def problems(draw: st.DrawFn) -> tuple[list[list[float]], list[list[float]], dict[str, Any]]:
    """Task vectors and Fishers of a few experts on 30 coordinates, and any combination of switches."""
    count, n = draw(st.integers(2, 7)), 30
    rows = [draw(st.lists(LEVELS, min_size=n, max_size=n)) for _ in range(count)]
    masses = [draw(st.lists(MASSES, min_size=n, max_size=n)) for _ in range(count)]
    return rows, masses, draw(st.sampled_from(COMBINATIONS))


@given(problems())
@settings(max_examples=15, deadline=None)
def test_any_small_problem_agrees_with_the_oracle(
    problem: tuple[list[list[float]], list[list[float]], dict[str, Any]],
) -> None:
    rows, masses, options = problem
    agree(matrix([0.0] * 30), [matrix(r) for r in rows], [matrix(m) for m in masses], **options)


# --- what must always hold -------------------------------------------------------------------------------


@given(COLUMNS)
@settings(max_examples=4, deadline=None)
def test_the_weighted_median_beats_every_other_point(columns: list[list[tuple[float, float]]]) -> None:
    """Any point of the interval that the rule names has the least weighted distance; scaling weights moves none."""
    experts = [matrix([pair[0] for pair in row]) for row in zip(*columns, strict=True)]
    fishers = [matrix([pair[1] for pair in row]) for row in zip(*columns, strict=True)]
    scaled = [{UP: 1000 * fisher[UP]} for fisher in fishers]
    base = matrix([0.0] * len(columns))
    for rule in RULES:
        options: dict[str, Any] = {"select": "all", "sign": False, "median_rule": rule, **UNIT}
        merged = run("drift_median", base, experts, statistics={"fisher": fishers}, **options)
        again = run("drift_median", base, experts, statistics={"fisher": scaled}, **options)
        assert torch.equal(again[UP], merged[UP])
        for found, column in zip(merged[UP].flatten().tolist(), columns, strict=True):
            assert all(cost(found, column) <= cost(x, column) + 1e-9 for x in np.linspace(-1.5, 1.5, 121))


def cost(x: float, column: list[tuple[float, float]]) -> float:
    """sum_j w_j |v_j - x|; equal weights when all are 0."""
    plain = not any(w for _, w in column)
    return sum((1 if plain else w) * abs(v - x) for v, w in column)


def test_equal_weights_are_the_plain_median_of_the_survivors() -> None:
    base, *experts = [qwen2_tensors(seed, num_hidden_layers=1) for seed in range(6)]
    equal = [{n: torch.full_like(t, 3.0) for n, t in base.items()} for _ in experts]
    options: dict[str, Any] = {"select": "all", "zeros": "exclude", **UNIT}
    merged = run("drift_median", base, experts, statistics={"fisher": equal}, **options)
    uniform = run("drift_median", base, experts, weights_="uniform", **options)
    for name in base:
        taus = np.stack([(e[name] - base[name]).numpy() for e in experts]).astype(np.float64)
        agreeing = np.where(np.sign(taus) == np.sign(taus.sum(0)), taus, np.nan)
        np.testing.assert_allclose(merged[name], base[name] + np.nanmedian(agreeing, 0), atol=2e-6)
        assert torch.equal(uniform[name], merged[name])


@pytest.mark.parametrize("options", [{"keep": 0.6}, {"select": "top_k", "top_k": 1}])
def test_two_experts_or_one_kept_take_the_larger_update_whatever_the_fisher(options: dict[str, Any]) -> None:
    base = matrix([0.0] * 4)
    experts = [matrix([1.0, -3, 2, 0]), matrix([2.0, -1, -1, 4])]
    for masses in ([1.0, 1.0], [100.0, 1.0], [0.0, 1.0]):
        statistics = {"fisher": [matrix([mass] * 4) for mass in masses]}
        merged = run("drift_median", base, experts, statistics=statistics, **UNIT, **options)
        assert merged[UP].tolist() == [[2, -3, 2, 4]]


@pytest.mark.parametrize("block", [1 << 16, 1 << 17])
def test_the_size_of_blocks_changes_nothing(block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tensor longer than a block, and than the runs that the kernel works in."""
    n = (1 << 17) + 4321
    base, *experts = [matrix(_random(seed, n)) for seed in range(4)]
    fishers = [matrix(_random(seed, n).abs()) for seed in range(10, 13)]
    options: dict[str, Any] = {"normalize_fisher": "l2", "select": "top_k", "top_k": 2}
    whole = run("drift_median", base, experts, statistics={"fisher": fishers}, **options)
    set_block(monkeypatch, block)
    assert torch.equal(
        run("drift_median", base, experts, statistics={"fisher": fishers}, **options)[UP], whole[UP]
    )


def test_a_sweep_over_selection_aggregation_and_scale_computes_one_fisher() -> None:
    first = build_method("drift_median", {}).needs()
    for changed in (
        {"lambda": 0.3},
        {"select": "top_k", "top_k": 1},
        {"keep": 1.0},
        {"aggregate": "fisher_mean"},
        {"zeros": "exclude"},
        {"normalize_fisher": "l2"},
        {"median_rule": "lower"},
        {"order": "select_then_sign"},
        {"select": "intra_topk"},
    ):
        assert build_method("drift_median", changed).needs() == first, changed


def test_where_the_fisher_is_taken() -> None:
    def at(**options: Any) -> list[str]:
        return [need.of for need in build_method("drift_median", options).needs()]

    assert at() == ["aligned"] and at(sign=False) == ["experts"] and at(weights="uniform") == []
    assert at(fisher_at="aligned", sign=False) == ["aligned"]
    assert at(fisher_at="expert") == ["experts"] and at(fisher_at="base") == ["base"]
    assert all(need.per_expert for need in build_method("drift_median", {"fisher_at": "base"}).needs())
    (zero,), (positive,) = (
        build_method("drift_median", {"zero_sign": s}).needs() for s in ("zero", "positive")
    )
    assert zero.options != positive.options, "where the sum is 0, the aligned weights differ"


def test_strict_zeros_need_a_number_of_experts() -> None:
    with pytest.raises(BadInput, match="zeros=strict keeps exactly K experts"):
        build_method("drift_median", {"zeros": "strict", "select": "all"})


def coarse(seed: int) -> Tensors:
    """Two tensors of few distinct values."""
    found = qwen2_tensors(seed, num_hidden_layers=1)
    return {name: (found[name] * 6).round() / 4 for name in (UP, "model.norm.weight")}


def counts(seed: int) -> Tensors:
    """A Fisher of few distinct values, most of them 0 for one expert."""
    return {name: (t.abs() * 2).round() for name, t in coarse(100 + seed).items()}


def _random(seed: int, n: int) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(seed))
