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


def proportion(values: ArrayLike) -> Estimate | None:
    """`mean` of shares, one per question; a proportion of exactly 0 or 1 has an error too.

    There s is 0, as if 0 of 60 were certain. The error is then half of Wilson's score interval (JASA 1927)
    at z = 1, which is [0, 1 / (n + 1)] for 0 of n, and its mirror image for n of n: 0.5 / (n + 1).
    """
    estimate = mean(values)
    if estimate is None or estimate.stderr is None or 0.0 < estimate.value < 1.0:
        return estimate
    return Estimate(estimate.value, 0.5 / (np.size(values) + 1))


def ratio(above: ArrayLike, below: ArrayLike) -> Estimate | None:
    """sum(above) / sum(below), one value of each per question; None where nothing stands below.

    The share of some of the questions (0 or 1 above, where below is 1) is their `proportion`. Otherwise, as for
    precision and F1, whose denominators are random too, the error is the delta method's (Cochran, Sampling
    Techniques, 1977, section 6.3): the residuals above - ratio * below have the mean 0 and are independent.
    """
    a, b = np.asarray(above, dtype=np.float64), np.asarray(below, dtype=np.float64)
    if not b.sum():
        return None
    if set(b) <= {0.0, 1.0} and not a[b == 0].any():
        return proportion(a[b == 1])
    found = float(a.sum() / b.sum())
    if b.size < 2:
        return Estimate(found, None)
    residuals = a - found * b
    return Estimate(found, math.sqrt(float(residuals @ residuals) * b.size / (b.size - 1)) / float(b.sum()))


def cluster_means(values: ArrayLike, clusters: Sequence[str]) -> np.ndarray:
    """The mean of each cluster, in the sorted order of their names. `clusters[i]` is that of `values[i]`.

    Questions are the clusters: `mean` of the result has the cluster-robust standard error of Miller (eq. 4)
    for clusters of one size, but for the factor sqrt(C / (C - 1)) of C clusters.
    """
    names, index = np.unique(np.asarray(clusters, dtype=object), return_inverse=True)
    x = np.asarray(values, dtype=np.float64)
    return np.bincount(index, weights=x, minlength=len(names)) / np.bincount(index, minlength=len(names))


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
