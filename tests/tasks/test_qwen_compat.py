"""The toolkit's rules, as the reference describes them: every value here is from there or worked out by hand."""

from __future__ import annotations

import re
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.qwen_compat.equivalence import compare, quick
from tasks.qwen_compat.extraction import choice_letter, extract, raw_answer
from tasks.qwen_compat.grader import LONGEST_ANSWER, QwenCompat, qwen_compat
from tasks.qwen_compat.normalisation import STEPS, normalise

QUICK = settings(deadline=None)  # a busy machine is no failure


@cache
def grader(benchmark: str) -> QwenCompat:
    """One for all tests: its workers take seconds to start."""
    return QwenCompat(benchmark)


# The verdict table of the reference (1.5), row by row.
TABLE = [
    ("5", "500", True),
    ("0.05", "5", True),
    ("1", "100", True),
    ("(1,2]", "[1,2)", True),
    ("1,2", "(1,2)", True),
    ("69,84", "6984", True),
    ("84,69", "69,84", False),
    ("33.33", "33.3", False),
    ("1e-9", "0", False),
]


@pytest.mark.parametrize(("prediction", "gold", "equal"), TABLE)
def test_the_verdict_table(prediction: str, gold: str, equal: bool) -> None:
    assert compare(prediction, gold).equal is equal
    [verdict] = grader("math500").grade([(f"\\boxed{{{prediction}}}", gold)])
    assert verdict.correct is equal


def test_the_row_that_depends_on_unit_stripping() -> None:
    answer, gold = "3m^4-2m+6", "3 m^{4}-2 m+6"
    assert normalise(gold) == "3^{4}-2+6" and normalise(answer) == answer
    assert not compare(normalise(answer), normalise(gold)).equal
    assert compare(normalise(answer, strip_units=False), normalise(gold, strip_units=False)).equal


EXTRACTED = [
    ("The final answer is $\\pi$. I hope it is correct. \\boxed{3}", "\\pi"),
    ("\\boxed{1} then \\boxed{2}", "2"),
    ("\\boxed{\\frac{1}{2}} and more", "\\frac{1}{2}"),
    ("cut off: \\boxed{12 + \\frac{3", "12 + \\frac{3"),
    ("$\\boxed 7$ is it", "7"),
    ("So the answer is: 12 apples.", ": 12 apples."),
    ("The answer is 1. No, the answer is 2", "2"),
    ("My final answer is 9", "9"),
    ("There are 1,234 or -5.5 things", "-5.5"),
    ("It has 1,234 in it", "1234"),
    ("It is .4 and no more", ".4"),
    ("nothing at all", ""),
]


@pytest.mark.parametrize(("text", "raw"), EXTRACTED)
def test_the_first_rule_that_matches_extracts(text: str, raw: str) -> None:
    assert raw_answer(text) == raw


def test_one_colon_one_full_stop_and_one_slash_go() -> None:
    assert extract("So the answer is: 12.") == "12"
    assert extract("\\boxed{1\n   2/}") == "12"


STEPPED = [
    ("trim", "  5 ", "5"),
    ("newlines", "1\n2", "12"),
    ("full stops", "5..", "5"),
    ("negative space", "1\\!000", "1000"),
    ("matrices", "\\begin{array}{cc}1&2\\end{array}", "\\begin{pmatrix}1&2\\end{pmatrix}"),
    ("matrices", "\\begin{bmatrix}1\\end{bmatrix}", "\\begin{pmatrix}1\\end{pmatrix}"),
    ("fraction sizes", "\\dfrac{1}{2}+\\tfrac{1}{3}", "\\frac{1}{2}+\\frac{1}{3}"),
    ("relations", "a\\neq b\\leq c\\geq d", "a\\ne b\\le c\\ge d"),
    ("delimiter sizes", "\\left(1\\right)", "(1)"),
    ("escaped braces", "\\{1\\}", "{1}"),
    ("closing text", "5 \\text{ apples}", "5"),
    ("closing text", "\\text{east}", "\\text{east}"),
    ("closing text", "-1 \\text{ and } \\frac{1}{2}", "-1"),
    ("units", "5 meters per hour", "5   "),
    ("units", "5 dollars, 2 times", "5 dollars, 2 times"),
    ("units", "2 \\times 3", "2 \\times 3"),
    ("units", "5^{\\prime}", "5^{\\}"),
    ("units", "2 a x+b", "2 +b"),
    ("units", "3 m^{4}-2 m+6", "3 ^{4}-2 +6"),
    ("units", "3m^4", "3m^4"),
    ("degrees", "30^\\circ", "30"),
    ("degrees", "30^{\\circ}", "30"),
    ("dollars", "\\$5 $x$ \\(y\\)", "5 x y"),
    ("number words", "twenty-five", "25"),
    ("number words", "025", "25"),
    ("number words", "000", "0"),
    ("number words", "Eight pieces of each kind of pie.", "8"),
    ("number words", "two hundred and three thousand", "203000"),
    ("number words", "three point one four", "3.14"),
    ("number words", "the point on the line", "0"),
    ("text", "\\text{(A)}", "(A)"),
    ("variables", "x=5,y\\in R,z\\to 1", "5, R, 1"),
    ("empty set", "\\emptyset", "{}"),
    ("real line", "(-\\infty,\\infty)", "\\mathbb{R}"),
    ("real line", "(-\\infty, \\infty)", "(-\\infty, \\infty)"),
    ("percent", "50\\%", "50"),
    ("inner leading dots", "a .5", "a 0.5"),
    ("infinity", "infinity", "\\infty"),
    ("infinity", "-inf", "-\\infty"),
    ("infinity", "\\infty", "\\infty"),
    ("and", "1 and 2", "1  2"),
    ("bold and boxes", "\\mathbf{x}\\mbox{ cm}", "{x}"),
    ("imaginary unit", "2+3j", "2+3i"),
    ("imaginary unit", "i+j", "i+j"),
    ("trailing zeros", "5.000", "5"),
    ("trailing zeros", "5.00x+1.50", "5x+1.50"),
    ("trailing zeros", "-3./2", "-3/2"),
    ("leading dot", ".5", "0.5"),
    ("right side", "k = 5", "5"),
    ("right side", "abc=5", "abc=5"),
    ("right side", "a=b=5", "a=b=5"),
    ("right side", "ab = 5", "ab = 5"),
    ("roots", "\\sqrt2+\\sqrt{3}", "\\sqrt{2}+\\sqrt{3}"),
    ("fractions", "\\frac12", "\\frac{1}{2}"),
    ("fractions", "\\frac1{72}", "\\frac{1}{72}"),
    ("fractions", "\\frac{270}7", "\\frac{270}7"),
    ("spaces", "1 + 2", "1+2"),
    ("quotient", "3/4", "\\frac{3}{4}"),
    ("quotient", "x/4", "x/4"),
    ("quotient", "-4/\\sqrt{x}+C", "\\frac{-4}{\\sqrt{x}+C}"),
    ("quotient", "\\sqrt{3}/x", "\\sqrt{3}/x"),
]


@pytest.mark.parametrize(("name", "before", "after"), STEPPED)
def test_each_step_by_hand(name: str, before: str, after: str) -> None:
    assert dict(STEPS)[name](before) == after


def test_every_step_has_a_value_and_they_come_in_the_reference_order() -> None:
    assert list(dict.fromkeys(name for name, _, _ in STEPPED)) == [name for name, _ in STEPS]


WHOLE = [
    ("\\text{Twenty-five}", "Twenty-five"),  # unwrapped only after words became digits: 25 in the second pass
    ("x = 5", "5"),
    ("\\dfrac{1}{2} \\text{ inches}", "\\frac{1}{2}"),
    ("12 m", "12"),
    ("(-\\infty, \\infty)", "(-\\infty,\\infty)"),
    ("max=3", "ma3"),
    ("1, 2 and 3", "1,23"),
    ("", ""),
]


@pytest.mark.parametrize(("before", "after"), WHOLE)
def test_all_steps_together(before: str, after: str) -> None:
    assert normalise(before) == after


def test_golds_and_predictions_are_normalised_twice() -> None:
    """`x \\in` loses its space in the first pass and its name in the second: on both sides."""
    [verdict] = grader("math500").grade([("\\boxed{x \\in [-2,7]}", "x \\in [-2,7]")])
    assert verdict.correct and verdict.extracted == "[-2,7]" and verdict.why.startswith("rule 1")


def test_what_follows_a_stop_string_is_no_answer() -> None:
    [verdict] = grader("gsm8k").grade([("\\boxed{5}<|im_end|>\n\\boxed{3}", "5")])
    assert verdict.correct


EQUAL = [
    ("2\\sqrt{2}", "\\sqrt{8}", True, "rule 9"),
    ("X", "x", True, "rule 1"),
    ("0.5", "\\frac{1}{2}", True, "rule 9"),
    ("50%", "0.5", True, "rule 2"),
    ("", "5", False, "rule 3"),
    ("\\begin{pmatrix}1\\\\x+1\\end{pmatrix}", "{1,1+x}", True, "rule 7"),
    ("[1,2]", "1,2", True, "rule 5"),
    ("[1,2]", "(1,2)", True, "rule 6"),
    ("(1,1+x)", "(1,x+1)", True, "rule 6"),
    ("\\begin{pmatrix}1/2&2\\end{pmatrix}", "\\begin{pmatrix}0.5&2\\end{pmatrix}", True, "rule 7"),
    ("x+y=1", "y+x=1", True, "rule 8"),
    ("1-y=x", "x=1-y", True, "rule 8"),
    ("y=2x+3", "3+2x", True, "rule 8"),
    ("3+2x", "y=2x+3", True, "rule 8"),
    ("x+1", "1+x", True, "rule 9"),
    ("x+1", "x+2", False, "rule 9"),
]


@pytest.mark.parametrize(("prediction", "gold", "equal", "rule"), EQUAL)
def test_the_rule_that_decides_is_named(prediction: str, gold: str, equal: bool, rule: str) -> None:
    decision = compare(prediction, gold)
    assert (decision.equal, decision.why.split(":")[0]) == (equal, rule)


def test_minerva_keeps_units_and_reads_the_solution() -> None:
    [in_solution, plain, formula] = grader("minerva_ocw").grade(
        [("\\boxed{2 m}", "so it is \\boxed{2 m} long"), ("\\boxed{4.5e33}", "4.5e33"), ("\\boxed{3}", "3 m")]
    )
    assert in_solution.correct and in_solution.extracted == "2m"
    assert plain.correct and not formula.correct
    [stripped] = grader("college_math").grade([("\\boxed{3}", "$3 m$")])
    assert stripped.correct


def test_golds_per_benchmark() -> None:
    for benchmark, gold in (
        ("gsm8k", "2*9 = 18\n#### 1,018"), ("olympiadbench", "$1018$"), ("college_math", "$1018$"),
        ("aime24", "01018"),
    ):  # fmt: skip
        [verdict] = grader(benchmark).grade([("\\boxed{1018}", gold)])
        assert verdict.correct and verdict.why.startswith("rule")
    with pytest.raises(ValueError, match="no grading rules for benchmark 'minerva_math'"):
        qwen_compat("minerva_math")
    assert qwen_compat("aime24")().benchmark == "aime24"


def test_choice_letters() -> None:
    graded = grader("math500").grade(
        [("B is wrong. The answer is (C), not D", "C"), ("Perhaps A. Or B", "B"), ("\\boxed{(A),(B)}", "AB")]
    )
    assert [v.correct for v in graded] == [True, True, True]
    assert choice_letter("no letter") is None


def test_a_gold_of_which_nothing_is_left_consists_of_letters_a_to_e_only() -> None:
    """Asked, the toolkit takes 2250 for right where the gold is east, which goes as a unit: no letter, no answer."""
    right, wrong = grader("math500").grade(
        [("\\boxed{2250}", "\\text{east}"), ("\\boxed{AB}", "\\text{east}")]
    )
    assert (right.correct, right.why, wrong.correct) == (True, "rule 1: both are empty", False)


def test_no_answer_differs_from_a_wrong_one() -> None:
    nothing, wrong, empty = grader("gsm8k").grade([("I do not know", "3"), ("4", "3"), ("\\boxed{}", "3")])
    assert nothing.extracted is None and nothing.vote is None and not nothing.correct
    assert (wrong.extracted, wrong.vote) == ("4", "4")
    assert empty.extracted is None


def test_an_endless_answer_is_not_compared_and_says_so() -> None:
    [verdict] = grader("gsm8k").grade([("\\boxed{" + "7" * (LONGEST_ANSWER + 1), "3")])
    assert verdict.why.startswith("length limit") and len(verdict.extracted or "") < 3000


@QUICK
@given(st.integers(-(10**9), 10**9), st.integers(-(10**9), 10**9))
def test_plain_integers_compare_in_both_directions_alike(one: int, other: int) -> None:
    """Rule 2 allows the factor 100 either way and a tolerance relative to the larger side: symmetric."""
    mine, right = quick(str(one), str(other)), quick(str(other), str(one))
    assert mine is not None and right is not None
    assert mine.equal == right.equal


@QUICK
@given(st.integers(1, 10**12))
def test_the_factor_100_goes_both_ways_and_no_further(number: int) -> None:
    def equal(prediction: int, gold: int) -> bool:
        decision = quick(str(prediction), str(gold))
        assert decision is not None
        return decision.equal

    assert equal(100 * number, number) and equal(number, 100 * number)
    assert not equal(10 * number, number) and not equal(10_000 * number, number)


@QUICK
@given(st.text(alphabet="0123456789abcxyz{}()[]\\,.= +-^$%frtm\n", max_size=60))
def test_normalising_never_fails_and_leaves_no_space(text: str) -> None:
    assert not re.search(r"[ \n]", normalise(text))


@QUICK
@given(st.text(alphabet="ab{}$\\boxed the answer is 0123456789.,-", max_size=80))
def test_extraction_never_fails(text: str) -> None:
    assert isinstance(extract(text), str)
