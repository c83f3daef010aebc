"""English number words to digits: "twenty-five" is 25; digits with leading zeros lose them.

Number words decide for the whole text, whatever else it says: "Eight pieces of each kind" is 8. What the words make
is what the toolkit makes of them, sense or not: "one two three" is 1 * 2 + 3. Words that make no number ("thousand
two") leave the text alone.
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
_VALUES["hundred"] = 100
_SCALES = {"billion": 10**9, "million": 10**6, "thousand": 10**3}
_POINT = "point"
_DIGITS = re.compile(r"[0-9]+")


def words_to_digits(text: str) -> str:
    """The number that the number words of `text` make, or its digits without leading zeros; else `text`."""
    if _DIGITS.fullmatch(text):
        return text.lstrip("0") or "0"
    words = text.lower().replace("-", " ").split()
    words = [word for word in words if word in _VALUES or word in _SCALES or word == _POINT]
    if not words or any(words.count(word) > 1 for word in (*_SCALES, _POINT)):
        return text
    whole, _, digits = "|".join(words).partition(_POINT)
    value = cardinal([word for word in whole.split("|") if word])
    decimals = "".join(str(_VALUES[word]) for word in digits.split("|") if _VALUES.get(word, 10) < 10)
    if value is None:
        return text
    return f"{value}.{decimals}" if decimals else str(value)


def cardinal(words: list[str]) -> int | None:
    """The value of number words: "two hundred and three thousand" is 203,000; None for what makes no number."""
    if len(words) == 1:
        return _VALUES.get(words[0]) if words[0] in _VALUES else _SCALES[words[0]]
    total = 0
    for scale, factor in _SCALES.items():
        if scale in words:
            place = words.index(scale)
            before, words = words[:place], words[place + 1 :]
            if not before or any(word in _SCALES for word in before):
                return None
            total += factor * _formed(before)
    return total + (_formed(words) if words else 0)


def _formed(words: list[str]) -> int:
    """Words below a thousand, read by their number alone."""
    values = [_VALUES[word] for word in words]
    match values:
        case [one, other]:
            return one * other if 100 in values else one + other
        case [one, other, third]:
            return one * other + third
        case [one, other, third, fourth]:
            return one * other + third + fourth
    return values[0]
