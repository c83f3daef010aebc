"""English number words to digits: "twenty-five" is 25; digits with leading zeros lose them.

Number words decide for the whole text, whatever else it says: "Eight pieces of each kind" is 8. (Only so do as many
CollegeMath golds become numbers as the reference counts: 25 of 448 are sentences with a number word in them.)
"""

from __future__ import annotations

import re

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_VALUES = {word: value for value, word in enumerate(_ONES.split())}
_VALUES |= {word: 10 * value for value, word in enumerate(_TENS.split(), start=2)}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9}
_DIGITS = re.compile(r"[0-9]+")


def words_to_digits(text: str) -> str:
    """The number that the number words of `text` make, or its digits without leading zeros; else `text`."""
    if _DIGITS.fullmatch(text):
        return text.lstrip("0") or "0"
    words = text.lower().replace("-", " ").split()
    if not any(word in _VALUES or word in _SCALES or word == "hundred" for word in words):
        return text
    whole, point, digits = _split_at_point(words)
    decimals = "".join(str(_VALUES[word]) for word in digits if _VALUES.get(word, 10) < 10)
    return f"{cardinal(whole)}.{decimals}" if point and decimals else str(cardinal(whole))


def _split_at_point(words: list[str]) -> tuple[list[str], bool, list[str]]:
    if "point" not in words:
        return words, False, []
    place = words.index("point")
    return words[:place], True, words[place + 1 :]


def cardinal(words: list[str]) -> int:
    """The value of the number words among `words`: "two hundred and three thousand" is 203,000."""
    total = current = 0
    for word in words:
        if word == "hundred":
            current = (current or 1) * 100
        elif word in _SCALES:
            total += (current or 1) * _SCALES[word]
            current = 0
        else:
            current += _VALUES.get(word, 0)
    return total + current
