"""The strict grader against values worked out by hand: what a mathematician would accept."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.strict.grader import LONGEST_ANSWER, Strict, strict
from tasks.strict.numbers import close, read_number
from tasks.strict.shapes import clean, shape


@cache
def grader(benchmark: str) -> Strict:
    """One for all tests: its workers take seconds to start."""
    return Strict(benchmark)


# benchmark, response, gold, verdict
GRADED = {
    "math500": [
        ("2\\sqrt{2}", "\\sqrt{8}", True),
        ("5", "500", False),
        ("0.05", "5", False),
        ("(1,2]", "[1,2)", False),
        ("[1,2)", "[1,2)", True),
        ("1,2", "(1,2)", False),
        ("(2,1)", "(1,2)", False),
        ("(1,1+x)", "(1,x+1)", True),
        ("2,1", "1,2", True),
        ("1,2,3", "1,2", False),
        ("1", "1,2", False),
        ("\\{2,1\\}", "1,2", True),
        ("69,84", "6984", False),
        ("1,234", "1234", True),
        ("x=1 \\text{ or } x=2", "1,2", True),
        ("1\\pm\\sqrt{2}", "1+\\sqrt{2},1-\\sqrt{2}", True),
        ("\\text{Evelyn}", "\\text{Evelyn}", True),
        ("\\text{east}", "\\text{west}", False),
        ("C", "\\text{(C)}", True),
        ("50\\%", "0.5", True),
        ("50\\%", "50", True),
        ("0.5\\%", "0.5", True),
        ("0.5\\%", "50", False),
        ("18 \\text{ dollars}", "18", True),
        ("64^{\\circ}", "64", True),
        ("(3,\\infty)\\cup(-\\infty,2)", "(-\\infty,2)\\cup(3,\\infty)", True),
        ("(-\\infty,2]\\cup(3,\\infty)", "(-\\infty,2)\\cup(3,\\infty)", False),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", True),
        ("\\begin{pmatrix}2\\\\1\\end{pmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", False),
        ("y=2x+3", "2x+3", True),
        ("2\\frac{1}{3}", "7/3", True),
        ("0", "1e-9", False),
        ("3.14", "\\pi", False),
        ("3.14159265", "\\pi", True),
        ("33.33", "33.3", False),
        ("[2,\\infty)", "x \\ge 2", True),  # verify(gold, answer): an interval may answer an inequality
    ],
    "college_math": [
        ("3m^4-2m+6", "3 m^{4}-2 m+6", True),
        ("3^4-2+6", "3 m^{4}-2 m+6", False),
        ("(-10,-9),(45,2)", "$(45,2),(-10,-9)$", True),
    ],
    "aime24": [
        ("25", "025", True),
        ("025", "25", True),
        ("25.0", "025", True),
        ("25.0000001", "025", False),
        ("1", "100", False),
        ("204\\%", "204", False),
        ("m+n=\\frac{50}{2}", "025", True),
        ("24,25", "025", False),
    ],
    "minerva_ocw": [
        ("4.5\\times 10^{33}", "4.5e33", True),
        ("4.6\\times 10^{33}", "4.5e33", False),
        ("1e-9", "2e-9", False),
        ("1.6", "s=\\boxed{1.6} \\mathrm{~cm}", True),
        ("160", "1.6", False),
    ],
}
ROWS = [(name, *row) for name, rows in GRADED.items() for row in rows]


@pytest.mark.parametrize(("benchmark", "answer", "gold", "correct"), ROWS)
def test_verdicts_by_hand(benchmark: str, answer: str, gold: str, correct: bool) -> None:
    [verdict] = grader(benchmark).grade([(f"So it is \\boxed{{{answer}}}.", gold)])
    assert (verdict.correct, bool(verdict.why), verdict.extracted is None) == (correct, True, False)


FOUND = [
    ("The answer is 18.0", True, "18"),
    ("It costs $18$ in all", False, None),
    ("Answer: $x = \\frac{36}{2}$", True, "18"),
    ("\\boxed{17} no: \\boxed{18}", True, "18"),
    ("\\boxed{17}, wait, \\boxed{18", False, "17"),
    ("\\boxed{}", False, None),
    ("I do not know.", False, None),
    ("", False, None),
]


@pytest.mark.parametrize(("text", "correct", "vote"), FOUND)
def test_the_last_complete_box_or_the_last_marker_answers(text: str, correct: bool, vote: str | None) -> None:
    [verdict] = grader("math500").grade([(text, "18")])
    assert (verdict.correct, verdict.vote) == (correct, vote)


def test_equal_answers_vote_together() -> None:
    texts = ["0.50", "1/2", "\\frac{2}{4}", "x = \\frac{1}{2}", "50\\%"]
    votes = {v.vote for v in grader("math500").grade([(f"\\boxed{{{t}}}", "7") for t in texts])}
    assert votes == {"1/2"}
    first, second = grader("math500").grade([("\\boxed{1, 2}", "7"), ("\\boxed{x=2 \\text{ or } x=1}", "7")])
    assert first.vote == second.vote
    assert grader("math500").equivalent([("x+1", "1+x"), ("x+1", "x"), ("", "x")]) == [True, False, False]


def test_name_and_version_say_who_decides() -> None:
    built = strict("gsm8k")()
    assert built.name == "strict" and built.version.startswith("5+math-verify-0.")
    with pytest.raises(ValueError, match="no grading rules"):
        strict("gsm9k")


def test_an_endless_box_is_not_compared() -> None:
    [verdict] = grader("math500").grade([("\\boxed{" + "7" * (LONGEST_ANSWER + 1) + "}", "3")])
    assert verdict.why.startswith("length limit") and verdict.vote is None


@settings(deadline=None)
@given(st.integers(-(10**30), 10**30))
def test_every_integer_reads_back_exactly_however_it_is_grouped(number: int) -> None:
    for text in (str(number), f"{number:,}", f"{number:,}".replace(",", "{,}")):
        read = read_number(text)
        assert read is not None and read.value == number


@settings(deadline=None)
@given(st.fractions(), st.fractions())
def test_closeness_is_symmetric(one: object, other: object) -> None:
    assert close(one, other, 1e-4) == close(other, one, 1e-4)  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.text(alphabet="0123456789abx{}()[]\\,;.= +-^$%cuptexor", max_size=60))
def test_shapes_never_fail(text: str) -> None:
    shape(clean(text))
