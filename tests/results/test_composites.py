"""Benchmarks made of others: means and the best of two by hand, what is missing, and each question counted once."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from results.board import Board, Row
from results.composites import Composite, Part, columns_of
from results.leaderboard import leaderboard
from results.statistics import mcnemar
from results.store import Store
from tests.results.factory import answers, checkpoint, scores, write
from tests.results.test_leaderboard import measured


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "leaderboard.duckdb")


def column(
    name: str, parts: Iterable[str | tuple[str, str]], how: str = "mean", domain: str = "maths"
) -> tuple[str, dict[str, Any]]:
    """A row of `composites` of the suite `mini`; a part with a grader is a pair."""
    pairs = [part if isinstance(part, tuple) else (part, None) for part in parts]
    row = {"suite": "mini", "benchmark": name, "title": name, "domain": domain, "how": how}
    return "composites", row | {"parts": [{"benchmark": b, "grader": g} for b, g in pairs]}


def graded_twice(name: str, strict: str, loose: str) -> list:
    """One measurement of `ifeval` under the graders `strict` (the first) and `loose`."""
    responses, verdicts = answers(name, "ifeval", [c == "1" for c in strict])
    judged = {
        grader: [v | {"grader": grader, "correct": c == "1"} for v, c in zip(verdicts, good, strict=True)]
        for grader, good in (("strict", strict), ("loose", loose))
    }
    made: list = [("responses", row) for row in responses]
    for grader, rows in judged.items():
        others = {name: other for name, other in judged.items() if name != grader}
        made += [("verdicts", row) for row in rows]
        made += [
            ("scores", row)
            for row in scores(
                (responses, rows), expected_n=len(strict), others=others, first=grader == "strict"
            )
        ]
    return made


def models(*names: str) -> list:
    kinds = {"base": "base", "expert": "expert"}
    return [
        ("checkpoints", checkpoint(name, kinds.get(name, "merged"), at=at)) for at, name in enumerate(names)
    ]


def row_of(board: Board, name: str) -> Row:
    return next(row for row in board.rows if row.name == name)


def test_a_mean_of_languages_by_hand(store: Store) -> None:
    rows = [*models("base", "ties"), column("arc", ["arc_fr", "arc_de"])]
    rows += measured("base", "arc_fr", "1000", 10) + measured("base", "arc_de", "10", 20)
    rows += measured("ties", "arc_fr", "1110", 30) + measured("ties", "arc_de", "10", 50)
    write(store, rows)
    board = leaderboard(store, "mini")
    assert board.benchmarks == ("arc",) and board.domains == {"arc": "maths"} and board.notes == ()
    row = row_of(board, "ties")
    cell = row.cells["arc"]
    assert cell is not None and cell.accuracy is not None and cell.length is not None and row.complete
    assert cell.accuracy.value == pytest.approx((0.75 + 0.5) / 2)
    # p (1 - p) / (n - 1) of each part, and half the root of their sum.
    assert cell.accuracy.stderr == pytest.approx((0.75 * 0.25 / 3 + 0.5 * 0.5 / 1) ** 0.5 / 2)
    assert cell.length.value == 40 and (cell.n, cell.expected_n) == (6, 6) and not cell.limited
    assert list(cell.parts) == ["arc_fr", "arc_de"] == list(row.measured) and cell.won is None
    # Unweighted: two languages gained 0.5 and 0; on all six questions together two were gained.
    assert row.accuracy_gain == pytest.approx(0.25)
    assert row.against_base is not None and (row.against_base.n, row.against_base.better) == (6, 2)
    assert row.against_base.difference == pytest.approx(2 / 6) and row.against_base.p == mcnemar(2, 0)
    other = [column("arc", ["arc_de"])]  # what is recorded later is what holds
    write(store, other, "run-2")
    assert row_of(leaderboard(store, "mini"), "ties").cells["arc"].accuracy.value == 0.5  # type: ignore[union-attr]


def test_a_missing_part_makes_the_whole_missing_and_stays_visible(store: Store) -> None:
    rows = [*models("base", "ties"), column("arc", ["arc_fr", "arc_de"])]
    rows += measured("base", "arc_fr", "1000", 10) + measured("base", "arc_de", "10", 20)
    rows += measured("ties", "arc_fr", "1110", 30)
    write(store, rows)
    row = row_of(leaderboard(store, "mini"), "ties")
    cell = row.cells["arc"]
    assert cell is not None and cell.accuracy is None and row.accuracy is None and row.against_base is None
    assert cell.parts["arc_de"] is None and cell.parts["arc_fr"].accuracy.value == 0.75  # type: ignore[union-attr]
    assert (row.complete, row.rank, row.missing, row.missing_parts) == (False, None, ["arc"], ["arc_de"])


def test_the_best_of_two_says_which_and_is_compared_where_it_is_the_best(store: Store) -> None:
    rows = [*models("base", "ties"), column("gsm8k", ["direct", "cot"], "max")]
    rows += measured("base", "direct", "1110", 10) + measured("base", "cot", "1000", 40)
    rows += measured("ties", "direct", "1000", 20) + measured("ties", "cot", "1101", 60)
    write(store, rows)
    board = leaderboard(store, "mini")
    base, ties = (row_of(board, name).cells["gsm8k"] for name in ("base", "ties"))
    assert base is not None and ties is not None and (base.won, ties.won) == ("direct", "cot")
    assert ties.accuracy is not None and ties.accuracy.value == 0.75 and ties.length is not None
    assert (ties.n, ties.length.value) == (4, 60), "no question counts twice"
    against = row_of(board, "ties").against_base
    assert against is not None and (against.n, against.better, against.worse) == (4, 2, 0)  # under `cot`
    write(store, measured("ties", "cot", "11", 60, expected_n=4), "run-2")
    write(store, [("checkpoints", checkpoint("few", "merged", at=9)), *measured("few", "direct", "1110", 1)])
    write(store, measured("few", "cot", "11", 60, expected_n=4), "run-3")
    assert row_of(leaderboard(store, "mini"), "few").limited


def test_two_graders_of_one_benchmark_are_two_columns_of_the_same_questions(store: Store) -> None:
    columns = [column(f"ifeval_{by}", [("ifeval", by)]) for by in ("strict", "loose")]
    rows = [*models("base", "ties"), *columns]
    rows += graded_twice("base", "1000", "1100") + graded_twice("ties", "1101", "1111")
    write(store, rows)
    board = leaderboard(store, "mini")
    assert board.benchmarks == ("ifeval_strict", "ifeval_loose")
    row = row_of(board, "ties")
    found = {name: cell.accuracy.value for name, cell in row.cells.items() if cell and cell.accuracy}
    assert found == {"ifeval_strict": 0.75, "ifeval_loose": 1.0}
    # Each question once, under the first of the two; the means are over both columns.
    assert row.against_base is not None and (row.against_base.n, row.against_base.better) == (4, 2)
    assert row.accuracy_gain == pytest.approx((0.5 + 0.5) / 2)
    [flips] = [one for one in board.flips if one.other == "loose"]
    assert (flips.benchmark, flips.flipped, flips.responses) == ("ifeval", 2, 8)
    assert len(board.flips) == 1, "and not the same once more the other way round"


def test_a_part_by_its_own_name_and_columns_that_are_asked_as_they_are(store: Store) -> None:
    rows = [*models("base"), column("arc", ["arc_fr", "arc_de"])]
    rows += measured("base", "arc_fr", "1000", 10) + measured("base", "arc_de", "10", 20)
    write(store, rows)
    assert leaderboard(store, "arc_de").benchmarks == ("arc_de",)
    plain = leaderboard(store, "mini", benchmarks=("arc_fr",), composed=False)
    assert plain.rows[0].cells["arc_fr"].accuracy.value == 0.25  # type: ignore[union-attr]


def test_columns_of_several_domains_are_all_shown_and_those_of_one_where_measured() -> None:
    recorded = {
        name: Composite(name, name, domain, "mean", parts)
        for name, domain, parts in (
            ("sums", "maths", (Part("sums"),)),
            ("arc", "languages", (Part("arc_fr"), Part("arc_de"))),
        )
    }
    assert columns_of(["sums", "beside"], recorded) == ("sums", "arc")
    maths = {"sums": recorded["sums"], "aime": Composite("aime", "aime", "maths", "mean", (Part("aime"),))}
    assert columns_of(["sums"], maths) == ("sums",)
    assert columns_of(["sums", "beside"], {}) == ("sums", "beside")
