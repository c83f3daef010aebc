"""One benchmark's ratio of a merged model's score and another's, with its standard error. Pure functions.

The standard error is a bootstrap over items where it is known which items each of the two models got right (their
errors are correlated, and this is where it counts), and the delta method with independent errors otherwise. The
parts of one benchmark (languages) are taken as independent; where they are translations of the same questions the
error is somewhat too small.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from results.statistics import Estimate

ABOVE = 110.0
"""A ratio above this, in %, is flagged: such a denominator rather says that the expert is weak there."""
REPLICATES = 2_000
_SEED = 20_250_905
_AGREE = 1e-6  # of a score and the share of right items that is said to be behind it
_ROUNDING = 1e-9  # 0.55 / 0.5 is not above 110 %


@dataclass(frozen=True)
class Pairs:
    """Items answered right by both models, by one of them only, by neither. Parts of a benchmark have one each."""

    both: int
    only_merged: int
    only_expert: int
    neither: int

    @property
    def n(self) -> int:
        """All items."""
        return self.both + self.only_merged + self.only_expert + self.neither


@dataclass(frozen=True)
class Performance:
    """What a merged model and its denominator reach on one benchmark, higher is better, as shares in 0..1.

    `expert` is the expert of `domain` (or the base, for `retention`). `constant` is what the best constant answer
    reaches, None where there is none. `pairs` are of one right-or-wrong answer to each item, a tuple for a
    benchmark that is the unweighted mean of parts. `shares` names the items when another benchmark asks the same.
    `why` says why there is no `expert`, where that is known.
    """

    benchmark: str
    domain: str
    merged: Estimate | None
    expert: Estimate | None
    constant: float | None = None
    pairs: Pairs | tuple[Pairs, ...] | None = None
    shares: str | None = None
    why: str | None = None


@dataclass(frozen=True)
class Ratio:
    """One benchmark: `estimate` in %, or None with the reason in `missing`.

    `error` says where the standard error comes from: `bootstrap`, `delta`, None without one.
    """

    benchmark: str
    domain: str
    estimate: Estimate | None
    error: str | None = None
    flags: tuple[str, ...] = ()
    missing: str | None = None
    shares: str | None = None


def ratio_of(performance: Performance) -> Ratio:
    """100 x merged / expert of one benchmark, with its error and flags, or why there is none."""
    name, merged, expert = performance.benchmark, performance.merged, performance.expert
    for model, estimate in (("the merged model", merged), ("its denominator", expert)):
        _check(name, model, estimate)
    if merged is None or expert is None or expert.value == 0:
        return Ratio(name, performance.domain, None, missing=_reason(performance), shares=performance.shares)
    value = 100 * merged.value / expert.value
    stderr, error = _error(performance, merged, expert)
    flags = tuple(_said_of(performance, value, expert.value))
    if error == "bootstrap" and stderr is None:
        flags += (f"{name}: no standard error, since its denominator has next to nothing right",)
    return Ratio(name, performance.domain, Estimate(value, stderr), error, flags, None, performance.shares)


def _check(benchmark: str, model: str, estimate: Estimate | None) -> None:
    if estimate is None:
        return
    if not math.isfinite(estimate.value):
        raise ValueError(f"{benchmark}: the score of {model} is {estimate.value}, not a number")
    if estimate.value < 0:
        raise ValueError(
            f"{benchmark}: the score of {model} is negative, {estimate.value:g}: a ratio needs scores where "
            "higher is better and the worst is 0; convert rates of harm and attacks first (1 - rate)"
        )


def _reason(performance: Performance) -> str:
    if performance.expert is None:
        return f"{performance.benchmark}: {performance.why or 'no score of the model in the denominator'}"
    if performance.merged is None:
        return f"{performance.benchmark}: no score"
    return f"{performance.benchmark}: the model in the denominator has nothing right"


def _said_of(performance: Performance, value: float, expert: float) -> Iterable[str]:
    if value > ABOVE + _ROUNDING:
        yield f"{performance.benchmark}: {value:.1f} is above {ABOVE:.0f}"
    if performance.constant is not None and expert < performance.constant:
        yield (
            f"{performance.benchmark}: its denominator, {100 * expert:.1f}, is below the best constant answer, "
            f"{100 * performance.constant:.1f}"
        )


def _error(performance: Performance, merged: Estimate, expert: Estimate) -> tuple[float | None, str | None]:
    """The standard error of the ratio in %, and where it comes from.

    With nothing right every replicate is 0, so that such a ratio has the error of its parts.
    """
    pairs = performance.pairs
    if pairs is None:
        return _delta(merged, expert)
    parts = (pairs,) if isinstance(pairs, Pairs) else tuple(pairs)
    _check_pairs(performance.benchmark, parts, merged, expert)
    return (bootstrap(parts), "bootstrap") if merged.value > 0 else _delta(merged, expert)


def _check_pairs(benchmark: str, parts: Sequence[Pairs], merged: Estimate, expert: Estimate) -> None:
    if not parts or any(part.n == 0 for part in parts):
        raise ValueError(f"{benchmark}: pairs without any item")
    shares = {
        "merged model": (merged.value, [(part.both + part.only_merged) / part.n for part in parts]),
        "denominator": (expert.value, [(part.both + part.only_expert) / part.n for part in parts]),
    }
    for model, (score, right) in shares.items():
        share = math.fsum(right) / len(right)
        if abs(share - score) > _AGREE:
            raise ValueError(
                f"{benchmark}: by its pairs the {model} has {share:.6f} of the items right, by its score {score:.6f}"
            )


def bootstrap(parts: Sequence[Pairs]) -> float | None:
    """Standard error, in %, of the ratio of two means over the same items, by drawing items with replacement.

    Items that the two models answered alike cannot be told apart, so that drawing n items is drawing the four
    counts from a multinomial: exact, and as quick for 20,000 items as for 20. None where a replicate has a
    denominator of 0: the ratio has no variance then.
    """
    draws = np.random.default_rng(_SEED)
    merged, expert = np.zeros(REPLICATES), np.zeros(REPLICATES)
    # The parts in an order of their own, so that the same parts draw the same numbers.
    for part in sorted(parts, key=lambda p: (p.both, p.only_merged, p.only_expert, p.neither)):
        counts = np.array([part.both, part.only_merged, part.only_expert, part.neither])
        both, only_merged, only_expert, _ = draws.multinomial(part.n, counts / part.n, size=REPLICATES).T
        merged += (both + only_merged) / part.n
        expert += (both + only_expert) / part.n
    if not expert.all():
        return None
    return float(np.std(100 * merged / expert, ddof=1))


def _delta(merged: Estimate, expert: Estimate) -> tuple[float | None, str | None]:
    """First order: var(m / e) = (var(m) + (m / e)^2 var(e)) / e^2, m and e independent."""
    if merged.stderr is None or expert.stderr is None:
        return None, None
    ratio = merged.value / expert.value
    return 100 * math.hypot(merged.stderr, ratio * expert.stderr) / expert.value, "delta"
