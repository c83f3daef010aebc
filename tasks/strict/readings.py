r"""What a gold says, where it says more than an answer or says it in words: an answer to one reading is right.

CollegeMath's textbooks write an inequality with its interval (`x<-7:(-\infty,-7)`), and `Solution is: [x=1, y=5]`,
which lists values and is no interval.
"""

from __future__ import annotations

import re

from tasks.strict.shapes import clean, split

_BOTH = re.compile(r"(?P<said>.*(?:[<>]|\\[lg]eq?(?:slant)?(?![A-Za-z])).*?):\s*(?P<interval>[(\[].*[)\]])")
LONGEST_BOTH = 500  # characters: where a relation and where an interval begins is tried at each
_PREFIX = re.compile(r"(?:the )?solutions? (?:is|are)\s?:?\s+(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
_VALUES = re.compile(r"(?:\[|\\\{)(?P<inside>.*=.*)(?:\]|\\\})", re.DOTALL)


def readings(gold: str) -> tuple[str, ...]:
    """The cleaned texts that a gold may be read as, at least one; the whole text comes first."""
    whole = clean(gold)
    if len(whole) <= LONGEST_BOTH and (match := _BOTH.fullmatch(whole)):
        return (whole, match["said"].strip(), match["interval"].strip())
    if match := _PREFIX.fullmatch(whole):
        rest = match["rest"].strip()
        values = _VALUES.fullmatch(rest)
        listed = values is not None and all("=" in part for part in split(values["inside"], ","))
        return (whole, values["inside"].strip() if values is not None and listed else rest)
    return (whole,)
