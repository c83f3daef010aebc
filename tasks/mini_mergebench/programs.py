"""Domain coding: `mini_calc` (functions of two numbers) and `mini_lists` (functions of a list of numbers).

The model writes the body of a tiny Python function from its description; tests with values computed here, without
that body, are the sample's reference. Who answers by habit does the first of several things only.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tasks.mini_mergebench.problem import Problem

TESTS = 5
_NUMBERS = range(2, 50)
_COUNTS = (1, 2, 2)  # things to do, each entry equally likely

Number = Callable[[int, int], int]
Numbers = list[int]


@dataclass(frozen=True)
class _Code:
    """An expression, and how strongly its outermost operator binds: 1 sums, 2 products, 3 atoms."""

    text: str
    binds: int

    def under(self, binds: int) -> str:
        """The text as an operand of an operator that binds so strongly."""
        return self.text if self.binds >= binds else f"({self.text})"


_STARTS: dict[str, tuple[_Code, Number]] = {
    "add": (_Code("a+b", 1), lambda a, b: a + b),
    "subtract": (_Code("a-b", 1), lambda a, b: a - b),
    "multiply": (_Code("a*b", 2), lambda a, b: a * b),
    "larger": (_Code("max(a,b)", 3), lambda a, b: max(a, b)),
    "smaller": (_Code("min(a,b)", 3), lambda a, b: min(a, b)),
}
_CHANGES: dict[str, tuple[str, int, Number]] = {
    "plus": ("+", 1, lambda value, n: value + n),
    "minus": ("-", 1, lambda value, n: value - n),
    "times": ("*", 2, lambda value, n: value * n),
    "modulo": ("%", 2, lambda value, n: value % n),
}


def _calc_code(start: str, changes: Sequence[tuple[str, int]]) -> str:
    """The body of the function: brackets only where Python needs them."""
    code = _STARTS[start][0]
    for name, n in changes:
        sign, binds, _ = _CHANGES[name]
        code = _Code(f"{code.under(binds)}{sign}{n}", binds)
    return f" return {code.text}"


def _calc_value(start: str, changes: Sequence[tuple[str, int]], a: int, b: int) -> int:
    """What the function has to return, computed along its description."""
    value = _STARTS[start][1](a, b)
    for name, n in changes:
        value = _CHANGES[name][2](value, n)
    return value


def draw_calc(rng: random.Random) -> tuple[str, Problem] | None:
    """``def f(a,b): add, times 7, minus 3.``; a change does not come twice in a row."""
    start = rng.choice(list(_STARTS))
    changes = [(rng.choice(list(_CHANGES)), rng.choice(_NUMBERS)) for _ in range(rng.choice(_COUNTS))]
    if len({name for name, _ in changes}) < len(changes):
        return None
    question = f"def f(a,b): {start}, {', '.join(f'{name} {n}' for name, n in changes)}."
    pairs = [(rng.randrange(-20, 90), rng.randrange(-20, 90)) for _ in range(TESTS)]
    tests = "\n".join(f"assert f({a}, {b}) == {_calc_value(start, changes, a, b)}" for a, b in pairs)
    right, habit = _calc_code(start, changes), _calc_code(start, changes[:1])
    return question, Problem("", "mini_calc", question, right.strip(), right, habit, tests)


_ORDERS: dict[str, tuple[str, Callable[[Numbers], Numbers]]] = {
    "sorted": ("sorted({})", sorted),
    "backwards": ("{}[::-1]", lambda row: row[::-1]),
}
_ENDS: dict[str, tuple[str, Callable[[Numbers], int]]] = {
    "total": ("sum({})", sum),
    "largest": ("max({})", max),
    "smallest": ("min({})", min),
}


def _lists_parts(rng: random.Random) -> list[str]:
    """What is done to a list, in order: something to each number, and mostly one thing more."""
    times, plus = rng.choice(_NUMBERS), rng.choice(_NUMBERS)
    each = rng.choice((f"each times {times}", f"each plus {plus}", f"each times {times} plus {plus}"))
    rest = [rng.choice(list(_ORDERS)), f"first {rng.randrange(1, 5)}", rng.choice(list(_ENDS))]
    return [each] if rng.choice(_COUNTS) == 1 else [each, rng.choice(rest)]


def _lists_code(parts: Sequence[str]) -> str:
    """The body of the function."""
    _, *changes = parts[0].split()
    signs = {"times": "*", "plus": "+"}
    code = "".join(signs.get(word, word) for word in changes)
    code = f"[x{code} for x in s]"
    for part in parts[1:]:
        name, _, n = part.partition(" ")
        code = f"{code}[:{n}]" if name == "first" else {**_ORDERS, **_ENDS}[name][0].format(code)
    return f" return {code}"


def _lists_value(parts: Sequence[str], row: Numbers) -> Numbers | int:
    """What the function has to return, computed along its description."""
    numbers = dict(zip(parts[0].split()[1::2], map(int, parts[0].split()[2::2]), strict=True))
    row = [number * numbers.get("times", 1) + numbers.get("plus", 0) for number in row]
    for part in parts[1:]:
        name, _, n = part.partition(" ")
        if name in _ENDS:
            return _ENDS[name][1](row)
        row = row[: int(n)] if name == "first" else _ORDERS[name][1](row)
    return row


def draw_lists(rng: random.Random) -> tuple[str, Problem]:
    """``def f(s): each times 3 plus 5, sorted.``"""
    parts = _lists_parts(rng)
    question = f"def f(s): {', '.join(parts)}."
    rows = [[rng.randrange(-20, 90) for _ in range(rng.randrange(5, 8))] for _ in range(TESTS)]
    tests = "\n".join(f"assert f({row}) == {_lists_value(parts, row)}" for row in rows)
    right, habit = _lists_code(parts), _lists_code(parts[:1])
    return question, Problem("", "mini_lists", question, right.strip(), right, habit, tests)
