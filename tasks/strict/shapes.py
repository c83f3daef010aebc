r"""The outer shape of an answer: one expression, an unordered list or set, or a tuple or interval with its brackets.

`x=1 \text{ or } x=2`, `\{1,2\}`, `1, 2` and `\pm` lists are sets; `(1,2)` and `[1,2)` keep kind and order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.strict.numbers import read_number
from tasks.strict.signs import named, plain

MOST_ELEMENTS = 64
DEEPEST = 6

_OPEN, _CLOSE = "([{", ")]}"
_SPACES = re.compile(r"(?<!\\)\\[,;:! ]|\\q?quad(?![A-Za-z])|~|\s+")
_DROPPED = re.compile(
    r"\\(?:left|right|displaystyle|limits|big|Big|bigg|Bigg)(?![A-Za-z])|\\?\$|(?<!\\)\\[()\[\]]"
)
_ARRAY = re.compile(r"\\(begin|end)\s*\{(?:array|matrix|bmatrix)\}(?:\s*\{[lcr| ]*\})?")
_AROUND_MATRIX = re.compile(
    r"[(\[]\s*(\\begin\{pmatrix\}(?:(?!\\end\{pmatrix\}).)*\\end\{pmatrix\})\s*[)\]]", re.DOTALL
)
_RELATION = re.compile(r"\\(le|ge|ne)(?:q|qslant)(?![A-Za-z])")
_ONE_UNIT = (
    r"\\(?:text|mathrm|mbox|textrm|textbf|operatorname)\s*\{[^{}]*\}(?:\s*\^\s*(?:\{\s*-?\d+\s*\}|\d))?"
)
_BETWEEN = r"\s*(?:[/.]\s*)?"  # nothing here may match one space in two ways: units in a row would take years
_UNIT = re.compile(rf"(?<=[\d}})!])\s*{_ONE_UNIT}(?:{_BETWEEN}{_ONE_UNIT})*{_BETWEEN}$")
_DEGREES = re.compile(r"\s*(?:\^\s*(?:\{\s*\\circ\s*\}|\\circ)|°|\\degree)")
_COUNTED = re.compile(
    r"(?P<number>.{0,100}?[\d)}])\s+(?!(?:or|and)\b)"
    r"(?:[A-Za-z]{3,}|[cdkmn]?m/s|[cdkmn]m|[km]g|ml|ft|in|hr|lb|oz|mi|yd)(?:[ /.]+[A-Za-z]+|\^?\d)*\.?"
)
_COUNTED_IN_CHINESE = re.compile(r"(?P<number>.{0,100}?[\d)}])\s*[\u4e00-\u9fff]+")
_WRAPPED = re.compile(r"\\(?:text|textbf|textrm|mathrm|mathbf|mbox|boldsymbol)\s*(\{.*\})", re.DOTALL)
_WORD = re.compile(
    r"\\(?:text|mathrm|mbox|textrm)\s*\{\s*,?\s*(?:or|and)\s*\}|(?<![A-Za-z\\])(?:or|and)(?![A-Za-z])"
)
_NAMED = re.compile(
    r"(?:[A-Za-z]|\([A-Za-z, ]+\))\s*=\s*(?P<brackets>[(\[].*[)\]])", re.DOTALL
)  # (x, y)=(1, 0)
_SET = re.compile(r"(?:[A-Za-z]\s*(?:\\in|=)\s*)?\\\{(.*)\\\}", re.DOTALL)


@dataclass(frozen=True)
class Shape:
    """`kind`: "one", "set", "union", or a pair of brackets such as "(]"; `parts` are one text or the elements."""

    kind: str
    parts: tuple[Shape | str, ...]


def clean(text: str) -> str:
    """An answer without what only concerns its looks: sizes, spaces, dollar signs, wide letters, a unit at its end.

    The real line and the empty set have one name each, whether they are written in words or in signs.
    """
    text = _SPACES.sub(" ", plain(text).replace("\\!", ""))
    text = _AROUND_MATRIX.sub(r"\1", _ARRAY.sub(r"\\\1{pmatrix}", _DROPPED.sub("", text)))
    text = _RELATION.sub(r"\\\1", text)
    text = text.replace("\\dfrac", "\\frac").replace("\\tfrac", "\\frac").strip()
    text = _DEGREES.sub("", text).rstrip(". ").strip()
    if (match := _WRAPPED.fullmatch(text)) and _closing(match[1]) == len(match[1]) - 1:
        text = match[1][1:-1].strip()
    text = _without_unit(text)
    return named(text) or text


def _without_unit(text: str) -> str:
    """`text` without a unit behind its end; words go only behind a number."""
    text = _UNIT.sub("", text).strip() or text
    for counted in (_COUNTED, _COUNTED_IN_CHINESE):
        if (match := counted.fullmatch(text)) and read_number(match["number"]) is not None:
            return match["number"].strip()
    return text


def shape(text: str, depth: int = 0) -> Shape:
    """The shape of a cleaned answer; what is nested too deep or too long is one text."""
    text = text.strip()
    one = Shape("one", (text,))
    if depth >= DEEPEST or read_number(text) is not None:
        return one
    if (match := _SET.fullmatch(text)) and _balanced(match[1]):
        return _many("set", split(match[1], ",;"), depth) or one
    if text[:1] == "{" and _closing(text) == len(text) - 1 and len(inner := split(text[1:-1], ",;")) > 1:
        return _many("set", inner, depth) or one
    if (match := _NAMED.fullmatch(text)) and _outer(match["brackets"]):
        text = match["brackets"]
    if brackets := _outer(text):
        inner = split(text[1:-1], ",;")
        if len(inner) > 1:
            return _many(brackets, inner, depth) or one
        return shape(inner[0], depth + 1) if brackets in ("()", "[]") and inner[0].strip() else one
    if len(union := split_at(text, "\\cup")) > 1:
        return _many("union", union, depth) or one
    elements = [part for piece in split(_WORD.sub(",", text), ",;") for part in _signs(piece) if part.strip()]
    return (_many("set", elements, depth) if len(elements) > 1 else None) or one


def _many(kind: str, texts: list[str], depth: int) -> Shape | None:
    if len(texts) > MOST_ELEMENTS:
        return None
    signed = texts if kind not in ("set", "union") else [part for text in texts for part in _signs(text)]
    return Shape(kind, tuple(shape(text, depth + 1) for text in signed if text.strip()))


def _signs(text: str) -> list[str]:
    r"""Both readings of a `\pm`; the text alone where there is none, or several."""
    if text.count("\\pm") != 1:
        return [text]
    return [re.sub(r"\\pm\s*", sign, text) for sign in ("+", "-")]


def split(text: str, separators: str) -> list[str]:
    """`text` at the separators that stand in no bracket; a separator inside a number with thousands stays."""
    parts, start, depth = [], 0, 0
    for place, letter in enumerate(text):
        if letter in _OPEN:
            depth += 1
        elif letter in _CLOSE:
            depth -= 1
        elif letter in separators and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part.strip() for part in (*parts, text[start:])]


def split_at(text: str, word: str) -> list[str]:
    """`text` at a command that stands in no bracket. An interval is one: (1, 2] closes what ( opened."""
    parts, start, depth, place = [], 0, 0, 0
    while place < len(text):
        if text[place] in _OPEN:
            depth += 1
        elif text[place] in _CLOSE:
            depth -= 1
        elif depth == 0 and text.startswith(word, place):
            parts.append(text[start:place])
            start = place + len(word)
        place += 1
    return [part.strip() for part in (*parts, text[start:])]


def _balanced(text: str) -> bool:
    return _closing("(" + text + ")") == len(text) + 1


def _outer(text: str) -> str | None:
    """The kind of the brackets around all of `text`, None without them."""
    if len(text) > 2 and text[0] in "([" and text[-1] in ")]" and _closing(text) == len(text) - 1:
        return text[0] + text[-1]
    return None


def _closing(text: str) -> int:
    """Where the bracket that opens `text` is closed; -1 if nowhere."""
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter in _OPEN) - (letter in _CLOSE)
        if depth == 0:
            return place
    return -1
