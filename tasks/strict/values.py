"""Whether two parsed expressions are equal: exactly where they are rational, at two points, then by math-verify.

Expressions that differ at two points are not equal; `simplify` and `solve` would need seconds to find that out.
"""

from __future__ import annotations

from typing import Any

from tasks.points import differ
from tasks.strict.numbers import close
from tasks.strict.parsing import exact, has_float, is_number


def same_value(gold: Any, answer: Any, tolerance: float) -> bool:
    """Two parsed elements: rational numbers and decimals by their value, anything else by math-verify."""
    from sympy import Eq

    right, mine = exact(gold), exact(answer)
    names = {value.lhs for value in (gold, answer) if isinstance(value, Eq)}  # x=1 is not y=1
    if right is not None and mine is not None and len(names) < 2:
        return close(right, mine, tolerance if has_float(gold) or has_float(answer) else 0.0)
    return _verified(gold, answer, tolerance)


def _verified(gold: Any, answer: Any, tolerance: float) -> bool:
    from math_verify import verify

    if is_number(gold) and is_number(answer) and (has_float(gold) or has_float(answer)):
        mine, right = complex(answer.evalf()), complex(gold.evalf())
        return abs(mine - right) <= tolerance * max(abs(mine), abs(right))
    if _certainly_different(gold, answer):
        return False
    # An inequality answers an interval as an interval answers an inequality.
    return bool(verify(gold, answer, timeout_seconds=None, allow_set_relation_comp=True))


def _certainly_different(gold: Any, answer: Any) -> bool:
    """Whether two expressions or equations differ at two points: `simplify` and `solve` take seconds to say so."""
    from sympy import Eq

    try:
        gold, answer = _unchained(gold), _unchained(answer)
        if isinstance(gold, Eq) and isinstance(answer, Eq):
            return _equations_differ(gold, answer)
        if isinstance(answer, Eq):
            answer = answer.rhs  # math-verify compares the right side with a gold that is no equation
        elif isinstance(gold, Eq) and gold.lhs.is_Symbol:
            gold = gold.rhs
        # Single symbols are names to math-verify, which may stand for a product.
        if gold.is_Symbol or answer.is_Symbol:
            return False
        gold, answer = _functions_as_symbols(gold), _functions_as_symbols(answer)
        return differ(answer, gold) or (_is_opaque(gold, answer) and gold.free_symbols != answer.free_symbols)
    except MemoryError:
        raise
    except Exception:  # whatever SymPy raises on what has no value: math-verify decides
        return False


def _unchained(value: Any) -> Any:
    """`y = a = b` as math-verify compares it, `y = b`; anything else as it is."""
    from math_verify import grader
    from sympy import Eq

    if isinstance(value, Eq) or not grader.is_assignment_relation(value):
        return value
    return Eq(grader.take_first_relation(value).lhs, grader.take_last_relation(value).rhs, evaluate=False)


def _equations_differ(gold: Any, answer: Any) -> bool:
    """Whether two equations certainly have other solutions: of one that has vectors and one that has none, too."""
    if _has_matrix(gold) != _has_matrix(answer):
        return True
    if _solved_differ(gold, answer):
        return True
    # f(x)=x^2 may stand for y=x^2, so that of functions the right sides must differ as well.
    plain, other = _functions_as_symbols(gold), _functions_as_symbols(answer)
    if plain == gold and other == answer:
        return (
            _is_opaque(gold.lhs - gold.rhs, answer.lhs - answer.rhs)
            and gold.free_symbols != answer.free_symbols
        )
    return differ(plain.rhs, other.rhs) and _solved_differ(plain, other)


def _solved_differ(one: Any, other: Any) -> bool:
    """Whether points of one equation, solved for what stands alone on its left, are none of the other's."""
    return _elsewhere(one, other) or _elsewhere(other, one)


def _elsewhere(one: Any, other: Any) -> bool:
    """Whether points that one equation, solved for a symbol, says are none of the other equation's."""
    from sympy import Integer

    if not one.lhs.is_Symbol or one.lhs in one.rhs.free_symbols:
        return False
    return differ((other.lhs - other.rhs).xreplace({one.lhs: one.rhs}), Integer(0))


def _functions_as_symbols(value: Any) -> Any:
    """An expression in which unknown functions, such as u(t), are symbols and have values."""
    from sympy import Symbol
    from sympy.core.function import AppliedUndef

    return value.xreplace({call: Symbol(str(call)) for call in value.atoms(AppliedUndef)})


def _has_matrix(value: Any) -> bool:
    from sympy import MatrixBase
    from sympy.matrices.expressions import MatrixExpr

    return bool(value.has(MatrixBase, MatrixExpr))


def _is_opaque(*values: Any) -> bool:
    """Whether sums, integrals and the like stand in it, which have no value until they are worked out."""
    from sympy import Derivative, Expr, Integral, Limit, Product, Sum

    return all(isinstance(value, Expr) for value in values) and any(
        value.has(Derivative, Integral, Limit, Product, Sum) for value in values
    )
