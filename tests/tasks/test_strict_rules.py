r"""The rules of the strict grader, case by case: a response, its gold, the verdict, and a part of the reason.

Worked out by hand, benchmark by benchmark. A case that is right under plain math-verify or under the last formula of
the text and wrong here, or the other way round, says so by the rule that it stands under.
"""

from __future__ import annotations

import time
from functools import cache

import pytest

from tasks.strict.grader import LONGEST_ANSWER, NOT_MARKED, Strict
from tasks.strict.marked import marked
from tasks.strict.readings import readings
from tasks.strict.shapes import clean

# rule, benchmark, response, gold, verdict, part of the reason
RULES = [
    # An answer is marked. The first four are of a real model, which repeats the question.
    ("marked", "college_math",
     "We need to square it. $(p+7)^{2}$ is the square.", "p^{2}+14 p+49", False, "no answer is marked"),
    ("marked", "college_math",
     "Simplify $\\frac{x}{x^2}$: this is the simplified expression.", "\\frac{1}{x}", False, "no answer is marked"),
    ("marked", "gsm8k",
     "Net profit = $20 - $20\n= 0\n\nThe answer is: 0", "20", False, "found behind 'The answer is:'"),
    ("marked", "olympiadbench",
     "The points form a regular $2 n$-gon. It has applications.", "2n", False, "no answer is marked"),
    ("marked", "gsm8k", "2 + 16 = 18, so 18 apples are left.", "18", False, "no answer is marked"),
    ("marked", "gsm8k", "She sells 9 eggs.\n#### 18", "18", True, "found behind '####'"),
    ("marked", "gsm8k", "#### 2400\nThe answer is:", "2400", True, "found behind '####'"),
    ("marked", "gsm8k", "#### 2. We count\nThere are 2 of them.", "2", False, "no answer is marked"),
    ("marked", "minerva_ocw", "The final answer is 0.01. I hope it is correct.", "0.01", True, "The final answer is"),
    ("marked", "minerva_ocw",
     "The final answer is $4.5\\times 10^{33}$. I hope it is correct.", "4.5e33", True, "final answer"),
    ("marked", "math500",
     "So the answer to the question is $\\frac{1}{2}$, which is half of it.", "0.5", True, "answer to"),
    ("marked", "math500", "**Final Answer**\n\n$x^2$", "x^2", True, "Final Answer"),
    ("marked", "math500", "Answer：１８", "18", True, "equal numbers"),
    ("marked", "math500", "The answer should be 5 because 2+3 is 5.", "5", True, "should be"),
    ("marked", "math500", "The answers are $x=1$ and $x=2$.", "1,2", True, "answers are"),
    ("marked", "math500", "The answer is $18.", "18", True, "equal numbers"),
    ("marked", "math500", "The answer is 18. But if the answer is 20, then no.", "18", False, "20, then no is"),
    ("marked", "math500", "Answer the question: $5$ pens.", "5", False, "no answer is marked"),
    ("marked", "math500", "$5$", "5", True, "stands alone"),
    ("marked", "math500", "It is 5.", "5", False, "no answer is marked"),
    # Boxes: the last complete one, whatever stands behind it.
    ("box", "math500", "\\boxed{3}? No: \\boxed{5}. The answer is 3.", "5", True, "equal numbers"),
    ("box", "math500", "\\boxed{5}, or rather \\boxed{3", "5", True, "equal numbers"),
    ("box", "math500", "The answer is \\boxed{5", "5", False, "no answer is marked"),
    ("box", "math500", "The answer is 4. So the answer is $\\boxed{5", "4", True, "equal numbers"),
    ("box", "math500", "The answer is 5, \\boxed{ }", "5", False, "the last box is empty"),
    ("box", "math500", "\\boxed{\\{1, \\{2\\}\\}}", "\\{1, \\{2\\}\\}", True, ""),
    ("box", "math500", "\\boxed{5 \\text{ (exactly)}}", "5", True, "equal numbers"),
    # No factor 100; a percent sign may be the unit that was asked for.
    ("percent", "math500", "\\boxed{5}", "500", False, "is not the number"),
    ("percent", "math500", "\\boxed{0.05}", "5", False, "is not the number"),
    ("percent", "gsm8k", "\\boxed{25\\%}", "25", True, "equal numbers"),
    ("percent", "gsm8k", "\\boxed{25\\%}", "0.25", True, "equal numbers"),
    ("percent", "gsm8k", "\\boxed{0.25}", "25", False, "is not the number"),
    ("percent", "olympiadbench", "\\boxed{420\\%}", "4.2", True, "equal numbers"),
    # GSM8K: thousands separators.
    ("thousands", "gsm8k", "\\boxed{70,000}", "70000", True, "equal numbers"),
    ("thousands", "gsm8k", "\\boxed{\\$1{,}234.50}", "1,234.5", True, "equal numbers"),
    ("thousands", "gsm8k", "\\boxed{69,84}", "6984", False, "another shape"),
    # AIME: the exact integer, zeros in front or not.
    ("integer", "aime24", "\\boxed{25}", "025", True, "the same integer"),
    ("integer", "aime24", "\\boxed{025.0}", "025", True, "the same integer"),
    ("integer", "aime24", "\\boxed{25.0000001}", "025", False, "not the integer 25"),
    ("integer", "aime24", "\\boxed{\\text{025}}", "025", True, "the same integer"),
    ("integer", "aime24", "\\boxed{25^\\circ}", "025", True, "the same integer"),
    ("integer", "aime24", "\\boxed{m+n = 20 + 5}", "025", True, "equal"),
    ("integer", "aime24", "\\boxed{1}", "100", False, "not the integer 100"),
    ("integer", "aime24", "\\boxed{25\\%}", "025", False, ""),
    ("integer", "aime24", "\\boxed{25, 52}", "025", False, "another shape"),
    ("integer", "aime24", "\\boxed{twenty-five}", "025", False, ""),
    # Brackets.
    ("brackets", "olympiadbench", "\\boxed{[-1,-\\frac{1}{2})}", "[-1,-\\frac{1}{2}]", False, "another shape"),
    ("brackets", "olympiadbench", "\\boxed{[-1,-0.5]}", "[-1,-\\frac{1}{2}]", True, "equal"),
    ("brackets", "college_math", "\\boxed{(-1,0)\\cup(2,\\infty)}", "(-1,0] \\cup(2, \\infty)", False, ""),
    ("brackets", "college_math", "\\boxed{(2,\\infty)\\cup(-1,0]}", "(-1,0] \\cup(2, \\infty)", True, ""),
    ("brackets", "college_math", "\\boxed{x < -7}", "$(-\\infty,-7)$", True, "another shape"),
    ("brackets", "college_math", "\\boxed{x \\le -7}", "$(-\\infty,-7)$", False, "another shape"),
    ("brackets", "college_math",
     "\\boxed{x<2 \\text{ or } x>3}", "(-\\infty,2)\\cup(3,\\infty)", True, "another shape"),
    ("brackets", "math500", "\\boxed{\\{1,2\\}}", "(1,2)", False, "another shape"),
    # Equations that math-verify would solve for longer than its limit.
    ("equation", "college_math", "\\boxed{I=-10 e^{-30 t}(\\cos 40 t+18 \\sin 40 t)}", "Q(t)=40(1-e^{-3 t / 40})",
     False, "not equal"),
    ("equation", "college_math", "\\boxed{y=e^{-8 t}(\\frac{1}{4} \\cos 8 \\sqrt{2} t-\\sqrt{2} \\sin 8 t)}",
     "y=c e^{2 t}\\begin{pmatrix}\\sin 4 t-8 \\cos 4 t \\\\ 5 \\cos 4 t\\end{pmatrix}", False, "not equal"),
    ("equation", "college_math", "\\boxed{Q(t)=40-40e^{-3 t / 40}}", "Q(t)=40(1-e^{-3 t / 40})", True, ""),
    # A number says its base or leaves it to the question.
    ("base", "math500", "\\boxed{4210_{5}}", "4210_5", True, ""),
    ("base", "math500", "\\boxed{4210_{\\text{five}}}", "4210_{5}", True, ""),
    ("base", "math500", "\\boxed{4210}", "4210_{5}", True, ""),
    ("base", "math500", "\\boxed{4210_5}", "4210_{7}", False, "not equal"),
    ("base", "math500", "\\boxed{555}", "4210_{5}", False, "not equal"),
    ("base", "math500", "\\boxed{2AB_{12}}", "2AB_{12}", True, ""),
    # OlympiadBench: several answers are a set; each of them may be a tuple, which has an order.
    ("set", "olympiadbench", "\\boxed{84, 69}", "$69$,$84$", True, "equal"),
    ("set", "olympiadbench", "\\boxed{69}", "$69$,$84$", False, ""),
    ("set", "olympiadbench", "\\boxed{69, 84, 0}", "$69$,$84$", False, ""),
    ("set", "olympiadbench", "\\boxed{-2}", "-2,-2", True, ""),
    ("set", "olympiadbench", "\\boxed{3, 3, 1, 1}", "1,3", True, ""),
    ("set", "olympiadbench", "\\boxed{(3,2),(1,1)}", "$(1,1), (3,2)$", True, ""),
    ("set", "olympiadbench", "\\boxed{(2,3),(1,1)}", "$(1,1), (3,2)$", False, ""),
    ("set", "olympiadbench", "\\boxed{1 \\pm \\sqrt{2}}", "1-\\sqrt{2},1+\\sqrt{2}", True, ""),
    ("set", "olympiadbench", "\\boxed{f(x)=2-x \\text{ and } f(x)=x}", "$f(x)=x$,$f(x)=2-x$", True, ""),
    ("set", "olympiadbench", "\\boxed{｛１，２｝}", "1,2", True, ""),
    # Minerva (OCW): four digits, powers of ten, no unit removed from an expression.
    ("minerva", "minerva_ocw", "\\boxed{4.5 \\times 10^{33} \\text{ erg/s}}", "4.5e33", True, "equal numbers"),
    ("minerva", "minerva_ocw", "\\boxed{4.5e33 erg/s}", "4.5e33", True, "equal numbers"),
    ("minerva", "minerva_ocw", "\\boxed{4.5002e33}", "4.5e33", True, "equal numbers"),
    ("minerva", "minerva_ocw", "\\boxed{4.51e33}", "4.5e33", False, "is not the number"),
    ("minerva", "minerva_ocw", "\\boxed{\\arcsin(10/13)}", "np.arcsin(10/13)", True, "math-verify"),
    ("minerva", "minerva_ocw", "\\boxed{\\frac{37}{4}}", "\\frac{37}{4} m", False, ""),
    ("minerva", "minerva_ocw", "\\boxed{0.3333}", "-1./3", False, ""),
    # CollegeMath: golds that say two things, or say it in words.
    ("college", "college_math", "\\boxed{[-9, 0]}", "$-9 \\leqslant x \\leqslant 0:[-9,0]$", True, ""),
    ("college", "college_math", "\\boxed{-9 \\le x \\le 0}", "$-9 \\leqslant x \\leqslant 0:[-9,0]$", True, ""),
    ("college", "college_math", "\\boxed{(-9, 0]}", "$-9 \\leqslant x \\leqslant 0:[-9,0]$", False, ""),
    ("college", "college_math", "\\boxed{(-\\infty, \\infty)}", "all real numbers", True, ""),
    ("college", "college_math", "\\boxed{\\varnothing}", "No solution : $\\oslash$", True, ""),
    ("college", "college_math", "\\boxed{x=1, y=2, z=-5}", "Solution is: $[x=1, y=2, z=-5]$.", True, ""),
    ("college", "college_math", "\\boxed{(1, 0)}", "Solution is: $(x, y)=(1,0)$", True, ""),
    ("college", "college_math", "\\boxed{(x,y)=(0,1)}", "$(1,0)$", False, ""),
    ("college", "college_math", "\\boxed{\\text{6.608 \\mathrm{mi}}}", "$6.608 \\mathrm{mi}$", True, ""),
    ("college", "college_math", "\\boxed{x=2, y=1, z=-5}", "Solution is: $[x=1, y=2, z=-5]$.", False, ""),
    ("college", "college_math", "\\boxed{y=c_{2} e^{3x}}", "y=c_{1} e^{2x}", False, "math-verify"),
    (
        "college", "college_math", "\\boxed{\\begin{bmatrix} 3 & 7 \\\\ 5 & 12 \\end{bmatrix}}",
        "$B^{-1}=\\left[\\begin{array}{rr}3 & 7 \\\\ 5 & 12\\end{array}\\right]$", True, "math-verify",
    ),
    ("college", "college_math", "\\boxed{\\frac{40}{9}}", "$4 \\frac{4}{9}$ days", True, ""),
    ("college", "college_math", "\\boxed{3m^4-2m+6}", "3 m^{4}-2 m+6", True, ""),
    ("college", "college_math", "\\boxed{3^4-2+6}", "3 m^{4}-2 m+6", False, ""),
    ("college", "college_math", "\\boxed{1.09}", "1.09 \\times 10^{0}", True, "equal numbers"),
    ("college", "college_math", "\\boxed{x^2+1}", "(x-i)(x+i)", True, ""),
    ("college", "college_math", "\\boxed{342 \\text{ child}, 236 adult}", "236 adult, 342 child", True, ""),
    ("college", "college_math", "\\boxed{342 adult, 236 child}", "236 adult, 342 child", False, ""),
    # Units stand behind a number, and only there.
    ("unit", "gsm8k", "\\boxed{18 dollars per day}", "18", True, "equal numbers"),
    ("unit", "gsm8k", "\\boxed{18元}", "18", True, "equal numbers"),
    ("unit", "math500", "\\boxed{166 \\text{ cm}^2}", "166", True, "equal numbers"),
    ("unit", "math500", "\\boxed{2 xy}", "2", False, ""),
    ("unit", "math500", "\\boxed{2m}", "2", False, ""),
    # What is no LaTeX as a whole is not the last number in it.
    ("whole", "math500", "\\boxed{x > & 3}", "3", False, ""),
    ("whole", "math500", "\\boxed{2**3}", "8", True, ""),
]  # fmt: skip


@cache
def grader(benchmark: str) -> Strict:
    """One for all tests: its workers take seconds to start."""
    return Strict(benchmark)


@pytest.mark.parametrize(("rule", "benchmark", "response", "gold", "correct", "why"), RULES)
def test_rules_by_hand(rule: str, benchmark: str, response: str, gold: str, correct: bool, why: str) -> None:
    [verdict] = grader(benchmark).grade([(response, gold)])
    assert (verdict.correct, why in verdict.why) == (correct, True), verdict


def test_no_worker_meets_its_walls_on_the_way() -> None:
    pairs = [
        ("\\boxed{a^2-b^2}", "(a-b)(a+b)"),
        ("\\boxed{\\int_0^1 x dx}", "\\frac{1}{2}"),
        ("\\boxed{x^2=y}", "y=x^2"),
    ]
    assert [v.why for v in grader("math500").grade(pairs)] == ["equal, by math-verify"] * len(pairs)


def test_nothing_marked_has_no_vote() -> None:
    [verdict] = grader("math500").grade([("It is $5$.", "5")])
    assert (verdict.correct, verdict.extracted, verdict.vote, verdict.why) == (False, None, None, NOT_MARKED)


HOSTILE = ["answer is ", "answer: $$", "answer: \\[", "answer" + " " * 500, "####", "final answer\n", "$ x"]


@pytest.mark.parametrize("piece", HOSTILE)
def test_a_megabyte_of_markers_is_read_in_a_moment(piece: str) -> None:
    started = time.process_time()
    marked(piece * (10**6 // len(piece)))
    assert time.process_time() - started < 2


ANSWERS = [
    "5 \\text{a} ",
    "\\mathrm{arc} ",
    "{",
    "(1,",
    "1,2,",
    "1 ",
    "\\pm x ",
    "ab ",
    "(\\begin{pmatrix}",
    "x=1 or ",
    "5 m/s ",
    "<",
]


@pytest.mark.parametrize("piece", ANSWERS)
@pytest.mark.parametrize("end", ["", "$", "x"])
def test_what_no_worker_limits_is_quick_on_the_longest_answer(piece: str, end: str) -> None:
    answer = piece * (LONGEST_ANSWER // len(piece) - 1) + end
    started = time.process_time()
    Strict("olympiadbench")._quick((clean(answer + "y"), "1,2,3"), answer)
    assert time.process_time() - started < 1


def test_a_gold_is_read_as_each_of_the_two_things_that_it_says() -> None:
    assert readings("$x<-7:(-\\infty,-7)$") == ("x<-7:(-\\infty,-7)", "x<-7", "(-\\infty,-7)")
    assert readings("Solution is: $[x=1, y=5]$") == ("Solution is: [x=1, y=5]", "x=1, y=5")
    assert readings("Solution is: $[1, 5]$")[1] == "[1, 5]"
    assert readings("$11: 4$") == ("11: 4",)


@pytest.mark.parametrize(
    "text", ["x", "2xy", "\\text{if } x", "(1,2)", "1 and 2", "3 \\text{ or } 4", "5 ab"]
)
def test_cleaning_takes_no_letter_from_an_expression(text: str) -> None:
    assert clean(text) == text
