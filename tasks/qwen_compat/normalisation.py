r"""Rewriting an answer to one form, in the order of the Qwen2.5-Math toolkit.

The order is part of the definition, and so is the damage: single letters go as units, "and" goes inside words,
`x=` goes inside `max=`. Both sides are normalised twice; `STEPS` is the list that the tests walk. Where the
description leaves open what a step does, or is not what the toolkit answers (brackets stay), its answers decide.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from tasks.qwen_compat.units import remove_units
from tasks.qwen_compat.words import words_to_digits

Step = Callable[[str], str]
_INTEGER = re.compile(r"-?(?:0|[1-9][0-9]*)")


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
    text = re.sub(r"\\begin\{array\}\s*\{.*?\}", r"\\begin{pmatrix}", text)
    return text.replace(r"\end{array}", r"\end{pmatrix}").replace("bmatrix", "pmatrix")


def _closing_text(text: str) -> str:
    r"""Without what begins with the first `\text{` where a brace ends it, unless that is everything there is."""
    start = text.find(r"\text{")
    return text[:start].strip() or text if start >= 0 and text.endswith("}") else text


def _infinity(text: str) -> str:
    text = text.replace("infinity", r"\infty")
    return text if r"\infty" in text else text.replace("inf", r"\infty")


def _imaginary_unit(text: str) -> str:
    return text.replace("j", "i") if "j" in text and "i" not in text else text


def _right_side(text: str) -> str:
    left, *right = text.split("=")
    return right[0].strip() if len(right) == 1 and len(left) <= 2 else text


def _quotient(text: str) -> str:
    """One `/` between two sides that are integers or hold a root, whatever else they hold."""
    parts = text.split("/")
    if len(parts) == 2 and all("sqrt" in part or _INTEGER.fullmatch(part) for part in parts):
        return rf"\frac{{{parts[0]}}}{{{parts[1]}}}"
    return text


_SHORT_FRACTION = re.compile(r"\\frac\s*([^\s{}])\s*(?:([^\s{}])|(?=\{))")


def _fractions(text: str) -> str:
    r"""`\frac12` and `\frac1{72}` with both arguments in braces; `\frac{1}2` stays."""

    def braced(match: re.Match[str]) -> str:
        return rf"\frac{{{match[1]}}}" + (f"{{{match[2]}}}" if match[2] else "")

    return _SHORT_FRACTION.sub(braced, text)


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
    ("degrees", _delete(r"^{\circ}", r"^\circ")),
    ("dollars", _delete(r"\$", "$", r"\(", r"\)")),
    ("number words", words_to_digits),
    ("text", _sub(r"\\text\{(.*?)\}", r"\1")),
    ("variables", _delete(*(f"{name}{sign}" for name in "xyz" for sign in ("=", r"\in", r"\to")))),
    ("empty set", _replace((r"\emptyset", "{}"))),
    ("real line", _replace((r"(-\infty,\infty)", r"\mathbb{R}"))),
    ("percent", _delete(r"\%", "%")),
    ("inner leading dots", _replace((" .", " 0."), ("{.", "{0."))),
    ("infinity", _infinity),
    ("and", _delete("and")),
    ("bold and boxes", _sub(r"\\mathbf|\\mbox\{.*?\}", "")),
    ("imaginary unit", _imaginary_unit),
    ("trailing zeros", _sub(r"(\d)\.0*(?!\d)", r"\1")),
    ("leading dot", _sub(r"^\.", "0.")),
    ("right side", _right_side),
    ("roots", _sub(r"\\sqrt\s*(\w+)", r"\\sqrt{\1}")),
    ("fractions", _fractions),
    ("spaces", _delete(" ")),
    ("quotient", _quotient),
)
