r"""Rewriting an answer to one form, in the order of the Qwen2.5-Math toolkit.

The order is part of the definition, and so is the damage: single letters go as units, "and" goes inside words,
`x=` goes inside `max=`. Golds are normalised once, predictions twice; `STEPS` is the list that the tests walk.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tasks.qwen_compat.units import remove_units
from tasks.qwen_compat.words import words_to_digits

Step = Callable[[str], str]


def normalise(text: str, *, strip_units: bool = True) -> str:
    """`text` in the toolkit's form; units stay with `strip_units=False` (Minerva)."""
    for name, step in STEPS:
        if name != "units" or strip_units:
            text = step(text)
    return text


def _sub(pattern: str, replacement: str) -> Step:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(replacement, text)


def _replace(*pairs: tuple[str, str]) -> Step:
    def step(text: str) -> str:
        for old, new in pairs:
            text = text.replace(old, new)
        return text

    return step


def _delete(*parts: str) -> Step:
    return _replace(*((part, "") for part in parts))


def _matrices(text: str) -> str:
    text = re.sub(r"\\begin\{array\}(?:\{[^{}]*\})?", r"\\begin{pmatrix}", text)
    return text.replace(r"\end{array}", r"\end{pmatrix}").replace("bmatrix", "pmatrix")


def _closing_text(text: str) -> str:
    r"""Without one `\text{...}` at the very end, unless it is everything there is."""
    return re.sub(r"\\text\{[^{}]*\}$", "", text).strip() or text


def _unbracket(text: str) -> str:
    """A bracketed alphanumeric without its brackets: `{5}`, `(b)`, `[12]`."""
    if len(text) > 2 and text[0] + text[-1] in ("{}", "()", "[]") and text[1:-1].isalnum():
        return text[1:-1]
    return text


def _infinity(text: str) -> str:
    text = re.sub(r"\\?infinity", r"\\infty", text)
    return text if r"\inf" in text else text.replace("inf", r"\infty")


def _imaginary_unit(text: str) -> str:
    return text.replace("j", "i") if "j" in text and "i" not in text else text


def _right_side(text: str) -> str:
    left, *right = text.split("=")
    return right[0].strip() if len(right) == 1 and len(left.strip()) <= 2 else text


def _fraction_of_integers(text: str) -> str:
    match = re.fullmatch(r"(-?\d+)/(-?\d+)", text)
    return rf"\frac{{{match[1]}}}{{{match[2]}}}" if match else text


# What LaTeX takes as one argument: a group, or a single character.
_GROUP = r"\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}"


def _fractions(text: str) -> str:
    r"""`\frac` with both arguments in braces: `\frac12`, `\frac1{72}` and `\frac{1}2` are shorthand."""
    argument = rf"({_GROUP}|[^\s{{}}\\])"

    def braced(match: re.Match[str]) -> str:
        return r"\frac" + "".join(
            part if part.startswith("{") else "{" + part + "}" for part in match.groups()
        )

    return re.sub(rf"\\frac\s*{argument}\s*{argument}", braced, text)


STEPS: tuple[tuple[str, Step], ...] = (
    ("trim", str.strip),
    ("newlines", _delete("\n")),
    ("full stops", lambda text: text.rstrip(".")),
    ("negative space", _delete(r"\!")),
    ("matrices", _matrices),
    ("fraction sizes", _replace(("tfrac", "frac"), ("dfrac", "frac"))),
    ("relations", _replace((r"\neq", r"\ne"), (r"\leq", r"\le"), (r"\geq", r"\ge"))),
    ("delimiter sizes", _delete(r"\left", r"\right")),
    ("escaped braces", _replace((r"\{", "{"), (r"\}", "}"))),
    ("closing text", _closing_text),
    ("units", remove_units),
    ("degrees", _delete(r"^{\circ}", r"^\circ", "°")),
    ("dollars", _delete(r"\$", "$", r"\(", r"\)")),
    ("number words", words_to_digits),
    ("text", _sub(r"\\text\{(.*?)\}", r"\1")),
    ("variables", _delete(*(f"{name}{sign}" for name in "xyz" for sign in ("=", r"\in", r"\to")))),
    ("empty set", _replace((r"\emptyset", "{}"))),
    ("real line", _sub(r"\(\s*-\s*\\infty\s*,\s*\\infty\s*\)", r"\\mathbb{R}")),
    ("percent", _delete(r"\%", "%")),
    ("inner leading dots", _replace((" .", " 0."), ("{.", "{0."))),
    ("brackets", _unbracket),
    ("infinity", _infinity),
    ("and", _delete("and")),
    ("bold and boxes", _sub(r"\\mathbf|\\mbox\{.*?\}", "")),
    ("imaginary unit", _imaginary_unit),
    ("trailing zeros", _sub(r"(\d+)\.0+(?!\d)", r"\1")),
    ("leading dot", _sub(r"^\.", "0.")),
    ("right side", _right_side),
    ("roots", _sub(r"\\sqrt\s*(\w+)", r"\\sqrt{\1}")),
    ("fractions", _fractions),
    ("spaces", _delete(" ")),
    ("quotient", _fraction_of_integers),
)
