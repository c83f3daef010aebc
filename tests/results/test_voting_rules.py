"""The two rules of voting by hand, their intervals by simulation, and what a vote costs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

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


SKILLS = {
    "all alike": lambda generator, rate: np.full(30, rate),
    "of many skills": lambda generator, rate: generator.beta(4 * rate, 4 * (1 - rate), 30),
    "solved always or never": lambda generator, rate: (generator.random(30) < rate) * 1.0,
}


@pytest.mark.parametrize("kind", SKILLS)
@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5, 0.9])
def test_the_mean_of_single_samples_is_covered_as_often_as_it_says_and_not_oftener(
    kind: str, rate: float
) -> None:
    generator = np.random.default_rng(1)
    right, wrong = Ballot("a", True, "a"), Ballot("b", False, "b")
    hits = []
    for _ in range(500):
        counts = generator.binomial(32, SKILLS[kind](generator, rate))
        vote = votes_at([1], [[right] * k + [wrong] * (32 - k) for k in counts])[1]
        assert vote is not None and vote.low <= vote.estimate.value <= vote.high
        hits.append(vote.low <= rate <= vote.high)
    assert 0.90 <= np.mean(hits) <= 0.99  # the error of 500 draws is 1 %


def test_single_samples_are_worth_as_many_answers_as_their_spread_says() -> None:
    def interval(*counts: int, of: int = 32) -> tuple[float, float]:
        questions = [[Ballot("a", k < n, "a") for k in range(of)] for n in counts]
        vote = votes_at([1], questions)[1]
        assert vote is not None
        return vote.low, vote.high

    def wilson(right: int, answers: int) -> tuple[float, float]:  # scipy's, at Student's quantile of 29
        level = 2 * stats.norm.cdf(stats.t.ppf(0.975, 29)) - 1
        found = stats.binomtest(right, answers).proportion_ci(level, method="wilson")
        return float(found.low), float(found.high)

    # Each 3 of 32: 960 answers that are alike, 7.6 to 11.5 %; two right and two wrong questions more made it 8 to 22.
    assert interval(*[3] * 30) == pytest.approx(wilson(90, 960))
    assert interval(*[32] * 3, *[0] * 27) == pytest.approx(
        wilson(3, 30), abs=0.005
    )  # 30 answers, 29 by the spread
    assert interval(*[0] * 30) == pytest.approx(wilson(0, 30))
    assert interval(1, of=2) == (0, 1)


@given(st.lists(pools, min_size=1, max_size=4))
@settings(max_examples=50, deadline=None)
def test_the_estimate_is_never_outside_of_its_interval(questions: list[list[Ballot]]) -> None:
    for vote in votes_at([1, 2, 5], questions).values():
        assert vote is None or 0 <= vote.low <= vote.estimate.value <= vote.high <= 1


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
