"""Grader `boxed_integer`: the integer in the last box, compared exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.contract import Verdict
from tasks.extraction import grade_box

_INTEGER = re.compile(r"([+-]?)([0-9]+|[0-9]{1,3}(?:,[0-9]{3})+)")


def canonical_integer(text: str) -> str | None:
    """`text` as an integer without leading zeros or thousands separators; None if it is not an integer.

    Works on the digits, because Python refuses to convert thousands of them to an int and back.
    """
    match = _INTEGER.fullmatch(text.strip().strip("$").strip())
    if match is None:
        return None
    digits = match[2].replace(",", "").lstrip("0")
    return (("-" if match[1] == "-" else "") + digits) if digits else "0"


class BoxedInteger:
    r"""Correct when the last `\boxed{...}` holds the gold integer; responses vote by that integer."""

    name = "boxed_integer"
    version = "1"

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (response text, gold) pairs. Raises ValueError for a gold that is not an integer."""
        return [self._grade(text, target) for text, target in pairs]

    def _grade(self, text: str, target: str) -> Verdict:
        gold = canonical_integer(target)
        if gold is None:
            raise ValueError(f"boxed_integer cannot grade: the gold {target[:80]!r} is not an integer")
        return grade_box(text, gold, canonical_integer, none="no integer", right="the gold integer")
