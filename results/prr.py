"""Performance Retain Rate: how much of its experts' performance one merged model keeps.

DRIFT-MEDIAN defines it: PRR of a domain = 100 x mean over its benchmarks of (merged / the domain's expert), and
PRR = mean over domains. Domains come first, so that a domain of four benchmarks weighs no more than one of two.
Nothing is clipped at 100 and nothing missing is left out of a mean: what is missing makes its domain and the mean
missing. Both numbers of a ratio must come from one harness under one setting: who calls sees to it.

The ratio of one benchmark and its error: `ratio.py`. Benchmarks are independent of each other, but those that say
that they share their items (`shares`): the errors of these are added up, an upper bound that is reached when the
two go up and down together.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from results.ratio import Pairs, Performance, Ratio, ratio_of
from results.statistics import Estimate

__all__ = [
    "DomainRate", "Pairs", "Performance", "Ratio", "RetainRate", "Retention", "ratio_of", "retain_rate", "retention"
]  # fmt: skip

SAFETY = "safety"


@dataclass(frozen=True)
class DomainRate:
    """One domain: the unweighted mean of its benchmarks' ratios, in %; None when one of them is missing."""

    domain: str
    estimate: Estimate | None
    ratios: tuple[Ratio, ...]


@dataclass(frozen=True)
class RetainRate:
    """PRR in %, of every domain and their mean. `flags` and `missing` are sentences for a person.

    `worst` is the lowest domain, None while one is missing; `without_safety` is the mean of the others, None
    where there is no domain `safety` or nothing else; `score` is the plain mean of the merged model's scores
    over all benchmarks, in %.
    """

    domains: tuple[DomainRate, ...]
    mean: Estimate | None
    worst: tuple[str, Estimate] | None
    without_safety: Estimate | None
    score: Estimate | None
    flags: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class Retention:
    """Performance relative to the base, in %: the unweighted mean over benchmarks, without domains."""

    ratios: tuple[Ratio, ...]
    mean: Estimate | None
    score: Estimate | None
    flags: tuple[str, ...]
    missing: tuple[str, ...]


def retain_rate(performances: Sequence[Performance]) -> RetainRate:
    """PRR of one merged model: domains in the order in which they come, every benchmark once.

    Raises ValueError for no benchmark or the same twice, for a negative score, and for pairs that do not give
    the scores they come with.
    """
    ratios = _ratios(performances)
    by_domain: dict[str, list[Ratio]] = defaultdict(list)
    for ratio in ratios:
        by_domain[ratio.domain].append(ratio)
    domains = tuple(
        DomainRate(domain, _mean([tuple(found)]), tuple(found)) for domain, found in by_domain.items()
    )
    others = [domain.ratios for domain in domains if domain.domain != SAFETY]
    return RetainRate(
        domains=domains,
        mean=_mean([domain.ratios for domain in domains]),
        worst=_worst(domains),
        without_safety=_mean(others) if others and SAFETY in by_domain else None,
        score=_score(performances),
        flags=_flags(ratios),
        missing=_missing(ratios),
    )


def retention(performances: Sequence[Performance]) -> Retention:
    """Performance relative to the base (the `expert` of each here): how much was forgotten. Raises as PRR does."""
    ratios = _ratios(performances)
    return Retention(
        ratios=ratios,
        mean=_mean([ratios]),
        score=_score(performances),
        flags=_flags(ratios),
        missing=_missing(ratios),
    )


def _ratios(performances: Sequence[Performance]) -> tuple[Ratio, ...]:
    names = [performance.benchmark for performance in performances]
    if not names:
        raise ValueError("there is no benchmark to form a ratio of")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"benchmarks that come twice: {', '.join(twice)}")
    return tuple(map(ratio_of, performances))


def _mean(domains: Sequence[Sequence[Ratio]]) -> Estimate | None:
    """Mean of the means of `domains`."""
    return _weighted(
        [
            (1 / (len(domains) * len(domain)), ratio.estimate, ratio.shares)
            for domain in domains
            for ratio in domain
        ]
    )


def _score(performances: Sequence[Performance]) -> Estimate | None:
    weight = 100 / len(performances)
    return _weighted([(weight, one.merged, one.shares) for one in performances])


def _weighted(terms: Sequence[tuple[float, Estimate | None, str | None]]) -> Estimate | None:
    """Weighted sum of (weight, estimate, its items). Errors on the same items are added, others squared first."""
    values: list[float] = []
    errors: dict[str, list[float]] = defaultdict(list)
    known = True
    for place, (weight, estimate, shares) in enumerate(terms):
        if estimate is None:
            return None
        values.append(weight * estimate.value)
        known = known and estimate.stderr is not None
        errors[f"items {shares}" if shares else f"term {place}"].append(weight * (estimate.stderr or 0.0))
    squared = [math.fsum(group) ** 2 for group in errors.values()]
    return Estimate(math.fsum(values), math.sqrt(math.fsum(squared)) if known else None)


def _worst(domains: Sequence[DomainRate]) -> tuple[str, Estimate] | None:
    known = [(domain.domain, domain.estimate) for domain in domains if domain.estimate is not None]
    return min(known, key=lambda one: (one[1].value, one[0])) if len(known) == len(domains) else None


def _flags(ratios: Sequence[Ratio]) -> tuple[str, ...]:
    return tuple(flag for ratio in ratios for flag in ratio.flags)


def _missing(ratios: Sequence[Ratio]) -> tuple[str, ...]:
    return tuple(ratio.missing for ratio in ratios if ratio.missing is not None)
