"""Majority voting over the answers to one question (self-consistency, Wang et al., arXiv:2203.11171).

Rules: an answer that could not be parsed does not vote; a tie goes to the answer seen first; the verdict is
that of the first response in the winning cluster; when nothing could be parsed, the vote is wrong.
maj@n uses the first n of one pool, in the order of the sample index, so that pools of different n are nested.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from results.statistics import Estimate, clustered_mean

RESAMPLES = 2000
REDRAWS = 400  # outcomes per question from which a resampled question takes one


@dataclass(frozen=True)
class Ballot:
    """One response as voting sees it: the cluster that it votes with (None: unparsable) and its verdict."""

    vote: str | None
    correct: bool


def majority(ballots: Sequence[Ballot]) -> bool:
    """Whether the majority answer is correct; `ballots` in the order of the sample index."""
    clusters, correct, _ = _encode(ballots)
    winner = _winners(clusters[None, :], correct[None, :])
    return bool(winner[0])


def maj_at(n: int, questions: Sequence[Sequence[Ballot]], *, seed: int = 0) -> Estimate | None:
    """maj@n over questions, with its standard error; None when a question has fewer than n responses.

    maj@1 is the mean of the single samples of the whole pool, questions being clusters. For n > 1 the
    standard error is the deviation of a seeded bootstrap (Efron 1979): each replicate draws the questions
    with replacement, then, for each of them, n responses with replacement from its first n. The latter come
    from a table of REDRAWS outcomes per question; a question drawn twice enters it at two random places.
    """
    if n < 1:
        raise ValueError(f"maj@n needs n of at least 1, got {n}")
    if not questions or any(len(pool) < n for pool in questions):
        return None
    if n == 1:
        names = [str(i) for i, pool in enumerate(questions) for _ in pool]
        return clustered_mean([ballot.correct for pool in questions for ballot in pool], names)
    value = float(np.mean([majority(pool[:n]) for pool in questions]))
    if len(questions) == 1:
        return Estimate(value, None)
    return Estimate(value, _bootstrap_stderr([pool[:n] for pool in questions], np.random.default_rng(seed)))


def _bootstrap_stderr(questions: Sequence[Sequence[Ballot]], generator: np.random.Generator) -> float:
    n, count = len(questions[0]), len(questions)
    redrawn = np.empty((count, REDRAWS))
    for i, pool in enumerate(questions):
        clusters, correct, unanimous = _encode(pool)
        if unanimous:
            redrawn[i] = correct[0]  # every redraw has the same outcome
            continue
        draws = generator.integers(0, n, (REDRAWS, n))
        redrawn[i] = _winners(clusters[draws], correct[draws])
    chosen = generator.integers(0, count, (RESAMPLES, count))
    return float(redrawn[chosen, generator.integers(0, REDRAWS, (RESAMPLES, count))].mean(axis=1).std(ddof=1))


def _encode(ballots: Sequence[Ballot]) -> tuple[np.ndarray, np.ndarray, bool]:
    """Cluster numbers (-1: does not vote), verdicts, and whether all ballots are alike."""
    numbers: dict[str, int] = {}
    clusters = [-1 if b.vote is None else numbers.setdefault(b.vote, len(numbers)) for b in ballots]
    # An unparsable answer is wrong whatever its verdict says: it wins only when nothing could be parsed.
    correct = [b.correct and b.vote is not None for b in ballots]
    unanimous = len(set(clusters)) == 1 and len(set(correct)) == 1
    return np.array(clusters), np.array(correct), unanimous


def _winners(clusters: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """The verdict of the first response of the winning cluster, for each row of (replicates, n) clusters."""
    replicates, n = clusters.shape
    best = np.full(replicates, -1)
    verdict = np.zeros(replicates, dtype=bool)
    for cluster in range(clusters.max() + 1):
        member = clusters == cluster
        first = member.argmax(axis=1)
        # More votes win; among equals the earlier first appearance does.
        rank = np.where(member.any(axis=1), member.sum(axis=1) * n + (n - 1 - first), -1)
        wins = rank > best
        best[wins] = rank[wins]
        verdict[wins] = correct[wins, first[wins]]
    return verdict
