"""Standard errors and paired tests. Every number that is compared anywhere comes from here.

A question is the unit of sampling. When it was answered several times, those answers are one cluster: average
them first, then treat the averages as one observation per question (E. Miller, "Adding Error Bars to Evals",
arXiv:2411.00640, sections 2.2 and 4.2).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats


@dataclass(frozen=True)
class Estimate:
    """A value and its standard error; `stderr` is None where there is none, for example with one question."""

    value: float
    stderr: float | None


@dataclass(frozen=True)
class Paired:
    """A comparison of two checkpoints on the same questions.

    `difference` is the mean over questions of (row - reference), with its standard error; `better` and
    `worse` count the questions on which the row does better and worse (for a length, better is shorter).
    `p` is two-sided. `test` names it: `mcnemar` or `t`.
    """

    difference: float
    stderr: float | None
    p: float | None
    n: int
    better: int
    worse: int
    test: str


def mean(values: ArrayLike) -> Estimate | None:
    """Mean of one value per question, with s / sqrt(n), s the sample deviation (n - 1). None without values.

    For 0/1 values this is the standard error of a proportion, sqrt(p (1 - p) / (n - 1)).
    """
    x = np.asarray(values, dtype=np.float64)
    if x.size == 0:
        return None
    return Estimate(float(x.mean()), float(stats.sem(x)) if x.size > 1 else None)


def clustered_mean(values: ArrayLike, clusters: Sequence[str]) -> Estimate | None:
    """Mean over clusters of the mean in each cluster, with the standard error over clusters.

    Equals the cluster-robust standard error of Miller (eq. 4) for clusters of one size, but for the factor
    sqrt(C / (C - 1)) of C clusters. `clusters[i]` names the question of `values[i]`.
    """
    return mean(cluster_means(values, clusters))


def cluster_means(values: ArrayLike, clusters: Sequence[str]) -> np.ndarray:
    """The mean of each cluster, in the sorted order of their names."""
    names, index = np.unique(np.asarray(clusters, dtype=object), return_inverse=True)
    x = np.asarray(values, dtype=np.float64)
    return np.bincount(index, weights=x, minlength=len(names)) / np.bincount(index, minlength=len(names))


def proportion_stderr(p: float, n: int) -> float | None:
    """sqrt(p (1 - p) / (n - 1)): what `mean` gives for 0/1 values. None below two observations."""
    return math.sqrt(p * (1.0 - p) / (n - 1)) if n > 1 else None


def wilson(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion (JASA 1927): sensible at 0 and 1, unlike value +- stderr."""
    interval = stats.binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    return float(interval.low), float(interval.high)


def mean_of_means(estimates: Sequence[Estimate | None]) -> Estimate | None:
    """Unweighted mean of independent estimates: stderr = sqrt(sum of stderr^2) / k.

    A missing estimate makes the mean missing; a missing standard error makes its standard error missing.
    """
    if not estimates:
        return None
    values, errors = [], []
    for estimate in estimates:
        if estimate is None:
            return None
        values.append(estimate.value)
        errors.append(estimate.stderr)
    known = [error for error in errors if error is not None]
    stderr = math.sqrt(math.fsum(e * e for e in known)) / len(errors) if len(known) == len(errors) else None
    return Estimate(math.fsum(values) / len(values), stderr)


def mcnemar(better: int, worse: int) -> float:
    """Exact two-sided McNemar test: the discordant pairs against a fair coin (Psychometrika 12, 1947).

    `better` and `worse` count the questions that only the one and only the other answered correctly. p is
    the probability, under Binomial(better + worse, 1/2), of a split at least as unequal; 1 if both are 0.
    """
    if better < 0 or worse < 0:
        raise ValueError(f"counts of discordant pairs cannot be negative: {better}, {worse}")
    return float(stats.binomtest(better, better + worse).pvalue) if better + worse else 1.0


def paired_from_moments(
    *, n: int, difference: float, deviation: float | None, better: int, worse: int, binary: bool
) -> Paired:
    """A comparison from what a database can aggregate over the questions.

    `difference` and `deviation` are the mean and the sample standard deviation (n - 1) of the differences per
    question. One answer per question (`binary`) is tested with McNemar's exact test, means of several answers
    and lengths with a paired t test.
    """
    stderr = deviation / math.sqrt(n) if n > 1 and deviation is not None else None
    if binary:
        return Paired(difference, stderr, mcnemar(better, worse), n, better, worse, "mcnemar")
    p = None
    if stderr is not None:
        # All differences equal: no evidence if they are 0, and no test at all otherwise.
        p = (
            float(2 * stats.t.sf(abs(difference) / stderr, n - 1))
            if stderr > 0
            else (1.0 if difference == 0 else None)
        )
    return Paired(difference, stderr, p, n, better, worse, "t")


def paired(row: ArrayLike, reference: ArrayLike, *, binary: bool) -> Paired:
    """Compare two arrays of one value per question, in the same order. See `paired_from_moments`."""
    x, y = np.asarray(row, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 1 or x.size == 0:
        raise ValueError(
            f"a paired comparison needs two equal lists of questions, got {x.shape} and {y.shape}"
        )
    d = x - y
    return paired_from_moments(
        n=d.size,
        difference=float(d.mean()),
        deviation=float(d.std(ddof=1)) if d.size > 1 else None,
        better=int((d > 0).sum()),
        worse=int((d < 0).sum()),
        binary=binary,
    )


def pool(parts: Sequence[Paired | None]) -> Paired | None:
    """All questions of several benchmarks together; a benchmark with more questions weighs more.

    None when a part is missing. Variances are pooled from the parts: total sum of squares = within + between.
    """
    known = [part for part in parts if part is not None]
    if not known or len(known) < len(parts):
        return None
    n = sum(part.n for part in known)
    difference = math.fsum(part.n * part.difference for part in known) / n
    squares = math.fsum(
        (part.stderr or 0.0) ** 2 * part.n * (part.n - 1) + part.n * (part.difference - difference) ** 2
        for part in known
    )
    return paired_from_moments(
        n=n,
        difference=difference,
        deviation=math.sqrt(squares / (n - 1)) if n > 1 else None,
        better=sum(part.better for part in known),
        worse=sum(part.worse for part in known),
        binary=all(part.test == "mcnemar" for part in known),
    )


def paired_interval(row: ArrayLike, reference: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Student's interval of the mean difference of one value per question (lengths, in tokens)."""
    interval = stats.ttest_rel(row, reference).confidence_interval(level)
    return float(interval.low), float(interval.high)


def paired_bootstrap(
    row: ArrayLike, reference: ArrayLike, *, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile interval of the mean difference: questions are resampled with replacement (Efron 1979).

    For skewed differences, where Student's interval is off. The same seed gives the same interval.
    """
    d = np.asarray(row, dtype=np.float64) - np.asarray(reference, dtype=np.float64)
    generator = np.random.default_rng(seed)
    # Blocks of about 8 MB, whatever the number of questions.
    block = max(1, min(resamples, 1_000_000 // max(1, d.size)))
    means = [
        d[generator.integers(0, d.size, (min(block, resamples - done), d.size))].mean(axis=1)
        for done in range(0, resamples, block)
    ]
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
