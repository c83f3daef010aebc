"""Values of SymPy expressions at points: what surely differs need not be simplified to be told apart.

For graders, under their limits: a text decides how large an expression is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

POINTS, STEP = (0.7313, 1.4142), 0.2137  # positive, of no particular value, another one for each symbol
DIGITS = 50  # so that what cancels leaves enough
DIFFERENT = 1e-6


def differ(mine: Any, right: Any) -> bool:
    """Whether two expressions are certainly different: their values differ at two points.

    Spares `equals` and `simplify`, which take a hundred times longer to find that out. Nothing that they call equal
    differs at a point where both have a value, nor under any one meaning of a function that only has a name.
    """
    from sympy import Derivative, Expr, Float, Integral, Limit, Product, Sum

    for side in (mine, right):
        if not isinstance(side, Expr) or side.has(Integral, Sum, Product, Limit, Derivative):
            return False
    symbols = sorted(mine.free_symbols | right.free_symbols, key=str)
    for start in POINTS:
        point = {symbol: Float(start + STEP * place, DIGITS) for place, symbol in enumerate(symbols)}
        one, other = (complex(_value(side, point)) for side in (mine, right))
        if not abs(one - other) > DIFFERENT * max(1.0, abs(one), abs(other)):  # also what is not a number
            return False
    return True


def _value(node: Any, point: Mapping[Any, Any]) -> Any:
    """An expression with numbers for its symbols, from the leaves up: evalf goes through a product of thirty letters,
    which is how prose is read, for seconds."""
    if node in point:
        return point[node]
    if not node.args:
        return node.evalf(DIGITS) if node.is_number else node
    parts = [_value(part, point) for part in node.args]
    return _named(node.func.__name__, parts) if _has_only_a_name(node) else node.func(*parts)


def _has_only_a_name(node: Any) -> bool:
    from sympy.core.function import AppliedUndef

    return isinstance(node, AppliedUndef)


def _named(name: str, arguments: Sequence[Any]) -> Any:
    """A meaning for `f(x)`, of which nothing is known: another wave for each name and place of an argument."""
    from sympy import Float, sin

    phase = Float(crc32(name.encode()) % 1009, DIGITS) / 1009
    waves = (sin(argument + phase + STEP * place) for place, argument in enumerate(arguments, start=1))
    return sum(waves, phase).evalf(DIGITS)
