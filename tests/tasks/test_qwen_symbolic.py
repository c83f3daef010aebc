"""The shortcut of rule 9: expressions that differ at two points are not simplified. It may never part equals."""

from __future__ import annotations

import pytest
import sympy
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tasks.points import differ
from tasks.qwen_compat.symbolic import equal, parsed

X, Y = sympy.symbols("x y")
COEFFICIENT = st.integers(-9, 9)


@given(roots=st.lists(st.tuples(COEFFICIENT, COEFFICIENT, COEFFICIENT), min_size=1, max_size=8))
@settings(max_examples=40, deadline=None)
def test_a_product_and_its_expansion_do_not_differ(roots: list[tuple[int, int, int]]) -> None:
    product = sympy.prod([a * X + b * Y + c for a, b, c in roots])
    assert not differ(product, sympy.expand(product))
    assume(not product.is_number)
    assert differ(2 * product + 1, sympy.expand(product))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (r"(x+1)^{30}-(x^2+2x+1)^{15}", "0"),
        (r"\sin^2(x)+\cos^2(x)", "1"),
        (r"\frac{x^2-1}{x-1}", "x+1"),
        (r"\sqrt{8}", r"2\sqrt{2}"),
    ],
)
def test_equals_that_cancel_or_are_written_otherwise_do_not_differ(one: str, other: str) -> None:
    assert not differ(parsed(one), parsed(other))
    assert equal(one, other)


def test_prose_is_a_product_of_letters_and_differs_from_a_formula() -> None:
    """The toolkit reads it so too: letters in another order would be equal."""
    assert differ(parsed("thealternatingharmonicseries"), parsed("2x+1"))
    assert not equal("concaveupeverywhere", r"2x^{5/2}/5+C")
    assert equal("converges", "congresve")


def test_what_the_toolkit_cannot_read_stays_text() -> None:
    """Asked, the toolkit finds these different: no parser of its own reads intervals, unions or Unicode."""
    assert parsed(r"[1,\infty)") == r"[1,\infty)"
    assert not equal(r"(0,125)\,\cup(125,\,\infty)", r"(0,125)\cup(125,\infty)")
    assert not equal("8π", r"8\pi")


def test_a_function_that_only_has_a_name_differs_from_what_is_none() -> None:
    """Nothing is known of f: what is equal for every f must not differ, what is unequal for one f may."""
    assert not differ(parsed("2f(x+1)-f(1+x)"), parsed("f(x+1)"))
    assert differ(parsed("f(x)"), parsed("g(x)")) and differ(parsed("f(x)"), parsed("f(2x)"))
    assert differ(parsed("f(x)-x^2"), parsed("x^2-11"))


def test_a_side_with_a_variable_may_still_be_a_number() -> None:
    assert equal("x-x+3.14159", r"\frac{31416}{10000}")
    assert not equal("x-y+3.14159", r"\frac{31416}{10000}")
