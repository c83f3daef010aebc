r"""Signs beside LaTeX: wide letters and mathematical characters of Unicode, and sets that have names in words."""

from __future__ import annotations

import re

_WIDE = {
    chr(wide): chr(wide - 0xFEE0) for wide in range(0xFF01, 0xFF5F)
}  # U+FF01 to U+FF5E are ASCII, full width
_SIGNS = {
    "−": "-", "–": "-", "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "±": r"\pm ", "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}",
    "、": ",", "。": ".", "\u3000": " ",
}  # fmt: skip
_TABLE = str.maketrans(_WIDE | _SIGNS)

_R = r"\\(?:mathbb|mathbf)\s*\{?\s*R\s*\}?"
_REALS = re.compile(
    rf"(?:the set of )?all real numbers|(?:[A-Z]\s*\\in\s*)?(?:{_R}|\(\s*-\s*\\infty\s*,\s*\+?\\infty\s*\))"
    rf"|\\\{{\s*all real numbers[. ]*\\\}}:\s*{_R}|-\s*\\infty\s*<\s*[A-Z]\s*<\s*\\infty",
    re.IGNORECASE,
)
_NOTHING = re.compile(
    r"(?:there (?:is|are) )?no solutions?(?:\s*:\s*\\oslash)?|\\(?:emptyset|varnothing|oslash)|\\\{\s*\\\}",
    re.IGNORECASE,
)


def plain(text: str) -> str:
    """`text` with ASCII for wide letters and LaTeX for mathematical characters."""
    return text.translate(_TABLE)


def named(text: str) -> str | None:
    """The one name of the real line and of the empty set, None for anything else."""
    if _REALS.fullmatch(text):
        return r"\mathbb{R}"
    return r"\emptyset" if _NOTHING.fullmatch(text) else None
