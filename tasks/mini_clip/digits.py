"""Real handwritten digits: the 1,797 images of 8 x 8 pixels that scikit-learn calls `load_digits`.

Source: E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository,
doi 10.24432/C50P49 (its test set), licence CC BY 4.0. `digits.txt` has a line for each: the class, and 64 grey
values from 0 to g (16), row by row, as scikit-learn gives them.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

FILE = Path(__file__).with_name("digits.txt")
SIDE, MOST = 8, 16
_VALUES = "0123456789abcdefg"


@cache
def digits() -> tuple[tuple[int, str], ...]:
    """Class and grey values (64 characters) of every digit, in the dataset's order."""
    lines = FILE.read_text(encoding="ascii").splitlines()
    return tuple((int(line[0]), line[2:]) for line in lines)


def grey(values: str) -> list[list[int]]:
    """[8][8] grey values, 0 to 16, of one digit."""
    rows = [values[start : start + SIDE] for start in range(0, SIDE * SIDE, SIDE)]
    return [[_VALUES.index(value) for value in row] for row in rows]
