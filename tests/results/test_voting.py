"""Majority voting: its four rules, nesting, and an honest error."""

from __future__ import annotations

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
    """The rules once more, written another way."""
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
def test_the_vote_is_that_of_the_rules(pool: list[Ballot]) -> None:
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


def test_the_error_is_that_of_the_votes_as_they_fell() -> None:
    questions = [ballots("a" * 8)] * 30 + [ballots("b" * 8)] * 20
    found = maj_at(8, questions)
    assert found is not None and found.stderr == pytest.approx((0.6 * 0.4 / 49) ** 0.5)


def test_scattered_votes_are_not_more_certain_than_the_questions() -> None:
    # A plurality of two among sixteen answers: drawing with replacement would hardly ever find it again.
    questions = [ballots("abcdefghijklmnoa")] * 15 + [ballots("abcdefghijklmnob")] * 45
    for n in (8, 16):
        found = maj_at(n, questions)
        realised = np.array([majority(pool[:n]) for pool in questions])
        assert found is not None and found.value == realised.mean()
        assert found.stderr is not None
        assert found.stderr >= realised.std(ddof=1) / 60**0.5 - 1e-12
    assert found is not None and found.stderr == pytest.approx(0.0564, abs=1e-4)


def test_the_error_covers_the_draws_too() -> None:
    # Truth by simulation: questions from a population of skills, sixteen draws each, scattered wrong answers.
    generator = np.random.default_rng(0)

    def survey() -> tuple[float, float]:
        skills = generator.beta(1, 4, 60)
        wrong = np.array(list("bcdefghijklm"))
        questions = [
            ballots("".join(np.where(generator.random(16) < p, "a", generator.choice(wrong, 16))))
            for p in skills
        ]
        found = maj_at(16, questions)
        assert found is not None and found.stderr is not None
        return found.value, found.stderr

    values, errors = np.array([survey() for _ in range(200)]).T
    assert errors.mean() == pytest.approx(values.std(ddof=1), rel=0.15)


def test_all_right_is_not_certain() -> None:
    found = maj_at(8, [ballots("a" * 8)] * 49)
    assert found is not None and (found.value, found.stderr) == (1.0, pytest.approx(0.01))
