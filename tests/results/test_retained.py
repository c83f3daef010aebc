"""PRR of stored rows by hand: whose scores are the denominators, what is never mixed, flags, ranks, groups."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.board import Board, Row
from results.leaderboard import leaderboard
from results.protocol import judge_lines
from results.prr import Pairs, Performance, RetainRate, ratio_of
from results.remarks import divisor_line, retain_lines, retention_lines
from results.statistics import Estimate
from results.store import Store
from tests.results.factory import answers, checkpoint, scores, write
from tests.results.test_composites import column
from tests.results.test_leaderboard import asked_as, measured

DOMAINS = {"sums": "maths", "harm": "safety"}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "leaderboard.duckdb")


def models(*merged: str, experts: tuple[str, ...] = ("maths", "safety")) -> list:
    kinds = {"base": "base", **dict.fromkeys(experts, "expert"), **dict.fromkeys(merged, "merged")}
    return [
        ("checkpoints", checkpoint(name, kind, at=at, name=f"expert:{name}" if kind == "expert" else name))
        for at, (name, kind) in enumerate(kinds.items())
    ]


def asked(name: str, benchmark: str, good: str, *, domain: str = "", **changes: Any) -> list:
    """A measurement of a benchmark whose domain's expert is called like the domain."""
    domain = domain or DOMAINS[benchmark]
    return measured(name, benchmark, good, 10, **({"domain": domain, "expert": domain} | changes))


def two_domains() -> list:
    """Maths of ten questions, safety of four, of two experts and two merges."""
    rows = models("ties", "dare")
    for name, sums, harm in (
        ("base", "1000000000", "0100"),
        ("maths", "1111111100", "0000"),
        ("safety", "1000000000", "1110"),
        ("ties", "1111000010", "1100"),
        ("dare", "1111110000", "1000"),
    ):
        rows += asked(name, "sums", sums) + asked(name, "harm", harm)
    return rows


def row_of(board: Board, name: str) -> Row:
    return next(row for row in board.rows if row.name == name)


def rate_of(board: Board, name: str) -> RetainRate:
    found = row_of(board, name).retain
    assert found is not None
    return found


def test_the_rate_by_hand(store: Store) -> None:
    write(store, two_domains())
    board = leaderboard(store, "mini")
    assert board.experts == {"pair": {"maths": "expert:maths", "safety": "expert:safety"}}
    assert divisor_line(board, "pair") == "expert:maths (maths), expert:safety (safety)"
    rate = rate_of(board, "ties")
    maths, safety = (domain.estimate for domain in rate.domains)
    assert maths is not None and safety is not None and rate.mean is not None
    assert (maths.value, safety.value) == pytest.approx((100 * 5 / 8, 100 * 2 / 3))
    assert rate.mean.value == pytest.approx((62.5 + 200 / 3) / 2) and rate.without_safety == maths
    assert rate.worst is not None and rate.worst[0] == "maths"
    # The error of maths: ten questions drawn with replacement, both models on the same ones.
    merged, expert = (np.array([c == "1" for c in good]) for good in ("1111000010", "1111111100"))
    draws = np.random.default_rng(0).integers(10, size=(40_000, 10))
    oracle = np.std(100 * merged[draws].mean(1) / expert[draws].mean(1), ddof=1)
    assert rate.domains[0].ratios[0].error == "bootstrap" and maths.stderr == pytest.approx(oracle, rel=0.05)
    own = rate_of(board, "expert:maths").domains[0].estimate
    assert own is not None and own.value == pytest.approx(100) and own.stderr == pytest.approx(0, abs=1e-9)


def test_merges_are_ranked_by_it_and_not_by_the_mean_accuracy(store: Store) -> None:
    rows = models("able", "even")
    for name, sums, harm in (
        ("maths", "1111111100", "0000"),
        ("safety", "1000000000", "0100"),
        ("able", "1111111111", "0000"),
        ("even", "1110000000", "1000"),
    ):
        rows += asked(name, "sums", sums) + asked(name, "harm", harm)
    write(store, rows)
    board = leaderboard(store, "mini")
    found = [(row.name, row.rank, row.accuracy and row.accuracy.value) for row in board.rows if row.rank]
    assert found == [("even", 1, pytest.approx(0.275)), ("able", 2, pytest.approx(0.5))]
    assert [rate_of(board, name).mean.value for name in ("even", "able")] == [68.75, 62.5]  # type: ignore[union-attr]
    assert "sums (able 125.0)" in retain_lines(board, "pair")[0]


def test_numbers_of_two_engines_or_other_questions_are_never_divided(store: Store) -> None:
    rows = two_domains() + [("checkpoints", checkpoint(name, "merged", at=9)) for name in ("fast", "few")]
    for benchmark, good in (("sums", "1111111100"), ("harm", "1110")):
        changes = {"domain": DOMAINS[benchmark], "expert": DOMAINS[benchmark]}
        rows += asked_as("fast", "plain", good, benchmark=benchmark, engine="vllm", **changes)
        rows += asked("few", benchmark, good[:3], expected_n=len(good))
    write(store, rows)
    board = leaderboard(store, "mini")
    fast, few = row_of(board, "fast"), row_of(board, "few")
    assert fast.retain is not None and fast.retain.mean is None and fast.complete and fast.rank is None
    assert fast.retain.missing == (
        "sums: its expert answered sums under hf float32, this model under vllm float32",
        "harm: its expert answered harm under hf float32, this model under vllm float32",
    )
    assert (
        few.retain is not None
        and few.retain.missing[0] == "sums: its expert was asked other questions of sums"
    )
    again = [
        row
        for benchmark, good in (("sums", "1111111100"), ("harm", "1110"))
        for row in asked_as(
            DOMAINS[benchmark], "plain", good, benchmark=benchmark, engine="vllm",
            domain=DOMAINS[benchmark], expert=DOMAINS[benchmark],
        )
    ]  # fmt: skip
    write(store, again, "run-2")  # the experts under that engine too: there is a denominator
    rate = rate_of(leaderboard(store, "mini"), "fast")
    assert rate.mean is not None and rate.mean.value == pytest.approx(100)
    assert {ratio.error for domain in rate.domains for ratio in domain.ratios} == {"bootstrap"}


def test_what_is_missing_stays_missing_and_says_which(store: Store) -> None:
    columns = [column(name, [name], domain=domain) for name, domain in DOMAINS.items()]
    rows = [*two_domains(), *columns, column("code", ["code"], domain="coding")]
    write(
        store, [*rows, ("checkpoints", checkpoint("half", "merged", at=9)), *asked("half", "sums", "1" * 10)]
    )
    board = leaderboard(store, "mini")
    assert board.benchmarks == ("sums", "harm", "code"), "a domain that nobody was asked is not left out"
    rate = rate_of(board, "half")
    assert rate.mean is None and rate.worst is None and rate.domains[0].estimate is not None
    assert rate.missing == ("harm: no score", "code: its expert has no score on code")
    said = retain_lines(board, "pair")
    assert said[0] == "Missing: code: its expert has no score on code." and "harm: no score (half)" in said[1]
    found = leaderboard(store, "mini", benchmarks=("sums", "harm"))
    assert rate_of(found, "ties").mean is not None


def test_one_domain_has_no_rate_and_what_has_no_expert_is_compared_with_the_base(store: Store) -> None:
    write(store, [row for row in two_domains() if row[1].get("benchmark") != "harm"])
    board = leaderboard(store, "mini")
    assert board.experts == {} and all(row.retain is None and row.retention is None for row in board.rows)
    general = [
        row
        for name, good in (("base", "1100"), ("maths", "1000"), ("ties", "1110"))
        for row in measured(name, "quiz", good, 10, domain="general", expert=None)
    ]
    write(store, [*two_domains(), *general], "run-2")
    board = leaderboard(store, "mini")
    ties = row_of(board, "ties")
    assert ties.retain is not None and [domain.domain for domain in ties.retain.domains] == [
        "maths",
        "safety",
    ]
    assert ties.retention is not None and ties.retention.mean is not None
    assert ties.retention.mean.value == pytest.approx(150) and ties.retention.ratios[0].benchmark == "quiz"
    # Base 1100, merge 1110: both right on two, the merge alone on one, neither on the last.
    one = Performance("quiz", "general", Estimate(0.75, 0.25), Estimate(0.5, 0.29), None, Pairs(2, 1, 0, 1))
    assert ties.retention.ratios[0].estimate == ratio_of(one).estimate
    assert row_of(board, "base").retention is None
    assert "quiz (ties 150.0)" in " ".join(retention_lines(board, "pair"))


def test_a_denominator_below_a_constant_answer_is_said_once(store: Store) -> None:
    rows = [row for row in two_domains() if row[1].get("benchmark") != "harm"]
    for name, good in (
        ("base", "0000"),
        ("maths", "0100"),
        ("safety", "1000"),
        ("ties", "1100"),
        ("dare", "1000"),
    ):
        responses, verdicts = answers(name, "harm", [c == "1" for c in good])
        groups = ("safe", "safe", "safe", "unsafe")
        responses = [r | {"target": g, "sample_group": g} for r, g in zip(responses, groups, strict=True)]
        made = scores((responses, verdicts), expected_n=4, expert="safety", domain="safety")
        rows += [("responses", r) for r in responses] + [("verdicts", v) for v in verdicts]
        rows += [("scores", s) for s in made]
    write(store, rows)
    board = leaderboard(store, "mini")
    weak = [line for line in retain_lines(board, "pair") if "constant" in line]
    assert weak == ["harm: its denominator, 25.0, is below the best constant answer, 75.0."]
    cell = row_of(board, "ties").cells["harm"]
    assert cell is not None and {name: group.n for name, group in cell.groups.items()} == {
        "safe": 3,
        "unsafe": 1,
    }
    assert cell.groups["safe"].accuracy is not None
    assert cell.groups["safe"].accuracy.value == pytest.approx(2 / 3)


def test_parts_are_averaged_before_they_are_divided_and_the_best_of_two_on_both_sides(store: Store) -> None:
    rows = models("ties")
    rows += [column("sums", ["direct", "cot"], "max"), column("harm", ["old", "new"], domain="safety")]
    for name, direct, cot, old, new in (
        ("base", "1000", "1000", "1000", "10"),
        ("maths", "1110", "1000", "1000", "00"),
        ("safety", "1000", "1000", "1111", "10"),
        ("ties", "1000", "1100", "1100", "10"),
    ):
        rows += asked(name, "direct", direct, domain="maths") + asked(name, "cot", cot, domain="maths")
        rows += asked(name, "old", old, domain="safety") + asked(name, "new", new, domain="safety")
    write(store, rows)
    rate = rate_of(leaderboard(store, "mini"), "ties")
    maths, safety = (domain.ratios[0] for domain in rate.domains)
    assert maths.estimate is not None and safety.estimate is not None
    # 2 of 4 by one way over 3 of 4 by the other: no question is paired across ways of asking.
    assert maths.estimate.value == pytest.approx(100 * 2 / 3) and maths.error == "delta"
    assert safety.estimate.value == pytest.approx(100 * (0.5 + 0.5) / (1 + 0.5)), "not the mean of 50 and 100"
    assert safety.error == "bootstrap"


def test_verdicts_that_were_changed_without_scores_make_no_pairs(store: Store) -> None:
    rows = two_domains()
    changed = [
        row | {"correct": True}
        for table, row in rows
        if table == "verdicts" and "ties/sums" in row["response_id"]
    ]
    write(store, rows)
    write(store, [("verdicts", row) for row in changed], "run-2")
    ratio = rate_of(leaderboard(store, "mini"), "ties").domains[0].ratios[0]
    assert (
        ratio.estimate is not None and ratio.estimate.value == pytest.approx(62.5) and ratio.error == "delta"
    )


def test_metrics_of_a_benchmarks_own_stand_beside_and_what_a_judge_said_is_counted(store: Store) -> None:
    responses, verdicts = answers("base", "harm", [True, True, False, False])
    native = {
        "micro_asr": [(0, 1), (0, 1), (1, 1), (1, 1)],
        "judge_unparsed": [(1, 1), (0, 1), (0, 1), (0, 1)],
    }
    made = scores((responses, verdicts), expected_n=4, native=native, expert=None, domain="safety")
    write(store, [*models(experts=()), *(("scores", row) for row in made)])
    board = leaderboard(store, "mini")
    cell = row_of(board, "base").cells["harm"]
    assert cell is not None and {name: one.value for name, one in cell.native.items()} == {
        "micro_asr": 0.5,
        "judge_unparsed": 0.25,
    }
    assert judge_lines(board) == ["Answers of the judge that could not be read: harm (base 25.0 %)."]
