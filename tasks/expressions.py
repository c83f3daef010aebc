"""Reading a plain expression such as `2*x**2 + sqrt(3)` with SymPy, without letting a text run code.

SymPy's expression parser evaluates Python. Here it sees mathematics only: names of SymPy that compute, no builtins;
texts that reach for attributes, strings or dunder names are refused before they are evaluated.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

# A dot before a name is attribute access unless it ends a number in scientific notation (3.e5).
_CODE = re.compile(
    r"__|['\"`@;:]|\b(?:lambda|import|for|while|exec|eval|yield|await)\b|\.\s*(?!\d|[eE][+-]?\d)\w"
)
_MODULES = ("sympy.core", "sympy.functions", "sympy.sets", "sympy.matrices", "sympy.logic")
_REFUSED = {"sympify", "S", "Function", "WildFunction", "Lambda", "Subs", "parse_expr", "PoleError", "use"}
_CONSTRUCTORS = ("Symbol", "Integer", "Float", "Rational", "Function", "factorial", "factorial2")


class NotMathematics(ValueError):
    """The text is not an expression that may be evaluated."""


def looks_like_code(text: str) -> bool:
    """Whether `text` reaches for what only code needs."""
    return _CODE.search(text) is not None


def parse_plain(text: str) -> Any:
    """`text` as SymPy reads it. Raises NotMathematics for code, and whatever SymPy raises for the rest."""
    from sympy.parsing.sympy_parser import parse_expr

    if looks_like_code(text):
        raise NotMathematics(f"not evaluated, because it looks like code: {text[:80]!r}")
    return parse_expr(text, global_dict=dict(_names()))


@lru_cache(maxsize=1)
def _names() -> dict[str, Any]:
    """What a text may name: SymPy's functions, constants, sets and matrices."""
    import sympy

    names = {
        name: value
        for name, value in vars(sympy).items()
        if not name.startswith("_")
        and name not in _REFUSED
        and (isinstance(value, sympy.Basic) or str(getattr(value, "__module__", "")).startswith(_MODULES))
    }
    names |= {name: getattr(sympy, name) for name in _CONSTRUCTORS}
    names |= {"max": sympy.Max, "min": sympy.Min, "abs": sympy.Abs, "__builtins__": {}}
    return names
