"""Rule 9 of the toolkit's equivalence: parse both sides, compare what came out. Runs under limits only.

Parsers in the toolkit's order: SymPy's LaTeX parser, SymPy's expression parser, latex2sympy (here the
`latex2sympy2_extended` that math-verify brings). A side that none can read stays text.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from tasks.expressions import parse_plain

RELATIVE = 1e-4
DECIMALS = 3  # of matrix elements


def equal(prediction: str, gold: str) -> bool:
    """Whether two answers are symbolically or numerically equal."""
    mine, right = parsed(prediction), parsed(gold)
    for check in (_same, _equals, _sides, _numeric, _matrices):
        try:
            if check(mine, right):
                return True
        except MemoryError:
            raise
        except Exception:  # what SymPy cannot compare is not equal by that check, as in the toolkit
            continue
    return False


@lru_cache(maxsize=256)
def parsed(text: str) -> Any:
    """`text` as the first parser that works reads it, else the text itself."""
    from latex2sympy2_extended import latex2sympy
    from sympy.parsing.latex import parse_latex

    for parse in (parse_latex, parse_plain, latex2sympy):
        try:
            return parse(text)
        except MemoryError:
            raise
        except Exception:  # not readable by this one: the next
            continue
    return text


def _same(mine: Any, right: Any) -> bool:
    return bool(str(mine) == str(right) or mine == right)


def _equals(mine: Any, right: Any) -> bool:
    from sympy import simplify

    return bool(mine.equals(right)) or bool(simplify(mine - right) == 0)


def _sides(mine: Any, right: Any) -> bool:
    return bool(abs(mine.lhs - mine.rhs).equals(abs(right.lhs - right.rhs)))


def _numeric(mine: Any, right: Any) -> bool:
    from sympy import N

    return math.isclose(float(N(mine)), float(N(right)), rel_tol=RELATIVE)


def _matrices(mine: Any, right: Any) -> bool:
    if mine.shape != right.shape:
        return False
    rounded = [matrix.applyfunc(lambda cell: round(cell, DECIMALS)) for matrix in (mine, right)]
    return bool(rounded[0].equals(rounded[1]))
