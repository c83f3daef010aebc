"""Comparing one answer with the gold: shapes first, then element by element with math-verify. Runs under limits.

math-verify decides what two expressions have in common; not left to it are brackets (an open interval and a set of
two are the same to it), the order of lists, units inside expressions, and its absolute rounding at six decimals (to
which every two numbers below 1e-7 are equal).
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from tasks.expressions import looks_like_code
from tasks.strict.numbers import close, equal, name, read_number
from tasks.strict.shapes import Shape

SHOWN = 200
LONGEST_VALUE = 60
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_TEXT = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_LETTERS = re.compile(r"[A-Za-z\\]")
_ARITHMETIC = re.compile(r"\\(?:frac|cdot|times|div)(?![A-Za-z])|^[A-Za-z]\s*=")


def compare(gold: Shape, answer: Shape, tolerance: float) -> bool:
    """Whether an answer has the shape of the gold and equal elements: in any order in sets and unions."""
    if gold.kind == answer.kind and gold.kind in ("set", "union"):
        return _same_set(gold, answer, tolerance)
    if gold.kind == answer.kind and gold.kind != "one":
        return len(gold.parts) == len(answer.parts) and all(
            compare(_shape(one), _shape(other), tolerance)
            for one, other in zip(gold.parts, answer.parts, strict=True)
        )
    if "one" not in (gold.kind, answer.kind) or "set" in (gold.kind, answer.kind):
        return False
    # An inequality and an interval may say the same: only an expression can tell.
    return same_expression(text(gold), text(answer), tolerance)


def _shape(part: Shape | str) -> Shape:
    return part if isinstance(part, Shape) else Shape("one", (part,))


def _same_set(gold: Shape, answer: Shape, tolerance: float) -> bool:
    """Each element of the gold once, none missing, none beside them; an answer may repeat one."""
    left = [_shape(part) for part in answer.parts]
    for part in gold.parts:
        found = [other for other in left if compare(_shape(part), other, tolerance)]
        if not found and not any(compare(_shape(part), _shape(other), tolerance) for other in answer.parts):
            return False
        left = [other for other in left if other not in found]
    return not left


def same_expression(gold: str, answer: str, tolerance: float) -> bool:
    """Two elements: the same text, equal numbers, or equal by math-verify."""
    if _bare(gold) == _bare(answer):
        return True
    right, mine = read_number(gold), read_number(answer)
    if right is not None and mine is not None:
        return equal(right, mine, tolerance)
    right_value, mine_value = parsed(gold), parsed(answer)
    if right_value is None or mine_value is None:
        return False
    numbers = exact(right_value), exact(mine_value)
    if numbers[0] is not None and numbers[1] is not None:
        decimal = any(value.has(_float()) for value in (right_value, mine_value))
        return close(numbers[0], numbers[1], tolerance if decimal else 0.0)
    return _verified(right_value, mine_value, tolerance)


def _verified(gold: Any, answer: Any, tolerance: float) -> bool:
    from math_verify import verify

    if _is_number(gold) and _is_number(answer) and (gold.has(_float()) or answer.has(_float())):
        mine, right = complex(answer.evalf()), complex(gold.evalf())
        return abs(mine - right) <= tolerance * max(abs(mine), abs(right))
    return bool(verify(gold, answer, timeout_seconds=None))


def _bare(answer: str) -> str:
    """An element as text alone: no spaces, no text commands, no brackets around a single word or letter."""
    plain = "".join(_TEXT.sub(r"\1", answer).split()).lower()
    inner = plain[1:-1]
    return inner if inner.isalnum() and plain[0] + plain[-1] in ("()", "[]", "{}") else plain


def _float() -> Any:
    from sympy import Float

    return Float


def _is_number(value: Any) -> bool:
    return bool(getattr(value, "is_number", False)) and not getattr(value, "is_Matrix", False)


def is_prose(answer: str) -> bool:
    """Whether an element is a sentence: three words or more that are no commands."""
    return len(_WORDS.findall(answer)) >= 3


def is_numeric(answer: str) -> bool:
    """Whether an element is short and holds nothing but digits, signs and arithmetic: its value may be its name."""
    return len(answer) <= LONGEST_VALUE and _LETTERS.search(_ARITHMETIC.sub("", answer)) is None


@lru_cache(maxsize=512)
def parsed(answer: str) -> Any:
    """An element as math-verify reads it, None when it cannot. A unit inside an expression is a variable."""
    from latex2sympy2_extended import NormalizationConfig
    from math_verify import ExprExtractionConfig, LatexExtractionConfig, parse

    rules = NormalizationConfig(
        basic_latex=True, units=False, malformed_operators=True, nits=True, boxed="none"
    )
    config = [LatexExtractionConfig(normalization_config=rules)]
    if not looks_like_code(answer):  # its reader of plain expressions evaluates them
        config.append(ExprExtractionConfig())
    if is_prose(answer):  # the parser would take seconds to make a product of letters of it
        return None
    line = answer.replace("\n", " ").replace("$", "")
    found = parse(
        f"${line}$", config, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=False
    )
    return found[0] if found else None


def exact(value: Any, *, last: bool = False) -> Fraction | None:
    """The value of a rational number or decimal as math-verify read it, None for anything else.

    Of `x = 5` it is 5, and of any equation (`m+n = 5`) with `last`.
    """
    import sympy

    if isinstance(value, sympy.Eq) and (last or value.lhs.is_Symbol):
        value = value.rhs
    if value is None or not _is_number(value):
        return None
    value = value.doit()
    if isinstance(value, sympy.Rational):
        return Fraction(int(value.p), int(value.q))
    return Fraction(str(value)) if isinstance(value, sympy.Float) and value.is_finite else None


def text(answer: Shape) -> str:
    """A shape as text again."""
    parts = [part if isinstance(part, str) else text(part) for part in answer.parts]
    if answer.kind == "one":
        return parts[0]
    if answer.kind == "union":
        return "\\cup".join(parts)
    around = ("\\{", "\\}") if answer.kind == "set" else (answer.kind[0], answer.kind[1])
    return around[0] + ",".join(parts) + around[1]


def vote(answer: Shape) -> str:
    r"""The cluster that an answer votes with: 0.50, 1/2 and x = \frac{2}{4} share one; so do lists in any order.

    Numbers go by their value, what is no number by its text: whether two texts are one is the grader's to say.
    """
    parts = [_element(part) if isinstance(part, str) else vote(part) for part in answer.parts]
    if answer.kind == "one":
        return parts[0][:SHOWN]
    if answer.kind in ("set", "union"):
        return f"{answer.kind}{{{', '.join(sorted(set(parts)))}}}"[:SHOWN]
    return f"{answer.kind[0]}{', '.join(parts)}{answer.kind[1]}"[:SHOWN]


def _element(element: str) -> str:
    number = read_number(element)
    if number is not None:
        return name(number)
    value = exact(parsed(element)) if is_numeric(element) else None
    return _bare(element) if value is None else str(value)


def votes_by_text(answer: Shape) -> bool:
    """Whether `vote` needs no parser."""
    return all(
        votes_by_text(part)
        if isinstance(part, Shape)
        else read_number(part) is not None or not is_numeric(part)
        for part in answer.parts
    )
