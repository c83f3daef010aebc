"""Statistics against values worked by hand, against SciPy, and against their own rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from results.board import pareto
from results.statistics import (
    Estimate,
    Paired,
    cluster_means,
    mcnemar,
    mean,
    mean_of_means,
    paired_from_moments,
    pool,
    proportion,
)


def clustered(values: list[int] | list[bool], clusters: list[str]) -> Estimate | None:
    return mean(cluster_means(values, clusters))


def paired(row: Sequence[float], reference: Sequence[float], *, binary: bool) -> Paired:
    """The comparison of two lists, from the moments that the database would aggregate."""
    d = np.subtract(row, reference, dtype=float)
    return paired_from_moments(
        n=d.size,
        difference=float(d.mean()),
        deviation=float(d.std(ddof=1)) if d.size > 1 else None,
        better=int((d > 0).sum()),
        worse=int((d < 0).sum()),
        binary=binary,
    )


def test_a_proportion_by_hand() -> None:
    assert mean([1, 1, 1, 0]) == Estimate(0.75, pytest.approx(0.25))  # p = 3/4: sqrt(3/16 / 3) = 1/4
    assert proportion([1, 1, 1, 0]) == mean([1, 1, 1, 0])
    assert mean([3.0]) == Estimate(3.0, None) and mean([]) is None
    assert proportion([1.0]) == Estimate(1.0, None) and proportion([]) is None


@given(st.integers(2, 500), st.booleans())
def test_a_proportion_of_0_or_1_has_the_error_of_wilson(n: int, value: bool) -> None:
    estimate = proportion([value] * n)
    level = stats.norm.cdf(1) - stats.norm.cdf(-1)
    wilson = stats.binomtest(n * value, n).proportion_ci(confidence_level=level, method="wilson")
    assert estimate == Estimate(float(value), pytest.approx((wilson.high - wilson.low) / 2))


def test_clusters_by_hand() -> None:
    # Question a: 1, 0 -> 1/2; b: 1, 1 -> 1; c: 0 -> 0. Mean 1/2, deviation 1/2, stderr 1 / (2 sqrt 3).
    estimate = clustered([1, 1, 0, 1, 0], ["a", "b", "a", "b", "c"])
    assert estimate == Estimate(pytest.approx(0.5), pytest.approx(0.5 / math.sqrt(3)))


@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=2, max_size=20))
def test_clustered_error_agrees_with_the_formula_of_miller(questions: list[list[bool]]) -> None:
    flat = [value for question in questions for value in question]
    names = [str(i) for i, question in enumerate(questions) for _ in question]
    center, n, clusters = np.mean(flat), len(flat), len(questions)
    miller = math.sqrt(sum(sum(v - center for v in question) ** 2 for question in questions)) / n
    estimate = clustered(flat, names)
    assert estimate is not None and estimate.stderr is not None
    assert estimate.stderr == pytest.approx(miller * math.sqrt(clusters / (clusters - 1)), abs=1e-12)


def test_repeating_every_answer_makes_nothing_more_certain() -> None:
    once = clustered([1, 0, 1, 1], list("abcd"))
    assert clustered([1, 0, 1, 1] * 8, list("abcd") * 8) == once


@given(st.integers(0, 40), st.integers(0, 40))
def test_mcnemar_is_the_exact_binomial_test_and_symmetric(better: int, worse: int) -> None:
    n = better + worse
    tail = sum(math.comb(n, k) for k in range(min(better, worse) + 1)) / 2**n
    assert mcnemar(better, worse) == pytest.approx(min(1.0, 2 * tail))
    assert mcnemar(better, worse) == mcnemar(worse, better)
    if n:
        assert mcnemar(better, worse) == stats.binomtest(better, n).pvalue


def test_mcnemar_by_hand() -> None:
    assert mcnemar(5, 0) == pytest.approx(2 / 32)
    assert mcnemar(8, 2) == pytest.approx(2 * (1 + 10 + 45) / 1024)
    assert mcnemar(0, 0) == 1.0
    with pytest.raises(ValueError, match="negative"):
        mcnemar(-1, 2)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=2, max_size=60))
def test_a_paired_comparison_counts_only_what_differs(pairs: list[tuple[bool, bool]]) -> None:
    x, y = zip(*pairs, strict=True)
    found = paired(x, y, binary=True)
    assert (found.better, found.worse) == (sum(a > b for a, b in pairs), sum(a < b for a, b in pairs))
    assert found.difference * len(pairs) == pytest.approx(found.better - found.worse)
    assert found.p == mcnemar(found.better, found.worse) and found.test == "mcnemar"


def test_paired_lengths_agree_with_scipy() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(20, 5, 50)
    y = x + generator.normal(3, 4, 50)
    found = paired(list(x), list(y), binary=False)
    assert found.p == pytest.approx(stats.ttest_rel(x, y).pvalue) and found.test == "t"


def test_paired_edges() -> None:
    assert paired([1.0, 2.0], [1.0, 2.0], binary=False).p == 1.0
    assert paired([2.0, 3.0], [1.0, 2.0], binary=False).p is None  # no spread: nothing to test against
    assert paired([2.0], [1.0], binary=False).stderr is None


@given(
    st.lists(
        st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=20), min_size=1, max_size=4
    )
)
def test_pooling_benchmarks_is_comparing_all_their_questions(
    benchmarks: list[list[tuple[bool, bool]]],
) -> None:
    parts = [paired(*zip(*pairs, strict=True), binary=True) for pairs in benchmarks]
    everything = [pair for pairs in benchmarks for pair in pairs]
    expected = paired(*zip(*everything, strict=True), binary=True)
    found = pool(parts)
    assert found is not None
    assert (found.n, found.better, found.worse, found.p) == (
        expected.n,
        expected.better,
        expected.worse,
        expected.p,
    )
    assert found.difference == pytest.approx(expected.difference, abs=1e-12)
    assert (found.stderr or 0) == pytest.approx(expected.stderr or 0, abs=1e-9)
    assert pool([*parts, None]) is None and pool([]) is None


def test_a_missing_score_makes_the_mean_missing() -> None:
    a, b = Estimate(0.5, 0.03), Estimate(0.7, 0.04)
    assert mean_of_means([a, b]) == Estimate(pytest.approx(0.6), pytest.approx(0.025))
    assert mean_of_means([a, None]) is None and mean_of_means([]) is None
    assert mean_of_means([a, Estimate(0.7, None)]) == Estimate(pytest.approx(0.6), None)


def test_the_pareto_front_by_hand() -> None:
    points = [(0.9, 100.0), (0.8, 40.0), (0.7, 40.0), (0.6, 10.0), (0.6, 10.0), (0.5, 50.0)]
    assert pareto(points) == [True, True, False, True, True, False]
    assert pareto([]) == []
