"""The board: means, comparisons, what is missing, what may not be compared, and speed with a million rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pytest

from results import browse
from results.board import Board, Row
from results.browse import responses_of
from results.errors import StoreError
from results.leaderboard import leaderboard
from results.protocol import limit_lines, protocol_lines
from results.statistics import mcnemar
from results.store import Store
from tests.results.factory import answers, checkpoint, response, scores, verdict, world, write


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "leaderboard.duckdb")


def measured(
    name: str, benchmark: str, good: str, tokens: int | None, expected_n: int = 0, **changes: Any
) -> list:
    """Rows of one greedy measurement: `good` is a string such as `110`, one digit per question."""
    shared = {key: changes.pop(key) for key in ("model_set", "base", "expert", "domain") if key in changes}
    responses, verdicts = answers(name, benchmark, [c == "1" for c in good], [tokens] * len(good), **changes)
    made = scores((responses, verdicts), expected_n=expected_n or len(good), **shared)
    return [
        *(("responses", row) for row in responses),
        *(("verdicts", row) for row in verdicts),
        *(("scores", row) for row in made),
    ]


def pair() -> list:
    """A base, an expert and one merge on two benchmarks of 4 and 2 questions."""
    return [
        ("checkpoints", checkpoint("base", "base", at=1)),
        ("checkpoints", checkpoint("expert", "expert", at=2)),
        ("checkpoints", checkpoint("ties", "merged", at=3)),
        *measured("base", "gsm", "1000", 10),
        *measured("base", "aime", "00", 40),
        *measured("expert", "gsm", "1110", 50),
        *measured("expert", "aime", "11", 400),
        *measured("ties", "gsm", "1111", 20),
        *measured("ties", "aime", "10", 200),
    ]


def rows_of(board: Board) -> dict[str, Row]:
    return {row.name: row for row in board.rows}


def test_a_board_by_hand(store: Store) -> None:
    write(store, pair())
    board = leaderboard(store, "mini")
    assert board.benchmarks == ("gsm", "aime") and board.model_sets == ("pair",) and board.notes == ()
    assert [(row.name, row.kind, row.rank) for row in board.rows] == [
        ("base", "base", None),
        ("expert", "expert", None),
        ("ties", "merged", 1),
    ]
    ties = rows_of(board)["ties"]
    assert ties.accuracy is not None and ties.length is not None and ties.complete and not ties.limited
    assert ties.accuracy.value == pytest.approx((1.0 + 0.5) / 2)
    assert ties.accuracy.stderr == pytest.approx((0.1**2 + 0.5**2) ** 0.5 / 2)  # four of four: 0.5 / 5
    assert ties.length.value == pytest.approx((20 + 200) / 2)
    # The mean of ratios, -0.55; the ratio of the means would be 110/225 - 1 = -0.511.
    assert ties.length_reduction == pytest.approx(((20 / 50 - 1) + (200 / 400 - 1)) / 2)
    assert rows_of(board)["expert"].length_reduction == 0
    gsm = ties.cells["gsm"]
    assert gsm is not None and gsm.against_base is not None and gsm.length_against_base is not None
    assert (gsm.against_base.better, gsm.against_base.worse, gsm.against_base.n) == (3, 0, 4)
    assert gsm.against_base.p == mcnemar(3, 0) and gsm.length_against_base.difference == 10
    assert ties.against_base is not None
    assert (ties.against_base.n, ties.against_base.better, ties.against_base.p) == (6, 4, mcnemar(4, 0))
    assert ties.against_base.difference == pytest.approx(4 / 6)  # questions pooled
    base = rows_of(board)["base"].accuracy
    assert base is not None  # the gain is that of the means beside it
    assert ties.accuracy_gain == pytest.approx(ties.accuracy.value - base.value) == pytest.approx(0.625)
    assert rows_of(board)["base"].accuracy_gain is None
    assert rows_of(board)["base"].against_base is None
    assert (ties.merge_seconds, ties.peak_bytes) == (3.5, 200 << 20)


def test_no_database_and_an_unknown_suite_are_empty_boards(store: Store) -> None:
    assert leaderboard(store, "mini").rows == ()
    write(store, pair())
    assert leaderboard(store, "other").rows == ()
    assert leaderboard(store, "mini", split="validation").rows == ()


def test_a_benchmark_may_be_named_as_a_suite(store: Store) -> None:
    write(store, pair())
    board = leaderboard(store, "gsm")
    assert board.benchmarks == ("gsm",) and rows_of(board)["ties"].accuracy.value == 1.0  # type: ignore[union-attr]


def test_a_missing_score_is_missing_and_the_row_is_not_ranked(store: Store) -> None:
    extra = [("checkpoints", checkpoint("half", "merged", at=4)), *measured("half", "gsm", "1111", 5)]
    write(store, [*pair(), *extra])
    board = leaderboard(store, "mini")
    half = rows_of(board)["half"]
    assert board.rows[-1] is half
    assert (half.complete, half.rank, half.accuracy, half.length, half.length_reduction) == (
        False,
        None,
        None,
        None,
        None,
    )
    assert (
        half.against_base is None
        and half.accuracy_gain is None
        and half.missing == ["aime"]
        and half.cells["aime"] is None
    )
    assert half.cells["gsm"] is not None
    fixed = leaderboard(store, "mini", benchmarks=("gsm", "aime", "math"))
    assert fixed.benchmarks == ("gsm", "aime", "math") and not any(row.complete for row in fixed.rows)


def test_a_null_score_is_missing_too(store: Store) -> None:
    rows = pair()
    accuracies = [row for table, row in rows if table == "scores" and row["metric"] == "accuracy"]
    null = {**accuracies[-1], "value": None}
    assert null["checkpoint"] == "ties"
    write(store, [*rows, ("scores", null)])
    assert rows_of(leaderboard(store, "mini"))["ties"].missing == ["aime"]


def test_limited_rows_are_compared_with_the_same_documents_only(store: Store) -> None:
    limited = [
        ("checkpoints", checkpoint("few", "merged", at=4)),
        *measured("few", "gsm", "11", 25, expected_n=4),
    ]
    write(store, [*pair(), *limited])
    few = rows_of(leaderboard(store, "gsm"))["few"]
    cell = few.cells["gsm"]
    # Not a second "1." beside that of the full row.
    assert cell is not None and cell.coverage == "2 of 4" and few.limited and few.rank is None
    assert (
        cell.length_ratio is None and few.length_reduction is None
    )  # the expert was never measured on these two
    # The base answered both questions: that comparison is paired, and says that it rests on two.
    assert cell.against_base is not None and cell.against_base.n == 2
    assert rows_of(leaderboard(store, "gsm"))["ties"].rank == 1

    write(store, [row for row in measured("expert", "gsm", "11", 50, expected_n=4) if row[0] == "scores"])
    board = rows_of(leaderboard(store, "gsm"))
    assert board["few"].length_reduction == pytest.approx(-0.5)
    assert board["expert"].cells["gsm"].n == 4  # type: ignore[union-attr]


def test_a_base_that_answered_less_is_not_compared(store: Store) -> None:
    rows = [
        ("checkpoints", checkpoint("base", "base")),
        ("checkpoints", checkpoint("ties", "merged")),
        *measured("base", "gsm", "10", 10, expected_n=4),
        *measured("ties", "gsm", "1111", 20),
    ]
    write(store, rows)
    assert rows_of(leaderboard(store, "gsm"))["ties"].against_base is None


def test_another_prompt_is_not_the_same_question(store: Store) -> None:
    rows = [
        ("checkpoints", checkpoint("base", "base")),
        ("checkpoints", checkpoint("ties", "merged")),
        *measured("base", "gsm", "1010", 10),
        *measured("ties", "gsm", "1111", 20, prompt_hash="other"),
    ]
    write(store, rows)
    assert rows_of(leaderboard(store, "gsm"))["ties"].against_base is None


def test_scores_under_another_protocol_are_left_out_with_a_note(store: Store) -> None:
    odd = [
        ("checkpoints", checkpoint("odd", "merged")),
        *measured("odd", "gsm", "1111", 5, prompt_mode="chat"),
    ]
    write(store, [*pair(), *odd])
    board = leaderboard(store, "mini")
    assert "odd" not in rows_of(board)
    assert len(board.notes) == 1 and board.notes[0].startswith(
        "gsm: 1 checkpoint(s) have scores only under another"
    )


def test_a_regraded_measurement_supersedes_and_graders_are_not_mixed(store: Store) -> None:
    rows = pair()
    responses = [row for table, row in rows if table == "responses" and row["checkpoint"] == "ties"]
    again = [verdict(r, False, grader_version="2") for r in responses if r["benchmark"] == "gsm"]
    new = scores(([r for r in responses if r["benchmark"] == "gsm"], again), expected_n=4)
    write(store, [*rows, *(("verdicts", v) for v in again), *(("scores", s) for s in new)])
    assert rows_of(leaderboard(store, "gsm"))["ties"].accuracy.value == 1.0  # type: ignore[union-attr]


def test_a_newer_checkpoint_of_a_name_replaces_the_older_and_its_merges(store: Store) -> None:
    newer = [
        ("checkpoints", checkpoint("ties-2", "merged", at=9, name="ties")),
        *measured("ties-2", "gsm", "0000", 9),
        *measured("ties-2", "aime", "00", 9),
    ]
    write(store, [*pair(), *newer])
    board = leaderboard(store, "mini")
    assert [row.checkpoint for row in board.rows] == ["base", "expert", "ties-2"]
    assert board.notes == (
        "1 checkpoint(s) are hidden, because another one was recorded later under the same name: ties.",
    )
    base = [
        ("checkpoints", checkpoint("base-2", "base", at=10, name="base")),
        *measured("base-2", "gsm", "0000", 9, base="base-2"),
        *measured("base-2", "aime", "00", 9, base="base-2"),
    ]
    write(store, base, "run-2")
    board = leaderboard(store, "mini")
    assert [row.checkpoint for row in board.rows] == ["base-2", "expert"]
    assert board.notes == (
        "2 checkpoint(s) are hidden, because another one was recorded later under the same name: base, ties.",
        "1 merge(s) are hidden, because another base or expert was recorded later under the name of one that "
        "they were merged from: ties.",
    )


def test_a_replaced_merge_with_the_weights_of_its_base_hides_no_other_merge(store: Store) -> None:
    name = "task_arithmetic lambda=0"
    twice = [
        ("checkpoints", checkpoint(c, "merged", at=at, name=name)) for at, c in ((5, "base"), (6, "new"))
    ]
    write(store, [*pair(), *twice, *measured("new", "gsm", "1000", 9), *measured("new", "aime", "00", 9)])
    board = leaderboard(store, "mini")
    assert {row.checkpoint for row in board.rows} == {"base", "expert", "ties", "new"}
    assert len(board.notes) == 1 and board.notes[0].startswith("1 checkpoint(s) are hidden")


def test_columns_are_those_of_the_suite_in_its_order_whatever_one_model_set_has(store: Store) -> None:
    other = [
        ("checkpoints", checkpoint("base", "base", model_set="other", at=1)),
        *(row for row in measured("base", "aime", "10", 10, model_set="other") if row[0] == "scores"),
    ]
    write(store, [*pair(), *other])
    board = leaderboard(store, "mini", model_set="other")
    assert board.benchmarks == ("gsm", "aime")
    assert [(row.name, row.missing) for row in board.rows] == [("base", ["gsm"])]
    assert [m.benchmark for m in browse.measured(store)] == ["gsm", "aime", "aime"]


def test_a_merge_with_the_weights_of_its_base_has_its_own_row(store: Store) -> None:
    write(
        store, [*pair(), ("checkpoints", checkpoint("base", "merged", at=5, name="task_arithmetic lambda=0"))]
    )
    assert [row.kind for row in leaderboard(store, "mini").rows] == ["base", "expert", "merged", "merged"]


def test_scores_without_a_checkpoint_are_mentioned(store: Store) -> None:
    write(store, [*pair(), *measured("ghost", "gsm", "1111", 5)])
    assert leaderboard(store, "mini").notes == (
        "1 checkpoint(s) have scores but no row in `checkpoints`, and are not shown.",
    )


def test_a_method_on_top_of_a_reconstructed_one_says_so(store: Store) -> None:
    on_top = {"fim": "fim_ties keep=0.3", "plain": "ties"}
    rows = [
        (
            "checkpoints",
            checkpoint(mark, "merged", at=9, name=mark, method="aim", parameters={"inner": inner}),
        )
        for mark, inner in on_top.items()
    ]
    scored = [row for mark in on_top for row in measured(mark, "mini_gsm", "1111", 5)]
    write(store, [*world(questions=5), ("methods", {"method": "aim", "title": "AIM"}), *rows, *scored])
    found = rows_of(leaderboard(store, "mini"))
    assert found["fim"].reconstructed == "its inner method fim_ties: the log base is a guess"
    assert found["plain"].reconstructed is None


def test_votes_methods_and_reconstructions(store: Store) -> None:
    write(store, world(questions=20))
    board = leaderboard(store, "mini")
    assert board.votes == {"mini_aime": (1, 8, 16), "mini_gsm": ()}
    rows = rows_of(board)
    assert rows["fim_ties"].reconstructed == "the log base is a guess" and rows["ties"].reconstructed is None
    cell = rows["fim_ties"].cells["mini_aime"]
    assert cell is not None and set(cell.votes) == {1, 8, 16} and cell.draw == "greedy"
    assert [row.rank for row in board.rows] == [None, None, 1, 2, 3]
    accuracies = [row.accuracy.value for row in board.rows[2:] if row.accuracy]
    assert accuracies == sorted(accuracies, reverse=True)
    only = leaderboard(store, "mini", methods=["ties"])
    assert [row.name for row in only.rows] == ["base", "expert", "ties"]
    assert leaderboard(store, "mini", model_set="other").rows == ()


def test_a_pool_is_compared_by_its_means(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint("base", "base")), ("checkpoints", checkpoint("ties", "merged"))]
    for name, good in (("base", 1), ("ties", 3)):
        drawn = [response(name, "aime", q, k, draw="vote") for q in range(3) for k in range(4)]
        judged = [verdict(r, r["sample_index"] < good + (r["sample_id"] == "aime-0")) for r in drawn]
        rows += [("responses", r) for r in drawn] + [("verdicts", v) for v in judged]
        rows += [("scores", s) for s in scores((drawn, judged), expected_n=3, votes=(1, 4))]
    write(store, rows)
    cell = rows_of(leaderboard(store, "aime"))["ties"].cells["aime"]
    assert cell is not None and cell.against_base is not None and cell.draw == "vote"
    assert cell.against_base.difference == pytest.approx(0.5) and cell.against_base.test == "t"


def test_a_fixed_tokenizer_has_its_own_average_and_change_against_the_expert(store: Store) -> None:
    counted = {("expert", "gsm"): 40, ("expert", "aime"): 100, ("ties", "gsm"): 20, ("ties", "aime"): 75}
    rows = pair()
    for (name, benchmark), tokens in counted.items():
        responses, verdicts = answers(name, benchmark, [True] * (4 if benchmark == "gsm" else 2))
        lengths = {row["response_id"]: tokens for row in responses}
        made = scores((responses, verdicts), expected_n=len(responses), tokens={"one": lengths})
        rows += [("scores", row) for row in made if row["metric"] == "length_mean@one"]
    write(store, rows)
    board = rows_of(leaderboard(store, "mini"))
    average = board["ties"].length_fixed["one"]
    assert average is not None and average.value == pytest.approx((20 + 75) / 2)
    assert board["ties"].length_fixed_reduction["one"] == pytest.approx(((20 / 40 - 1) + (75 / 100 - 1)) / 2)
    assert board["ties"].length_reduction == pytest.approx(-0.55), "its own tokenizer's stays"
    assert board["base"].length_fixed == {}


def test_flips_of_a_pool_are_counted_in_responses(store: Store) -> None:
    drawn = [response("base", "aime", q, k, draw="vote") for q in range(2) for k in range(4)]
    judged = [verdict(r, True) for r in drawn]
    other = [verdict(r, r["sample_index"] != 1, grader="other") for r in drawn]
    made = scores((drawn, judged), expected_n=2, others={"other": other})
    write(store, [("checkpoints", checkpoint("base", "base")), *(("scores", row) for row in made)])
    [flips] = leaderboard(store, "aime").flips
    assert (flips.other, flips.flipped, flips.responses) == ("other", 2, 8)


def test_flips_of_a_model_in_two_model_sets_are_counted_once(store: Store) -> None:
    answered, judged = answers("base", "gsm", [True] * 4, [9] * 4)
    other = [verdict(r, i > 0, grader="other") for i, r in enumerate(answered)]
    for name in ("pair", "triple"):
        made = scores((answered, judged), expected_n=4, others={"other": other}, model_set=name)
        rows = [
            ("checkpoints", checkpoint("base", "base", model_set=name)),
            *(("scores", row) for row in made),
        ]
        write(store, rows)
    board = leaderboard(store, "gsm")
    assert len(board.rows) == 2
    assert [(flips.flipped, flips.responses) for flips in board.flips] == [(1, 4)]


def test_votes_that_rest_on_other_questions_are_mentioned(store: Store) -> None:
    drawn = [response("base", "gsm", 0, k, draw="vote") for k in range(4)]
    judged = [verdict(r, True) for r in drawn]
    pool = scores((drawn, judged), expected_n=4, votes=(1, 4))
    write(store, [*pair(), *(("scores", s) for s in pool)])
    board = leaderboard(store, "mini")
    assert board.votes["gsm"] == () and len(board.notes) == 1
    assert board.notes[0].startswith("gsm: 1 checkpoint(s) have votes over other questions")


def test_model_sets_are_kept_apart(store: Store) -> None:
    other = [
        ("checkpoints", checkpoint("base", "base", model_set="other", at=1)),
        ("checkpoints", checkpoint("ties", "merged", model_set="other", at=3)),
        *(row for row in measured("base", "gsm", "1000", 10, model_set="other") if row[0] == "scores"),
        *(row for row in measured("ties", "gsm", "1111", 20, model_set="other") if row[0] == "scores"),
    ]
    write(store, [*pair(), *other])
    board = leaderboard(store, "gsm")
    assert board.model_sets == ("other", "pair") and len(board.rows) == 5
    assert [row.rank for row in board.rows if row.kind == "merged"] == [1, 1]
    assert len(leaderboard(store, "gsm", model_set="other").rows) == 2


def test_browsing_responses(store: Store) -> None:
    write(store, world(questions=30))
    page = responses_of(store, "ties", "mini_aime", draw="vote", limit=7, offset=3)
    assert page.total == 30 * 16 and len(page.items) == 7
    assert [item["sample_index"] for item in page.items] == list(range(3, 10))
    counts = page.counts
    assert counts["correct"] + counts["wrong"] + counts["no answer"] == counts["all"] == 480
    for outcome in ("correct", "wrong", "no answer", "truncated"):
        chosen = responses_of(store, "ties", "mini_aime", draw="vote", outcome=outcome, limit=1000)
        assert len(chosen.items) == counts[outcome] == chosen.total
        assert all(item["correct"] == (outcome == "correct") for item in chosen.items)
    assert responses_of(store, "nobody", "mini_aime").total == 0
    with pytest.raises(StoreError, match="unknown outcome 'worng'"):
        responses_of(store, "ties", "mini_aime", outcome="worng")


T = TypeVar("T")


def timed(query: Callable[[], T]) -> tuple[T, float]:
    """The answer, and the shortest of four times in seconds: other work on the machine only adds to it."""
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        answer = query()
        seconds.append(time.perf_counter() - start)
    return answer, min(seconds)


@pytest.mark.slow
def test_a_million_responses(store: Store) -> None:
    write(store, world(questions=500, pool=4))
    before = leaderboard(store, "mini")
    (found,) = store.rows("SELECT count(*) AS n FROM responses")
    copies = 1_000_000 // found["n"] + 1
    with duckdb.connect(str(store.path)) as connection:  # other checkpoints that answered the same questions
        for table in ("responses", "verdicts"):
            replaced = "response_id || '/' || c AS response_id"
            if table == "responses":
                replaced += ", checkpoint || c AS checkpoint"
            connection.execute(
                f"INSERT INTO {table} SELECT old.* REPLACE ({replaced}) FROM {table} AS old, "
                f"range(1, {copies}) AS copy(c)"
            )
    (found,) = store.rows("SELECT count(*) AS n FROM responses")
    assert found["n"] >= 1_000_000
    board, board_seconds = timed(lambda: leaderboard(store, "mini"))
    page, page_seconds = timed(lambda: responses_of(store, "ties", "mini_aime"))
    for now, then in zip(board.rows, before.rows, strict=True):
        assert (now.name, now.accuracy, now.length, now.rank) == (
            then.name,
            then.accuracy,
            then.length,
            then.rank,
        )
        assert now.against_base == then.against_base or (
            now.against_base.p == pytest.approx(then.against_base.p)  # type: ignore[union-attr]
        )
    assert page.total == 500 * 5
    print(f"board {board_seconds:.2f} s, page {page_seconds:.2f} s")
    assert board_seconds < 1 and page_seconds < 1


def test_a_suite_of_texts_and_labels_means_lengths_over_the_texts(store: Store) -> None:
    label = {"finish_reason": "label", "n_generated": None, "budget": None}
    rows = [("checkpoints", checkpoint(name, kind)) for name, kind in (("base", "base"), ("ties", "merged"))]
    rows += [("checkpoints", checkpoint(name, "expert")) for name in ("maths", "mood")]
    for name, tokens in (("base", 10), ("maths", 50), ("mood", 20), ("ties", 25)):
        rows += measured(name, "sums", "1100", tokens, expert="maths", domain="maths")
        rows += measured(name, "reviews", "1110", None, expert="mood", domain="mood", **label)
    write(store, rows)
    board = leaderboard(store, "mini")
    ties = rows_of(board)["ties"]
    assert board.with_length == ("sums",) and ties.complete and ties.rank == 1 and not ties.missing
    assert (
        ties.length is not None and ties.length.value == 25 and ties.length_reduction == pytest.approx(-0.5)
    )
    assert ties.accuracy is not None and ties.accuracy.value == pytest.approx((0.5 + 0.75) / 2)
    assert {b: cell.expert for b, cell in ties.cells.items() if cell} == {"sums": "maths", "reviews": "mood"}
    assert ties.title == "ties" and ties.cells["reviews"].against_base is not None  # type: ignore[union-attr]


def graded(name: str, grader: str, good: str, *, first: bool) -> list:
    """Scores of one grader on the questions of `gsm`."""
    responses, verdicts = answers(name, "gsm", [c == "1" for c in good])
    verdicts = [row | {"grader": grader} for row in verdicts]
    made = scores((responses, verdicts), expected_n=len(good), first=first)
    return [("verdicts", row) for row in verdicts] + [("scores", row) for row in made]


def test_the_first_grader_is_shown_unless_another_is_asked_for(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint("base", "base"))]
    rows += graded("base", "papers", "1100", first=True) + graded("base", "exact", "1000", first=False)
    write(store, rows)
    board = leaderboard(store, "gsm")
    assert rows_of(board)["base"].accuracy.value == 0.5 and board.graders == {"gsm": "papers@1"}  # type: ignore[union-attr]
    assert board.known_graders == ("papers", "exact")
    other = leaderboard(store, "gsm", grader="exact")
    assert rows_of(other)["base"].accuracy.value == 0.25  # type: ignore[union-attr]
    with pytest.raises(StoreError, match="'exakt' here. There are some of: papers, exact"):
        leaderboard(store, "gsm", grader="exakt")


def test_a_budget_of_ones_own_keeps_greedy_answers_and_its_own_votes(store: Store) -> None:
    rows: list = [
        ("checkpoints", checkpoint("base", "base")),
        *measured("base", "gsm", "1000", 9, draw="greedy@64"),
    ]
    for draw, right in (("pool@64", True), ("pool", False)):
        responses = [response("base", "gsm", q, k, draw=draw) for q in range(4) for k in range(2)]
        made = scores((responses, [verdict(r, right) for r in responses]), expected_n=4, votes=(1, 2))
        rows += [("scores", row) for row in made]
    write(store, rows)
    cell = rows_of(leaderboard(store, "gsm"))["base"].cells["gsm"]
    assert cell is not None and cell.draw == "greedy@64" and cell.accuracy is not None
    assert cell.accuracy.value == 0.25 and cell.votes[2].value == 1.0
    assert [(p.n, p.rule) for p in cell.curve] == [(1, "robust"), (2, "robust"), (2, "toolkit")]
    assert cell.curve[1].tokens is not None and cell.curve[1].tokens.value == 24


def asked_as(
    name: str, mode: str, good: str, *, benchmark: str = "gsm", budget: int = 256, **changes: Any
) -> list:
    """A measurement under a prompt mode and a budget; 256 is the usual one."""
    draw = "greedy" if budget == 256 else f"greedy@{budget}"
    changes |= {"prompt_mode": mode, "draw": draw, "max_new_tokens": budget, "budget": budget}
    rows = measured(name, benchmark, good, 10, **changes)
    for _, row in rows:
        if "response_id" in row:
            row["response_id"] += f"/{mode}/{changes.get('engine')}"
    return rows


def test_prompt_modes_and_budgets_are_said_and_chosen_and_never_mixed(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint("base", "base")), ("checkpoints", checkpoint("ties", "merged"))]
    for name in ("base", "ties"):
        rows += asked_as(name, "cot", "1110") + asked_as(name, "chat", "1000")
        rows += asked_as(name, "cot", "1100", budget=64)
    write(store, rows + asked_as("ties", "cot", "10", benchmark="aime"))
    board = leaderboard(store, "mini")
    assert protocol_lines(board) == [
        "Prompt cot; budget 256 tokens; engine hf float32.",
        "Also stored: prompt chat (`--prompt-mode chat`); budget 64 (`--max-new-tokens 64`).",
    ]
    for chosen, accuracy, said in (
        ({"prompt_mode": "cot"}, 0.75, "Prompt cot; budget 256 tokens;"),
        ({"prompt_mode": "chat"}, 0.25, "Prompt chat; budget 256 tokens;"),
        ({"max_new_tokens": 64}, 0.5, "Prompt cot; budget 64 tokens;"),
        ({"prompt_mode": "cot", "max_new_tokens": 256}, 0.75, "Prompt cot; budget 256 tokens;"),
    ):
        board = leaderboard(store, "gsm", **chosen)
        assert {row.cells["gsm"].accuracy.value for row in board.rows} == {accuracy}  # type: ignore[union-attr]
        assert protocol_lines(board)[0].startswith(said)
    nothing = leaderboard(store, "gsm", prompt_mode="chat", max_new_tokens=64)
    assert nothing.rows == () and protocol_lines(nothing)[0].startswith(
        "Also stored: prompt chat, budget 256"
    )


def test_a_table_keeps_the_prompt_that_most_of_it_has(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint("base", "base"))]
    rows += asked_as("base", "cot", "1110") + asked_as("base", "cot", "11", benchmark="aime")
    rows += asked_as("base", "cot", "11", benchmark="minerva")
    rows += asked_as("base", "chat", "1000")  # later, and on one benchmark only
    write(store, rows)
    board = leaderboard(store, "mini")
    assert {cell.prompt_mode for cell in board.rows[0].cells.values() if cell} == {"cot"}
    write(store, asked_as("base", "chat", "11", benchmark="maths"), "run-2")
    assert protocol_lines(leaderboard(store, "mini"))[0].startswith(
        "Prompt cot (gsm, aime, minerva), chat (maths); budget"
    )


def test_engines_that_differ_are_named_with_their_models(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint(name, "merged")) for name in ("one", "two", "three")]
    rows += asked_as("one", "cot", "10", engine="vllm") + asked_as("two", "cot", "10", engine="vllm")
    rows += asked_as("three", "cot", "10", engine="hf", budget=256) + asked_as(
        "two", "cot", "10", engine="hf"
    )
    rows += asked_as("one", "cot", "10", engine="server")
    write(store, rows)
    said, also = protocol_lines(leaderboard(store, "gsm"))
    assert "vllm float32 (one" in said and "hf float32 (three" in said
    assert "engine server float32, of one" in also


def test_answers_on_which_grading_met_a_limit_are_counted_with_those_that_vote(store: Store) -> None:
    rows: list = [("checkpoints", checkpoint("base", "base"))]
    for draw, reasons in (
        ("greedy", ["time limit: 5 s", "equal"]),
        ("vote", ["could not be compared: E", "equal"]),
    ):
        drawn = [
            response("base", "gsm", q, k, draw=draw) for q in range(3) for k in range(1 + (draw == "vote"))
        ]
        judged = [verdict(r, False, why=reasons[r["sample_id"] != "gsm-0"]) for r in drawn]
        rows += [
            ("scores", s) for s in scores((drawn, judged), expected_n=3, votes=(2,) if draw == "vote" else ())
        ]
    write(store, rows)
    board = leaderboard(store, "gsm")
    assert board.rows[0].cells["gsm"].stopped == 3  # type: ignore[union-attr]
    assert limit_lines(board) == ["Answers on which grading stopped at a limit: gsm 3 (base 3)."]
    shares = store.rows("SELECT draw, value FROM scores WHERE metric = 'stopped' ORDER BY draw")
    assert [row["value"] for row in shares] == [pytest.approx(1 / 3)] * 2
