"""Reading one element as math-verify reads it: its normalisation, its LaTeX parser, its kinds of numbers.

`math_verify.parse` searches a text for a formula; here the whole text is one. What is not LaTeX as a whole is read as
plain arithmetic or not at all: math-verify would take the last number in it, which makes `x > 5 ??? 3` a 3.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tasks.expressions import NotMathematics, parse_plain
from tasks.two_stages import TwoStages

_ARITHMETIC = re.compile(r"[\d\s.+\-*/^()]+")
_NAMED = re.compile(r"\bnp\.(?=(?:arc)?(?:sin|cos|tan)|sqrt|exp|log|pi)")  # as golds of Minerva write it


def parsed(answer: str, *, real: bool = True) -> Any:
    """An element as math-verify reads it, None when it cannot. A unit inside an expression is a variable.

    `real`: whether its variables are; the two sides of a comparison must agree on it.
    """
    return _parsed(_NAMED.sub(r"\\", answer.replace("\n", " ").replace("$", "")), real)


def is_complex(answer: str) -> bool:
    """Whether math-verify takes the variables of an element for complex numbers."""
    from math_verify.grader import should_treat_as_complex

    return should_treat_as_complex(answer)


@lru_cache(maxsize=4096)
def _parsed(line: str, real: bool) -> Any:
    from latex2sympy2_extended import NormalizationConfig, normalize_latex
    from math_verify.parser import get_last_eq

    rules = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
    )
    text = normalize_latex(line, rules)
    for part in dict.fromkeys((text, get_last_eq(text))):
        try:
            value = _reader()(is_real=real).parse(part)
            return value if real else _with_imaginary_unit(value)
        except MemoryError:
            raise
        except Exception:  # the parser's own listener raises Exception itself
            continue
    return _arithmetic(line)


def _with_imaginary_unit(value: Any) -> Any:
    """A parsed element in which `i` is no variable, unless sums count with it: math-verify leaves it one."""
    from sympy import I, Product, Sum, Symbol

    if value.has(Sum, Product):
        return value
    return value.xreplace({Symbol("i", real=False): I, Symbol("i"): I})


def _arithmetic(line: str) -> Any:
    if not _ARITHMETIC.fullmatch(line):
        return None
    try:
        return parse_plain(line.replace("^", "**"))
    except (NotMathematics, SyntaxError, TypeError, ValueError, ArithmeticError):
        return None


@lru_cache(maxsize=1)
def _reader() -> Any:
    """math-verify's LaTeX parser, in two stages: the same trees, several times as fast."""
    from latex2sympy2_extended.latex2sympy2 import _Latex2Sympy

    class Reader(_Latex2Sympy):
        def create_parser(self, latex_str: str) -> TwoStages:
            made = super().create_parser
            return TwoStages(lambda: made(latex_str))

    return Reader


def exact(value: Any, *, last: bool = False) -> Fraction | None:
    """The value of a rational number or decimal as math-verify read it, None for anything else.

    Of `x = 5` it is 5, and of any equation (`m+n = 5`) with `last`.
    """
    import sympy

    if isinstance(value, sympy.Eq) and (last or value.lhs.is_Symbol):
        value = value.rhs
    if value is None or not is_number(value):
        return None
    value = value.doit()
    if isinstance(value, sympy.Rational):
        return Fraction(int(value.p), int(value.q))
    return Fraction(str(value)) if isinstance(value, sympy.Float) and value.is_finite else None


def is_number(value: Any) -> bool:
    """Whether a parsed element is a number, in whatever form: no symbols, no matrix."""
    return bool(getattr(value, "is_number", False)) and not getattr(value, "is_Matrix", False)


def has_float(value: Any) -> bool:
    """Whether a parsed element holds a decimal."""
    from sympy import Float

    return bool(value.has(Float))
