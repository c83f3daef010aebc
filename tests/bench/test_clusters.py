"""Which answers vote together."""

from __future__ import annotations

from collections.abc import Sequence

from bench.evaluation.clusters import Voter, clustered
from tasks.strict.grader import Strict


def names(*votes: str | None) -> list[Voter]:
    return [Voter(vote, vote or "") for vote in votes]


class Judge:
    """Finds equal what has the same letters, and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        self.asked += pairs
        return [sorted(a) == sorted(b) for a, b in pairs]


def test_numbers_are_one_cluster_by_their_value_and_need_no_grader() -> None:
    judge = Judge()
    assert clustered([names("1/2", "0.50", "2", None, "2.0", "-3", "007")], judge) == [
        ["1/2", "1/2", "2", None, "2", "-3", "7"]
    ]
    assert judge.asked == []


def test_other_answers_are_compared_with_the_first_of_each_cluster_only() -> None:
    judge = Judge()
    found = clustered([names("x+y", "y+x", "z", "+xy"), names("ab", "ba")], judge)
    assert found == [["x+y", "x+y", "z", "x+y"], ["ab", "ab"]]
    assert clustered([names("x+y", "y+x", "x+y")], None) == [["x+y", "y+x", "x+y"]]


def test_no_transitive_closure() -> None:
    def near(pairs: Sequence[tuple[str, str]]) -> list[bool]:
        return [abs(ord(a) - ord(b)) <= 1 for a, b in pairs]

    # b is near a, c is near b but not near a: c is compared with a, the first of the cluster.
    assert clustered([names("a", "b", "c", "d")], near) == [["a", "a", "c", "c"]]


def test_more_samples_change_nothing_of_what_was_there() -> None:
    first = clustered([names("x+y", "z", "y+x")], Judge())[0]
    stored = [Voter(name, text, settled=True) for name, text in zip(first, ("x+y", "z", "y+x"), strict=True)]
    more = clustered([[*stored, *names("+yx", "w")]], Judge())[0]
    assert more == [*first, "x+y", "w"]
    assert more == clustered([names("x+y", "z", "y+x", "+yx", "w")], Judge())[0]


def test_the_strict_grader_finds_equal_what_is_written_differently() -> None:
    grader = Strict("math500")
    try:
        found = clustered(
            [names(r"\frac{1}{2}", "0.5", r"\sqrt{8}", r"2\sqrt{2}", r"\text{east}", r"\frac{2}{4}", "3")],
            grader.equivalent,
        )
    finally:
        grader.close()
    assert found == [["1/2", "1/2", r"\sqrt{8}", r"\sqrt{8}", r"\text{east}", "1/2", "3"]]


def test_odd_answers_are_names_of_their_own() -> None:
    odd = ["1/0", "1e5", "٣", "1" * 300, "", "0/7"]
    assert clustered([names(*odd)], None)[0] == odd[:-1] + ["0"]
