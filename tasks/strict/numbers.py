r"""Numbers as people write them, read exactly: `1,234`, `025`, `-3/4`, `\frac{1}{2}`, `4.5 \times 10^{33}`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

LONGEST = 400  # digits or powers of ten; what is longer is left to the limited worker

_INTEGER = r"(?:\d{1,3}(?:(?:,|\{,\}|\\,|\\ |\s)\d{3})+|\d+)"
_DECIMAL = rf"(?:{_INTEGER}(?:\.\d*)?|\.\d+)"
_POWER = (
    r"(?:[eE](?P<e>[+-]?\d+)"
    r"|\s*(?:\\times|\\cdot|×|\*)\s*10\s*(?:\^|\*\*)\s*(?:\{\s*(?P<p>[+-]?\d+)\s*\}|(?P<q>-?\d+)))"
)
_NUMBER = re.compile(rf"(?P<sign>[+-]?)\s*(?P<number>{_DECIMAL}){_POWER}?(?P<percent>\s*\\?%)?")
_FRACTION = re.compile(
    r"(?P<sign>[+-]?)\s*(?:(?P<whole>\d+)\s*(?=\\)|(?P<space>\d+)\s+(?=\d))?"
    r"(?:\\frac\s*\{\s*(?P<a>-?\d+)\s*\}\s*\{\s*(?P<b>-?\d+)\s*\}|\\frac\s*(?P<c>\d)\s*(?P<d>\d)"
    r"|(?P<n>\d+)\s*/\s*(?P<m>\d+))(?P<percent>\s*\\?%)?"
)
_NOT_DIGITS = re.compile(r"[^\d.]")


@dataclass(frozen=True)
class Number:
    """An exact value; `decimal`: written with a point or a power, so perhaps rounded; `percent`: with `%`."""

    value: Fraction
    decimal: bool = False
    percent: bool = False


def read_number(text: str) -> Number | None:
    """`text` as one number; None when it is something else or absurdly long."""
    text = text.strip()
    if len(text) > LONGEST:
        return None
    if match := _NUMBER.fullmatch(text):
        digits, power = _NOT_DIGITS.sub("", match["number"]), int(match["e"] or match["p"] or match["q"] or 0)
        if abs(power) > LONGEST:
            return None
        value = Fraction(digits) * Fraction(10) ** power
        decimal = "." in digits or power != 0
        return Number(-value if match["sign"] == "-" else value, decimal, match["percent"] is not None)
    match = _FRACTION.fullmatch(text)
    if match is None:
        return None
    above, below = (int(match[a] or match[b] or match[c]) for a, b, c in ("acn", "bdm"))
    if below == 0:
        return None
    value = int(match["whole"] or match["space"] or 0) + Fraction(above, below)  # 2 1/3 is a mixed number
    return Number(-value if match["sign"] == "-" else value, False, match["percent"] is not None)


def equal(gold: Number, answer: Number, tolerance: float) -> bool:
    """Whether two numbers are equal: exactly, or within `tolerance` of the larger one when one is a decimal.

    A percent sign on one side only may mean the value or be the unit that the question asked for: both count.
    """
    values = {answer.value}
    if gold.percent != answer.percent:
        values |= {answer.value / 100} if answer.percent else {answer.value * 100}
    return any(
        close(gold.value, value, tolerance if gold.decimal or answer.decimal else 0.0) for value in values
    )


def close(gold: Fraction, value: Fraction, tolerance: float) -> bool:
    """Within a relative tolerance of the larger; zero only equals zero."""
    return abs(gold - value) <= Fraction(tolerance) * max(abs(gold), abs(value))


def name(number: Number) -> str:
    """The cluster of a number: its exact value."""
    return str(number.value / 100 if number.percent else number.value)
