r"""What a response marks as its answer: its last complete `\boxed{...}`, else what stands behind its last marker.

Markers, in any case: `the (final) answer is`, also `would be` and `to the question is`; `Answer:`; a line `Final
answer` above it; GSM8K's `#### 18`, which is a heading unless a number follows. The answer is the rest of the
sentence: formulas whole, a clause (`which is ...`, `because ...`) left out. Where the text was cut off inside a box
or a formula, or right behind a marker, the marker before it counts. A response that is one number or one formula and
nothing else is its own answer.

The last formula or number of a text is no answer: a model that repeats the question would be right whenever the
question is an expression to be transformed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.extraction import last_boxed
from tasks.strict.numbers import read_number
from tasks.strict.shapes import clean

LONGEST_SENTENCE = 2_000
LONGEST_NUMBER = 100  # with its unit
ALONE = "nothing"
MOST_MARKERS = 8  # from the end: what a text says before that many, it no longer says

_IS = r"(?:(?:is|are|equals)\b|(?:should|must|would|will)\s{1,3}be\b)"
_MARKER = re.compile(
    r"\b(?:the\s)?(?:final\s)?answers?\b[*_]{0,2}(?:\s(?:to|for|of|in)\s[^.:：$\n]{1,80}?)?\s{0,3}"
    rf"(?:{_IS}\s{{0,3}}[:：]?|[:：=])"
    r"|(?:^|\n)[#*_ ]{0,8}final\s+answer[*_ ]{0,4}\n"
    r"|(?:^|\n)(?P<hashes>####)(?=[ \t]*[^\s#])",
    re.IGNORECASE,
)
_FORMULA = (
    r"\$\$.{1,1000}?\$\$|\\\[.{1,1000}?\\\]|\\\(.{1,1000}?\\\)"
    r"|\$(?!\s)(?:\\.|[^$\\\n]){1,1000}?(?<!\s)\$(?!\d)|\$\s(?:\\.|[^$\\\n]){1,1000}?\s\$"
)
_END = (
    r"\n|[.?!](?=[\s*]|$)|,?\s+(?:which|because|since|so|where|but|when|while|hence|therefore|thus|I hope)\b"
)
_SENTENCE = re.compile(rf"(?P<said>(?:{_FORMULA}|(?!{_END}).)*)", re.DOTALL)
_BEFORE = re.compile(r"[\s:：*_]*(?:(?:approximately|about|simply|equal to|given by)\b[\s:]*)?")
_FORMULAS = re.compile(_FORMULA, re.DOTALL)
_CUT_OFF = re.compile(r"\\boxed|(?<!\\)\$(?!\s*[\d.,])|\\[(\[]")  # opened, and nowhere closed


@dataclass(frozen=True)
class Marked:
    """An answer as it is written, and the marker that it stands behind: empty for a box."""

    answer: str
    marker: str = ""


def marked(text: str) -> Marked | None:
    """The answer that a response marks, None when it marks none. Takes time linear in the text, whatever it holds."""
    box = last_boxed(text)
    if box is not None:
        return Marked(box)
    for match in list(_MARKER.finditer(text))[-MOST_MARKERS:][::-1]:
        behind = text[match.end() : match.end() + LONGEST_SENTENCE]
        answer = behind.partition("\n")[0].strip() if match["hashes"] else _sentence(behind)
        if answer and (not match["hashes"] or read_number(clean(answer)) is not None):
            return Marked(answer, " ".join(match.group().split()))
    return Marked(text.strip(), ALONE) if _is_alone(text) else None


def _is_alone(text: str) -> bool:
    text = text.strip()
    if len(text) > LONGEST_SENTENCE:
        return False
    return _FORMULAS.fullmatch(text) is not None or (
        len(text) <= LONGEST_NUMBER and read_number(clean(text)) is not None
    )


def _sentence(text: str) -> str:
    """The sentence that `text` begins with, empty where it was cut off."""
    start = _BEFORE.match(text)
    sentence = _SENTENCE.match(text, start.end() if start else 0)
    said = sentence["said"].strip(" \t*_") if sentence else ""
    return "" if _CUT_OFF.search(_FORMULAS.sub("", said)) else said
