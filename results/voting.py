"""Majority voting over the answers to one question (self-consistency, Wang et al., arXiv:2203.11171).

Two rules. `toolkit`, as the Qwen2.5-Math toolkit votes: on the extracted strings; an answer that could not be
parsed is the empty string, an ordinary vote that can win; a tie goes to the string seen first. `robust`: on
clusters of equal answers; an answer that could not be parsed does not vote, and when none could be, the vote
is wrong; a tie goes to the larger summed log-probability where it is known for every voter, else to the
answer seen first. Under both, the verdict is that of the first response in the winning group.

maj@n uses the first n of one pool, in the order of the sample index, so that pools of different n are nested.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from results.statistics import Estimate, proportion

TOOLKIT, ROBUST = "toolkit", "robust"
ORDERS = 200  # random orders of each pool, from which the resampled draws are taken; of many pools fewer do
FEWEST_ORDERS = 20
REPLICATES = 2000
AT_ONCE = 1 << 20  # draws of questions that are held in memory together
LEVEL = 0.95


@dataclass(frozen=True)
class Ballot:
    """One response as voting sees it.

    `vote` is the cluster that it votes with (None: unparsable), `answer` the extracted string (None: none found),
    `logprob` the summed log-probability of its tokens, None where it was not recorded.
    """

    vote: str | None
    correct: bool
    answer: str | None = None
    logprob: float | None = None


@dataclass(frozen=True)
class Vote:
    """maj@n over questions, with the ends of its 95 % interval."""

    estimate: Estimate
    low: float
    high: float


def majority(ballots: Sequence[Ballot]) -> bool:
    """Whether the majority is correct under the rule `robust`; `ballots` in the order of the sample index."""
    voters = [ballot for ballot in ballots if ballot.vote is not None]
    if not voters:
        return False
    counts = Counter(ballot.vote for ballot in voters)
    most = max(counts.values())
    tied = [vote for vote, count in counts.items() if count == most]  # in the order seen
    if len(tied) > 1 and all(ballot.logprob is not None for ballot in voters):
        sums = {vote: math.fsum(b.logprob or 0.0 for b in voters if b.vote == vote) for vote in tied}
        tied.sort(key=lambda vote: -sums[vote])  # stable: the first among equals stays first
    return next(ballot.correct for ballot in voters if ballot.vote == tied[0])


def toolkit_majority(ballots: Sequence[Ballot]) -> bool:
    """Whether the majority is correct under the rule `toolkit`; `ballots` in the order of the sample index."""
    if not ballots:
        return False
    counts = Counter(ballot.answer or "" for ballot in ballots)
    winner = max(
        counts, key=lambda answer: counts[answer]
    )  # the first among equals: a Counter keeps the order
    return next(ballot.correct for ballot in ballots if (ballot.answer or "") == winner)


RULES: dict[str, Callable[[Sequence[Ballot]], bool]] = {ROBUST: majority, TOOLKIT: toolkit_majority}


def maj_at(n: int, questions: Sequence[Sequence[Ballot]], rule: str = ROBUST) -> Estimate | None:
    """maj@n over questions, with its standard error; None when a question has fewer than n responses.

    maj@1 is the mean of the single samples of the whole pool, averaged in each question first.

    For n > 1 the standard error is that of a proportion over the questions' votes as they fell. A vote
    already varies with the draws behind it, so questions and draws are both in it.
    """
    if n < 1:
        raise ValueError(f"maj@n needs n of at least 1, got {n}")
    if not questions or any(len(pool) < n for pool in questions):
        return None
    if n == 1:
        return proportion([sum(ballot.correct for ballot in pool) / len(pool) for pool in questions])
    return proportion([RULES[rule](pool[:n]) for pool in questions])


def votes_at(
    sizes: Sequence[int], questions: Sequence[Sequence[Ballot]], rule: str = ROBUST
) -> dict[int, Vote | None]:
    """maj@n with its interval for every n of `sizes`; None for a pool that is too small."""
    found = {n: maj_at(n, questions, rule) for n in sizes}
    several = [n for n, estimate in found.items() if estimate is not None and n > 1]
    resampled = _resampled(several, questions, rule) if several else {}
    votes: dict[int, Vote | None] = {}
    for n, estimate in found.items():
        if estimate is None:
            votes[n] = None
            continue
        low, high = _interval(resampled[n]) if n in resampled else _interval_of_means(questions)
        # A vote is of the first n as they fell, an interval of any n: the estimate is never outside.
        votes[n] = Vote(estimate, min(low, estimate.value), max(high, estimate.value))
    return votes


def _interval_of_means(questions: Sequence[Sequence[Ballot]]) -> tuple[float, float]:
    """The 95 % interval of maj@1: a mean over questions of the share of right samples.

    Wilson's score interval (JASA 1927) for as many independent answers as have the same standard error, with the
    quantile of Student's t (Korn and Graubard, Survey Methodology 24, 1998; Dean and Pagano, J. Surv. Stat.
    Methodol. 3, 2015). The spread of the questions' means holds both the choice of questions and the draws.
    Where every mean is 0 or 1 that is Wilson's interval over the questions, where all are alike over all draws. A
    t interval of the means is far too short where few questions are ever solved, and added questions, as votes
    have them, weigh as much as 32 answers do. None or all right says nothing of the spread: each question counts
    as one answer.
    """
    means = np.array([sum(ballot.correct for ballot in pool) / len(pool) for pool in questions])
    value, count = float(means.mean()), float(len(means))
    if len(means) < 2:
        return 0.0, 1.0
    if 0.0 < value < 1.0:
        variance, draws = float(means.var(ddof=1)) / len(means), sum(map(len, questions))
        count = min(value * (1 - value) / variance, draws) if variance > 0 else draws
    z = float(stats.t.ppf((1 + LEVEL) / 2, len(means) - 1))
    middle = (value + z * z / (2 * count)) / (1 + z * z / count)
    half = z / (1 + z * z / count) * math.sqrt(value * (1 - value) / count + z * z / (4 * count * count))
    return max(0.0, middle - half), min(1.0, middle + half)


def _interval(votes: np.ndarray) -> tuple[float, float]:
    """The 95 % interval of the mean vote. `votes` (questions, orders), 0 or 1: the vote under each order of a pool.

    A replicate draws questions with replacement, then one order of each question's pool: its first n are a
    random subset without replacement. Draws with replacement, which suggest themselves, are wrong where
    answers scatter: a draw that is taken twice makes a plurality that the model never produced (10 % where
    maj@16 was 25 % of 60 questions). A subset of size n of a pool of n is the pool itself: there only ties
    vary, and the questions carry the draws in them. Two right and two wrong questions are added to those that
    are resampled, as Agresti and Coull do (American Statistician 52, 1998): without them 0 of 30 would be
    certain, and few questions would have intervals that are too short. Same votes, same interval: the
    generator is seeded.
    """
    generator = np.random.default_rng(0)
    orders = votes.shape[1]
    sample = np.vstack([votes, np.zeros((2, orders)), np.ones((2, orders))])
    means = []
    together = max(1, AT_ONCE // len(sample))
    for start in range(0, REPLICATES, together):
        size = min(together, REPLICATES - start), len(sample)
        drawn = generator.integers(len(sample), size=size), generator.integers(orders, size=size)
        means.append(sample[drawn].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(
    sizes: Sequence[int], questions: Sequence[Sequence[Ballot]], rule: str
) -> dict[int, np.ndarray]:
    """For each n: whether the first n are right, (questions, orders), under random orders of each pool."""
    generator = np.random.default_rng(0)
    count = min(ORDERS, max(FEWEST_ORDERS, 30 * ORDERS // len(questions)))
    found: dict[int, list[np.ndarray]] = {n: [] for n in sizes}
    for pool in questions:
        orders = generator.permuted(np.tile(np.arange(len(pool)), (count, 1)), axis=1)
        names, correct, logprob = _coded(pool, rule)
        for n in sizes:
            found[n].append(_winners(orders[:, :n], names, correct, logprob))
    return {n: np.array(votes, dtype=np.float64) for n, votes in found.items()}


def _coded(pool: Sequence[Ballot], rule: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Cluster number of each ballot (-1: does not vote), its verdict, and the log-probabilities where they
    count."""
    texts = [ballot.vote if rule == ROBUST else ballot.answer or "" for ballot in pool]
    numbers: dict[str | None, int] = {None: -1}
    for text in texts:
        numbers.setdefault(text, len(numbers) - 1)
    known = [ballot.logprob for ballot in pool if ballot.vote is not None]
    weigh = rule == ROBUST and all(value is not None for value in known)
    logprob = np.array([ballot.logprob or 0.0 for ballot in pool]) if weigh else None
    return np.array([numbers[t] for t in texts]), np.array([b.correct for b in pool]), logprob


def _winners(
    orders: np.ndarray, names: np.ndarray, correct: np.ndarray, logprob: np.ndarray | None
) -> np.ndarray:
    """Whether the vote of each row of `orders` (orders, n; positions in the pool) is right: the rules, in
    bulk."""
    cast = names[orders]
    here = cast[:, :, None] == np.arange(max(names.max() + 1, 1))  # (orders, n, clusters)
    counts, first = here.sum(axis=1), here.argmax(axis=1)
    best = counts == counts.max(axis=1, keepdims=True)
    if logprob is not None:
        sums = np.where(best, (here * logprob[orders][:, :, None]).sum(axis=1), -np.inf)
        best &= sums >= sums.max(axis=1, keepdims=True) - 1e-9
    winner = np.where(best, first, orders.shape[1]).argmin(axis=1)
    rows = np.arange(len(orders))
    voted = counts[rows, winner] > 0
    return voted & correct[orders[rows, first[rows, winner]]]


def tokens_at(n: int, length: Estimate | None) -> Estimate | None:
    """Tokens per problem of a vote of n: n times the mean length of a response."""
    if length is None:
        return None
    return Estimate(n * length.value, None if length.stderr is None else n * length.stderr)
