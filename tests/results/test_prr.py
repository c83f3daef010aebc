"""Performance Retain Rate against hand-computed values, a bootstrap over single items, and what must always hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.prr import Pairs, Performance, RetainRate, Retention, ratio_of, retain_rate, retention
from results.ratio import bootstrap
from results.statistics import Estimate


def of(
    benchmark: str,
    domain: str,
    merged: float | None,
    expert: float | None,
    errors: tuple[float, float] | None = None,
    constant: float | None = None,
    pairs: Pairs | tuple[Pairs, ...] | None = None,
    shares: str | None = None,
) -> Performance:
    one, two = errors or (None, None)
    return Performance(
        benchmark,
        domain,
        None if merged is None else Estimate(merged, one),
        None if expert is None else Estimate(expert, two),
        constant,
        pairs,
        shares,
    )


def paired(benchmark: str, *counts: Pairs, domain: str = "d", shares: str | None = None) -> Performance:
    merged = [(p.both + p.only_merged) / p.n for p in counts]
    expert = [(p.both + p.only_expert) / p.n for p in counts]
    one, two = (sum(values) / len(values) for values in (merged, expert))
    return of(benchmark, domain, one, two, pairs=counts, shares=shares)


def value(estimate: Estimate | None) -> float:
    assert estimate is not None
    return estimate.value


def stderr(estimate: Estimate | None) -> float:
    assert estimate is not None and estimate.stderr is not None
    return estimate.stderr


def test_domains_come_first_and_nothing_is_clipped() -> None:
    """Two of maths at 50 and 100, one of safety at 120: 75 and 120, not (50 + 100 + 120) / 3."""
    rate = retain_rate(
        [of("gsm8k", "maths", 0.4, 0.8), of("xstest", "safety", 0.6, 0.5), of("minerva", "maths", 0.3, 0.3)]
    )
    assert [(d.domain, value(d.estimate)) for d in rate.domains] == [("maths", 75), ("safety", 120)]
    assert value(rate.mean) == 97.5 and value(rate.without_safety) == 75
    assert rate.worst is not None and rate.worst[0] == "maths" and rate.worst[1].value == 75
    assert value(rate.score) == pytest.approx(100 * 1.3 / 3)
    assert rate.mean is not None and rate.mean.stderr is None, "no score had an error"
    assert rate.flags == ("xstest: 120.0 is above 110",) and rate.missing == ()


def test_flags_say_a_denominator_that_is_below_a_constant_answer() -> None:
    """The 3B expert of safety on XSTest: 38.67, below always refusing (44.44)."""
    rate = retain_rate([of("xstest", "safety", 0.40, 0.3867, constant=0.4444)])
    assert rate.flags == ("xstest: its denominator, 38.7, is below the best constant answer, 44.4",)
    assert value(rate.mean) == pytest.approx(103.439, abs=0.001) and rate.without_safety is None
    at_it = of("a", "d", 0.5, 0.5, constant=0.5), of("b", "d", 0.55, 0.5), of("c", "d", 0.551, 0.5)
    assert retain_rate(at_it).flags == ("c: 110.2 is above 110",), "at the limit is not above it"


@pytest.mark.parametrize(
    ("gap", "why"),
    [
        (of("b", "maths", None, 0.5), "b: no score"),
        (of("b", "maths", 0.5, None), "b: no score of the model in the denominator"),
        (of("b", "maths", 0.5, 0.0), "b: the model in the denominator has nothing right"),
    ],
)
def test_what_is_missing_makes_its_domain_and_the_mean_missing(gap: Performance, why: str) -> None:
    rate = retain_rate([of("a", "maths", 0.5, 1.0), gap, of("c", "safety", 0.5, 1.0)])
    assert [d.estimate is None for d in rate.domains] == [True, False]
    assert rate.mean is None and rate.worst is None and rate.without_safety is None
    assert rate.missing == (why,)
    assert rate.domains[0].ratios[0].estimate == Estimate(50.0, None), "what is known stays"
    safe = retain_rate([of("a", "maths", 0.5, 1.0), of("c", "safety", None, 1.0)])
    assert safe.mean is None and value(safe.without_safety) == 50


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (
            [of("harmbench", "safety", -0.1, 0.5)],
            "harmbench: the score of the merged model is negative, -0.1",
        ),
        ([of("a", "d", 0.5, math.nan)], "its denominator is nan"),
        ([of("a", "d", 0.5, 0.5), of("a", "e", 0.5, 0.5)], "come twice: a"),
        ([], "no benchmark"),
        (
            [of("a", "d", 0.5, 0.5, pairs=Pairs(4, 1, 2, 3))],
            "the denominator has 0.600000 of the items right",
        ),
        ([of("a", "d", 0.5, 0.5, pairs=Pairs(0, 0, 0, 0))], "without any item"),
    ],
)
def test_what_cannot_be_divided_is_refused(wrong: list[Performance], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        retain_rate(wrong)


def test_delta_method_by_hand() -> None:
    """0.4 +- 0.03 over 0.8 +- 0.02: sqrt(0.0009 + 0.25 * 0.0004) / 0.8 = 0.03953; a mean of two: / 2."""
    one, two = of("a", "x", 0.4, 0.8, (0.03, 0.02)), of("b", "x", 0.6, 0.6, (0.03, 0.04))
    ratio = ratio_of(one)
    assert ratio.error == "delta" and stderr(ratio.estimate) == pytest.approx(3.9529, abs=1e-4)
    second = 100 * 0.05 / 0.6
    assert stderr(retain_rate([one, two]).mean) == pytest.approx(math.hypot(3.9529, second) / 2, abs=1e-4)
    three = of("c", "y", 0.5, 0.5, (0.0, 0.0))
    assert stderr(retain_rate([one, two, three]).mean) == pytest.approx(
        math.hypot(3.9529, second) / 4, abs=1e-4
    )


def items(pairs: Pairs) -> np.ndarray:
    """Rows (merged right, expert right), one per item."""
    rows = [(1, 1)] * pairs.both + [(1, 0)] * pairs.only_merged + [(0, 1)] * pairs.only_expert
    return np.array(rows + [(0, 0)] * pairs.neither, dtype=float)


@pytest.mark.parametrize(
    "parts",
    [
        (Pairs(40, 5, 25, 30),),
        (Pairs(30, 40, 9, 41),),
        (Pairs(300, 20, 10, 70),),
        (Pairs(40, 5, 25, 30), Pairs(20, 10, 10, 10), Pairs(30, 2, 8, 160)),
    ],
)
def test_the_error_is_that_of_drawing_items(parts: tuple[Pairs, ...]) -> None:
    """Items drawn one by one with replacement, all outcomes of an item together, each part from its own."""
    draws = np.random.default_rng(0)
    ratios = []
    for _ in range(4000):
        means = [rows[draws.integers(len(rows), size=len(rows))].mean(axis=0) for rows in map(items, parts)]
        merged, expert = np.mean(means, axis=0)
        ratios.append(100 * merged / expert)
    # Two standard deviations estimated from 4,000 and 2,000 draws: each within 1.6 % at one sigma.
    assert bootstrap(parts) == pytest.approx(np.std(ratios, ddof=1), rel=0.07)
    assert ratio_of(paired("a", *parts)).error == "bootstrap"


def test_pairs_tell_what_independent_errors_cannot() -> None:
    """Two models that answer nearly alike: their ratio is far surer than two independent errors say."""
    pairs = Pairs(60, 2, 2, 36)
    error = math.sqrt(0.62 * 0.38 / 99)
    alone = ratio_of(of("a", "d", 0.62, 0.62, (error, error)))
    assert stderr(ratio_of(paired("a", pairs)).estimate) < 0.4 * stderr(alone.estimate)


def test_errors_that_no_replicate_shows() -> None:
    nothing = of("a", "d", 0.0, 0.5, (0.01, 0.05), pairs=Pairs(0, 0, 25, 25))
    ratio = ratio_of(nothing)
    assert ratio.error == "delta" and stderr(ratio.estimate) == pytest.approx(2.0), "0 of 50 is not certain"
    assert bootstrap([Pairs(1, 3, 1, 95)]) is None, "a replicate without a right answer of the expert"
    rate = retain_rate([paired("a", Pairs(1, 3, 1, 95))])
    assert value(rate.mean) == pytest.approx(200) and rate.mean is not None and rate.mean.stderr is None
    assert rate.flags[1:] == ("a: no standard error, since its denominator has next to nothing right",)


def test_benchmarks_on_the_same_items_are_not_averaged_away() -> None:
    """Strict and loose: equal errors on the same items give the mean the error of one, not of one / sqrt(2)."""
    pairs = Pairs(40, 5, 25, 30)
    one = stderr(retain_rate([paired("strict", pairs)]).mean)
    apart = retain_rate([paired("strict", pairs), paired("loose", pairs)])
    together = retain_rate(
        [paired("strict", pairs, shares="ifeval"), paired("loose", pairs, shares="ifeval")]
    )
    assert stderr(apart.mean) == pytest.approx(one / math.sqrt(2))
    assert stderr(together.mean) == pytest.approx(one)


def test_retention_is_relative_to_the_base_and_knows_no_domains() -> None:
    kept = retention(
        [of("coqa", "general", 0.4, 0.8), of("mmlu", "general", 0.3, 0.3), of("squad", "x", 0.3, 0.4)]
    )
    assert value(kept.mean) == 75 and value(kept.score) == pytest.approx(100 / 3)
    gap = retention([of("coqa", "general", 0.4, None), of("mmlu", "general", 0.3, 0.3)])
    assert gap.mean is None and gap.missing == ("coqa: no score of the model in the denominator",)


counts = st.integers(0, 40)
some_pairs = st.builds(Pairs, st.integers(20, 60), counts, counts, counts)
suites = st.lists(
    st.tuples(st.sampled_from(("maths", "coding", "safety")), some_pairs, st.booleans()),
    min_size=1,
    max_size=5,
)


def rate_of(suite: list[tuple[str, Pairs, bool]], factor: float = 1.0) -> tuple[RetainRate, Retention]:
    performances = []
    for place, (domain, pairs, known) in enumerate(suite):
        found = paired(f"b{place}", pairs, domain=domain)
        if not known:
            found = of(
                f"b{place}", domain, factor * value(found.merged), factor * value(found.expert),
                (factor * 0.02, factor * 0.03),
            )  # fmt: skip
        performances.append(found)
    return retain_rate(performances), retention(performances)


@settings(max_examples=25, deadline=None)
@given(suites)
def test_a_model_against_itself_retains_everything(suite: list[tuple[str, Pairs, bool]]) -> None:
    itself = [(domain, Pairs(p.both + p.only_expert, 0, 0, p.neither), True) for domain, p, _ in suite]
    rate, kept = rate_of(itself)
    assert value(rate.mean) == pytest.approx(100) and value(kept.mean) == pytest.approx(100)
    assert stderr(rate.mean) == pytest.approx(0, abs=1e-9) and rate.flags == ()


@settings(max_examples=25, deadline=None)
@given(suites, st.floats(0.1, 3))
def test_units_do_not_matter(suite: list[tuple[str, Pairs, bool]], factor: float) -> None:
    plain = [(domain, pairs, False) for domain, pairs, _ in suite]
    (one, kept_one), (two, kept_two) = rate_of(plain), rate_of(plain, factor)
    assert value(one.mean) == pytest.approx(value(two.mean), rel=1e-9)
    assert stderr(one.mean) == pytest.approx(stderr(two.mean), rel=1e-9)
    assert value(kept_one.mean) == pytest.approx(value(kept_two.mean), rel=1e-9)


@settings(max_examples=25, deadline=None)
@given(suites, st.randoms(use_true_random=False))
def test_order_does_not_matter(suite: list[tuple[str, Pairs, bool]], shuffler: object) -> None:
    performances = [
        paired(f"b{place}", pairs, domain=domain) for place, (domain, pairs, _) in enumerate(suite)
    ]
    one = retain_rate(performances)
    shuffler.shuffle(performances)  # type: ignore[attr-defined]
    two = retain_rate(performances)
    assert one.mean == two.mean and one.worst == two.worst and one.without_safety == two.without_safety
    assert set(one.flags) == set(two.flags)
    assert {d.domain: d.estimate for d in one.domains} == {d.domain: d.estimate for d in two.domains}
