r"""Unit removal: words that mean a unit where they stand alone, single letters among them.

The reference names single letters and short words and says what is done with them; it does not list them. The rest
was found from outside: 27,000 words (all of the six benchmarks, every one of up to three letters) were given to the
toolkit as answers, and these did not come back. Many units are missing (dollar, foot, kilogram); some are no units.
"""

from __future__ import annotations

import re

_SHORT = "a c d g h l m o s t ab am bc by cc cm dm ft gal gm hr kg km kmh lb lt min mm mp mph mt mtr pm"
_LONG = (
    "rd rs sec sq st th yr acre apple are coin cube cubic day decrease deg degree east excess feet gain gallon "
    "hectare hour inch inches increase less liter litre loss man mark men meter metre mile minute monkey month "
    "more noon number ohm per percent pie prime profit pure ratio rise rounds rupee second soldiers square "
    "tile toy unit way west woman women yard year"
)
WORDS = tuple(f"{_SHORT} {_LONG}".split())
# A letter, a space and whatever one character follows: so does `a x+b` lose its x.
_WITH_NEXT = tuple(f"{letter} ." for letter in "abcdefghq")
# What a text surely holds where the pattern matches, and the pattern.
_PATTERNS = tuple(
    (unit.partition(".")[0].removesuffix("s?"), re.compile(rf"(^|\W){unit}($|\W)"))
    for unit in (*_WITH_NEXT, "p . m", *(f"{word}s?" for word in sorted(WORDS, key=len, reverse=True)))
)
PASSES = 2  # a word that stands twice behind another shares its separator with it


def remove_units(text: str) -> str:
    """`text` without its unit words, one after the other; one without which nothing would remain stays."""
    for _ in range(PASSES):
        for certain, pattern in _PATTERNS:
            if certain in text:  # a hundred searches would take a millisecond
                text = pattern.sub(r"\1\2", text) or text
    return text
