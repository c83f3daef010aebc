"""The two rules of voting by hand, their intervals by simulation, and what a vote costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.statistics import Estimate
from results.voting import (
    ROBUST,
    RULES,
    TOOLKIT,
    Ballot,
    _coded,
    _winners,
    maj_at,
    majority,
    tokens_at,
    toolkit_majority,
    votes_at,
)


def ballot(answer: str | None, cluster: str | None = None, logprob: float | None = None) -> Ballot:
    """`1/2` is right, and so is 0.5, which is another string of the same cluster."""
    return Ballot(cluster or answer, answer in ("1/2", "0.5"), answer, logprob)


def test_an_empty_answer_wins_under_toolkit_and_does_not_vote_under_robust() -> None:
    pool = [ballot(None), ballot("1/2"), ballot(None), ballot("3")]
    assert toolkit_majority(pool) is False  # two empty strings against one and one
    assert majority(pool) is True  # 1/2 was seen before 3


def test_equal_answers_split_their_votes_under_toolkit() -> None:
    half, other = ballot("0.5", "1/2"), ballot("1/2", "1/2")
    pool = [ballot("3"), half, other, ballot("3"), ballot("0.5", "1/2")]
    assert toolkit_majority(pool) is False  # 3 and 0.5 have two each, 3 was first
    assert majority(pool) is True  # three of five


def test_a_tie_goes_to_the_first_seen_under_both_rules() -> None:
    pool = [ballot("3"), ballot("1/2"), ballot("1/2"), ballot("3")]
    assert toolkit_majority(pool) is False and majority(pool) is False
    assert toolkit_majority(pool[1:]) is True and majority(pool[1:]) is True  # 1/2 leads by one


def test_a_tie_goes_to_the_larger_log_probability_where_every_voter_has_one() -> None:
    pool = [ballot("3", logprob=-9.0), ballot("1/2", logprob=-2.0), ballot(None)]
    assert majority(pool) is True
    assert toolkit_majority(pool) is False
    assert majority([*pool[:1], ballot("1/2")]) is False  # one is not known: the first seen
    pool = [ballot("3", logprob=-2.0), ballot("1/2", logprob=-2.0)]
    assert majority(pool) is False  # equal there too


def test_nothing_but_empty_answers_is_wrong_under_both() -> None:
    for rule in RULES.values():
        assert rule([ballot(None)] * 3) is False
        assert rule([]) is False


pools = st.lists(
    st.builds(
        Ballot,
        st.one_of(st.none(), st.sampled_from("abc")),
        st.booleans(),
        st.one_of(st.none(), st.sampled_from(["a", "b", ""])),
        st.one_of(st.none(), st.sampled_from([-1.0, -2.0])),
    ),
    min_size=1,
    max_size=9,
)


@given(pools, st.sampled_from([ROBUST, TOOLKIT]), st.randoms(use_true_random=False), st.booleans())
@settings(max_examples=300)
def test_the_rules_in_bulk_are_the_rules(pool: list[Ballot], rule: str, random: object, known: bool) -> None:
    if known:  # log-probabilities weigh only where all voters of a pool have one
        pool = [Ballot(b.vote, b.correct, b.answer, b.logprob or -3.0) for b in pool]
    else:
        pool = [Ballot(b.vote, b.correct, b.answer) for b in pool]
    orders = np.array([random.sample(range(len(pool)), len(pool)) for _ in range(4)])  # type: ignore[attr-defined]
    for n in range(1, len(pool) + 1):
        found = _winners(orders[:, :n], *_coded(pool, rule))
        assert list(found) == [RULES[rule]([pool[i] for i in order[:n]]) for order in orders]


def _survey(generator: np.random.Generator, questions: int, pool: int) -> list[list[Ballot]]:
    """Questions of many skills; wrong answers scatter over eleven, and some are not parsable."""
    wrong = [None, *"bcdefghijk"]
    made = []
    for skill in generator.beta(1, 2, questions):
        right = generator.random(pool) < skill
        others = generator.choice(len(wrong), pool)
        made.append(
            [
                Ballot("a", True, "a") if good else Ballot(wrong[i], False, wrong[i])
                for good, i in zip(right, others, strict=True)
            ]
        )
    return made


@pytest.mark.parametrize(("rule", "n"), [(ROBUST, 8), (ROBUST, 16), (TOOLKIT, 8), (ROBUST, 1)])
def test_the_interval_covers_the_truth_as_often_as_it_says(rule: str, n: int) -> None:
    generator = np.random.default_rng(1)
    truth = maj_at(n, _survey(generator, 6000, 16), rule)
    assert truth is not None
    hits, widths = [], []
    for _ in range(150):
        vote = votes_at([n], _survey(generator, 30, 16), rule)[n]
        assert vote is not None and vote.low <= vote.estimate.value <= vote.high
        hits.append(vote.low <= truth.value <= vote.high)
        widths.append(vote.high - vote.low)
    assert 0.91 <= np.mean(hits) <= 1.0
    binomial = 2 * 1.96 * (0.25 / 30) ** 0.5
    assert np.mean(widths) < 1.1 * binomial  # honest, and not by being useless


def test_none_of_thirty_is_not_certain() -> None:
    vote = votes_at([8], [[Ballot("b", False, "b")] * 8] * 30)[8]
    assert vote is not None and vote.estimate.value == vote.low == 0.0
    assert vote.high == pytest.approx(0.15, abs=0.04)  # Agresti-Coull and Wilson: 0.14 and 0.11


def test_scattered_votes_keep_their_value_in_the_interval() -> None:
    # Draws with replacement would put it at 10 %: a draw taken twice makes a plurality of its own.
    letters = "abcdefghijklmno"
    right = [Ballot(v, v == "a", v) for v in letters + "a"]
    wrong = [Ballot(v, v == "a", v) for v in letters + "b"]
    vote = votes_at([16], [right] * 15 + [wrong] * 45)[16]
    assert vote is not None and vote.estimate.value == 0.25
    assert vote.low < 0.25 < vote.high and vote.low > 0.12


def test_the_same_votes_have_the_same_interval() -> None:
    questions = _survey(np.random.default_rng(3), 20, 16)
    assert votes_at([1, 8, 16], questions) == votes_at([1, 8, 16], questions)
    assert votes_at([32], questions)[32] is None


def test_a_vote_of_n_costs_n_answers() -> None:
    assert tokens_at(16, Estimate(1000.0, 10.0)) == Estimate(16000.0, 160.0)
    assert tokens_at(16, None) is None
