"""Majority voting over the answers to one question (self-consistency, Wang et al., arXiv:2203.11171).

Rules: an answer that could not be parsed does not vote; a tie goes to the answer seen first; the verdict is
that of the first response in the winning cluster; when nothing could be parsed, the vote is wrong.
maj@n uses the first n of one pool, in the order of the sample index, so that pools of different n are nested.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from results.statistics import Estimate, proportion


@dataclass(frozen=True)
class Ballot:
    """One response as voting sees it: the cluster that it votes with (None: unparsable) and its verdict."""

    vote: str | None
    correct: bool


def majority(ballots: Sequence[Ballot]) -> bool:
    """Whether the majority answer is correct; `ballots` in the order of the sample index."""
    counts = Counter(ballot.vote for ballot in ballots if ballot.vote is not None)
    if not counts:
        return False
    winner = max(counts, key=lambda vote: counts[vote])  # the first among equals: a Counter keeps the order
    return next(ballot.correct for ballot in ballots if ballot.vote == winner)


def maj_at(n: int, questions: Sequence[Sequence[Ballot]]) -> Estimate | None:
    """maj@n over questions, with its standard error; None when a question has fewer than n responses.

    maj@1 is the mean of the single samples of the whole pool, averaged in each question first.

    For n > 1 the standard error is that of a proportion over the questions' votes as they fell. A vote
    already varies with the draws behind it, so questions and draws are both in it. Resampling questions and
    then draws with replacement, which suggests itself, is wrong where answers scatter: a draw that is taken
    twice makes a plurality that the model never produced, and the replicates vote about another value (10 %
    where maj@16 was 25 % of 60 questions) with an error below that of the questions alone (3.7 for 5.6).
    """
    if n < 1:
        raise ValueError(f"maj@n needs n of at least 1, got {n}")
    if not questions or any(len(pool) < n for pool in questions):
        return None
    if n == 1:
        return proportion([sum(ballot.correct for ballot in pool) / len(pool) for pool in questions])
    return proportion([majority(pool[:n]) for pool in questions])
