"""Majority voting: its four rules, nesting, and an honest error."""

from __future__ import annotations

import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.voting import Ballot, maj_at, majority


def ballots(text: str) -> list[Ballot]:
    """`aab-` votes a, a, b and once unparsable; `a` is the right answer."""
    return [Ballot(None if vote == "-" else vote, vote == "a") for vote in text]


@pytest.mark.parametrize(
    ("votes", "right"),
    [
        ("a", True),
        ("b", False),
        ("aab", True),
        ("abb", False),
        ("ab", True),  # a tie goes to the answer seen first
        ("ba", False),
        ("bcaa", True),
        ("----a", True),  # what cannot be parsed does not vote
        ("-", False),
        ("----", False),
        ("-bba", False),
        ("cabab", True),  # two against two: a was seen before b
    ],
)
def test_the_rules(votes: str, right: bool) -> None:
    assert majority(ballots(votes)) is right


def test_the_verdict_is_that_of_the_first_response_of_the_cluster() -> None:
    assert majority([Ballot("x", False), Ballot("x", True), Ballot("x", True)]) is False
    assert majority([Ballot(None, True), Ballot(None, True)]) is False  # nothing was parsed


def _slowly(pool: list[Ballot]) -> bool:
    """The rules once more, written for reading instead of for speed."""
    votes = [ballot.vote for ballot in pool if ballot.vote is not None]
    if not votes:
        return False
    counts = Counter(votes)
    winner = min(counts, key=lambda vote: (-counts[vote], votes.index(vote)))
    return next(ballot.correct for ballot in pool if ballot.vote == winner)


pools = st.lists(
    st.builds(Ballot, st.one_of(st.none(), st.sampled_from("abcd")), st.booleans()), min_size=16, max_size=16
)


@given(pools)
def test_the_fast_vote_is_the_slow_one(pool: list[Ballot]) -> None:
    assert majority(pool) is _slowly(pool)


@given(st.lists(pools, min_size=1, max_size=5), st.integers(2, 16))
def test_maj_n_uses_the_prefix_and_nothing_else(questions: list[list[Ballot]], n: int) -> None:
    found = maj_at(n, questions)
    assert found == maj_at(n, [pool[:n] for pool in questions])
    assert found is not None and found.value == pytest.approx(
        np.mean([_slowly(pool[:n]) for pool in questions])
    )
    other = [pool[:n] + [Ballot("z", True)] * 9 for pool in questions]
    assert maj_at(n, other) == found


def test_maj_1_is_the_mean_of_all_single_samples() -> None:
    found = maj_at(1, [ballots("aabb"), ballots("aaaa"), ballots("bbbb")])
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.stderr == pytest.approx(0.5 / 3**0.5)


def test_a_pool_that_is_too_small_has_no_value() -> None:
    assert maj_at(8, [ballots("a" * 8), ballots("a" * 7)]) is None
    assert maj_at(8, []) is None
    with pytest.raises(ValueError, match="at least 1"):
        maj_at(0, [ballots("a")])


def test_the_error_is_that_of_the_questions_when_draws_agree() -> None:
    questions = [ballots("a" * 8)] * 30 + [ballots("b" * 8)] * 20
    found = maj_at(8, questions)
    assert found is not None
    assert found.stderr == pytest.approx((0.6 * 0.4 / 50) ** 0.5, rel=0.06)


def test_draws_that_disagree_add_to_the_error() -> None:
    sure = maj_at(8, [ballots("a" * 8)] * 50)
    unsure = maj_at(8, [ballots("abababba")] * 50)
    assert sure is not None and sure.stderr == 0
    assert unsure is not None and unsure.stderr is not None and unsure.stderr > 0.03


def test_a_large_vote_is_fast_and_repeatable() -> None:
    generator = np.random.default_rng(0)
    questions = [ballots("".join(generator.choice(list("aabcdefgh-"), 16))) for _ in range(60)]
    start = time.process_time()
    first = maj_at(16, questions)
    assert time.process_time() - start < 1
    assert maj_at(16, questions) == first
