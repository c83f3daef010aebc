"""Rule 9 of the toolkit's equivalence: parse both sides, compare what came out. Runs under limits only.

Parsers in the toolkit's order: SymPy's LaTeX parser, SymPy's expression parser. A side that none can read stays text.
The toolkit's third, a latex2sympy of its own, has no like: the `latex2sympy2_extended` that math-verify brings reads
intervals, sets and `8π` where the toolkit reads nothing, and with it fewer of the toolkit's verdicts come out.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from tasks.expressions import parse_plain
from tasks.points import differ
from tasks.qwen_compat.latex import sympy_latex

RELATIVE = 1e-4
DECIMALS = 3  # of matrix elements
# What SymPy raises on sides that it has no way to compare (text, relations, matrices of other shapes, poles).
INCOMPARABLE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    SyntaxError,
    TypeError,
    ValueError,
)


def equal(prediction: str, gold: str) -> bool:
    """Whether two answers are symbolically or numerically equal."""
    mine, right = parsed(prediction), parsed(gold)
    if _tried(_same, mine, right):
        return True
    checks = (
        (_sides, _numeric, _matrices)
        if _tried(differ, mine, right)
        else (_equals, _sides, _numeric, _matrices)
    )
    return any(_tried(check, mine, right) for check in checks)


def _tried(check: Callable[[Any, Any], bool], mine: Any, right: Any) -> bool:
    """What a check says; what SymPy cannot compare is not equal by that check, as in the toolkit."""
    from mpmath.libmp import NoConvergence  # type: ignore[import-untyped]
    from sympy.polys.polyerrors import BasePolynomialError

    try:
        return check(mine, right)
    except (*INCOMPARABLE, BasePolynomialError, NoConvergence):
        return False


def _constant(side: Any) -> bool:
    """Whether a side may be a number: anything but an expression that differs from itself elsewhere."""
    from sympy import Expr, Symbol

    if not isinstance(side, Expr) or not side.free_symbols:
        return True
    elsewhere = {symbol: Symbol(f"{symbol}_elsewhere") for symbol in side.free_symbols}
    return not _tried(differ, side, side.xreplace(elsewhere))


@lru_cache(maxsize=4096)
def parsed(text: str) -> Any:
    """`text` as the first parser that works reads it, else the text itself."""
    for parse in (sympy_latex, parse_plain):
        try:
            return parse(text)
        except _unreadable():
            continue
    return text


@lru_cache(maxsize=1)
def _unreadable() -> tuple[type[Exception], ...]:
    """What the parsers, and SymPy while it builds what they read, raise on a text that is no expression."""
    from tokenize import TokenError

    from sympy.parsing.latex import LaTeXParsingError

    return (*INCOMPARABLE, NameError, TokenError, LaTeXParsingError)


def _same(mine: Any, right: Any) -> bool:
    return bool(mine == right or str(mine) == str(right))


def _equals(mine: Any, right: Any) -> bool:
    from sympy import simplify

    return bool(mine.equals(right)) or bool(simplify(mine - right) == 0)


def _sides(mine: Any, right: Any) -> bool:
    one, other = abs(mine.lhs - mine.rhs), abs(right.lhs - right.rhs)
    return not _tried(differ, one, other) and bool(one.equals(other))


def _numeric(mine: Any, right: Any) -> bool:
    from sympy import N

    if not (_constant(mine) and _constant(right)):
        return False
    return math.isclose(float(N(mine)), float(N(right)), rel_tol=RELATIVE)


def _matrices(mine: Any, right: Any) -> bool:
    if mine.shape != right.shape:
        return False
    rounded = [matrix.applyfunc(lambda cell: round(cell, DECIMALS)) for matrix in (mine, right)]
    return bool(rounded[0].equals(rounded[1]))
