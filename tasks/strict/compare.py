"""Comparing one answer with the gold: shapes first, then element by element with math-verify. Runs under limits.

math-verify decides what two expressions have in common; not left to it are brackets (an open interval and a set of
two are the same to it), the order of lists, units inside expressions, and its absolute rounding at six decimals (to
which every two numbers below 1e-7 are equal). Cheap cases come first: the same text, two numbers, words; what is left
is parsed (`values.py`).
"""

from __future__ import annotations

import re

from tasks.strict.numbers import equal, name, read_number
from tasks.strict.parsing import exact, is_complex, parsed
from tasks.strict.shapes import Shape
from tasks.strict.values import same_value

SHOWN = 200
LONGEST_VALUE = 60
_WORDS = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_BASED = re.compile(r"(?P<digits>\d[\da-z]{0,99})_\{?(?P<base>\d{1,3}|[a-z]{3,7})\}?")  # of a bare text
_BASES = {
    "two": "2",
    "three": "3",
    "four": "4",
    "five": "5",
    "six": "6",
    "seven": "7",
    "eight": "8",
    "nine": "9",
    "ten": "10",
    "twelve": "12",
    "sixteen": "16",
}
_TEXT = re.compile(r"\\(?:text|textbf|textrm|textit|mathrm|mathbf|mbox)\s*\{([^{}]*)\}")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{[a-z]+\*?\}")
_SHORT_WORD = re.compile(r"(?:yes|no|true|false)[.!]?", re.IGNORECASE)
_ONLY_WORDS = re.compile(r"[A-Za-z' .!-]*[A-Za-z]{4}[A-Za-z' .!-]*")
_RELATION = re.compile(r"[=<>:]|\\(?:le|ge|ne|in|lt|gt|approx|sim|equiv|i*int|oint|sum|prod|lim)(?![A-Za-z])")
_SET_IN_SIGNS = re.compile(r"[<>]|\\(?:le|ge|ne|in|lt|gt)(?![A-Za-z])|\\math")
_NO_VARIABLES = re.compile(
    r"\\(?:text|mathrm|operatorname|begin|end)\s*\{[^{}]*\}|\\[A-Za-z]+"
    r"|(?:sqrt|log|ln|exp|arc(?:sin|cos|tan)|sin|cos|tan|cot|sec|csc|pi|max|min|abs|np)(?![A-Za-z])"
)
_VARIABLE = re.compile(r"[A-Zabcdfghj-z]")  # e and i are numbers
_LETTERS = re.compile(r"[A-Za-z\\]")
_ASSIGNED = re.compile(r"^[A-Za-z]\s*=\s*")
_ARITHMETIC = re.compile(r"\\(?:frac|cdot|times|div)(?![A-Za-z])|^[A-Za-z]\s*=")


class Undecided(Exception):
    """Only a parser can tell, and it was asked to do without."""


def compare(gold: Shape, answer: Shape, tolerance: float, *, parser: bool = True) -> bool:
    """Whether an answer has the shape of the gold and equal elements: in any order in sets and unions.

    Raises Undecided where that takes a parser and `parser` is off.
    """
    kinds = {gold.kind, answer.kind}
    if kinds == {"set", "one"} and len(_names(gold)) != len(_names(answer)):
        return False
    if kinds in ({"set"}, {"union"}, {"set", "one"}) or (
        kinds == {"set", "union"} and _relations(gold, answer)
    ):
        return _same_set(gold, answer, tolerance, parser)
    if len(kinds) == 1 and gold.kind != "one":
        return len(gold.parts) == len(answer.parts) and all(
            compare(_shape(one), _shape(other), tolerance, parser=parser)
            for one, other in zip(gold.parts, answer.parts, strict=True)
        )
    # An inequality and an interval may say the same: only an expression can tell.
    return (
        "one" in kinds
        and _says_a_set(gold, answer)
        and same_expression(text(gold), text(answer), tolerance, parser=parser)
    )


def _names(listed: Shape) -> set[str]:
    """The elements by their looks: numbers by their value, anything else by its text."""
    return {
        _element(part) if votes_by_text(_shape(part)) else _bare(part)
        for part in map(text, map(_shape, listed.parts))
    }


def _says_a_set(gold: Shape, answer: Shape) -> bool:
    """Whether the one without brackets may say what brackets say, or there are no brackets."""
    bare = gold if gold.kind == "one" else answer
    return gold.kind == answer.kind or _SET_IN_SIGNS.search(text(bare)) is not None


def _relations(gold: Shape, answer: Shape) -> bool:
    """Whether the set of the two lists inequalities or the like (`x < 1 or x > 2`), which a union may say as well."""
    listed = gold if gold.kind == "set" else answer
    return all(_shape(part).kind == "one" for part in listed.parts)


def _shape(part: Shape | str) -> Shape:
    return part if isinstance(part, Shape) else Shape("one", (part,))


def _same_set(gold: Shape, answer: Shape, tolerance: float, parser: bool) -> bool:
    """Each element of the gold, none missing, none beside them; either side may repeat one."""
    right, mine = ({_bare(text(_shape(part))): _shape(part) for part in one.parts} for one in (gold, answer))
    # Elements of the same text need no comparison; whatever is left is compared with all.
    return all(
        any(compare(part, other, tolerance, parser=parser) for other in mine.values())
        for name, part in right.items()
        if name not in mine
    ) and all(
        any(compare(other, part, tolerance, parser=parser) for other in right.values())
        for name, part in mine.items()
        if name not in right
    )


def same_expression(gold: str, answer: str, tolerance: float, *, parser: bool = True) -> bool:
    """Two elements: the same text, equal numbers, or equal by math-verify. Raises Undecided without a parser."""
    if _bare(gold) == _bare(answer):
        return True
    if _BASED.fullmatch(_bare(gold)) or _BASED.fullmatch(_bare(answer)):
        return _same_in_base(_bare(gold), _bare(answer))
    right, mine = read_number(gold), read_number(answer)
    if right is not None and mine is not None:
        return equal(right, mine, tolerance)
    if is_words(gold) or is_words(answer):
        return False
    if (right is not None and _has_variables(answer)) or (mine is not None and _has_variables(gold)):
        return False
    if not parser:
        raise Undecided
    real = not (is_complex(gold) or is_complex(answer))
    right_value = parsed(gold, real=real)
    mine_value = None if right_value is None else parsed(answer, real=real)
    return mine_value is not None and same_value(right_value, mine_value, tolerance)


def _same_in_base(gold: str, answer: str) -> bool:
    """Numbers written in a base, which math-verify drops: the same digits, and the same base where both say one."""
    right, mine = _BASED.fullmatch(gold), _BASED.fullmatch(answer)
    if right and mine:
        one, other = (_BASES.get(found["base"], found["base"]) for found in (right, mine))
        return right["digits"] == mine["digits"] and one == other
    return (right["digits"] if right else gold) == (mine["digits"] if mine else answer)


def _has_variables(element: str) -> bool:
    """Whether an element is a formula in variables, and says nothing of their values: it answers no question for a
    number, and no number answers it.
    """
    element = element.rpartition("=")[2]  # of an equation math-verify takes the right side for a number
    return _RELATION.search(element) is None and _VARIABLE.search(_NO_VARIABLES.sub(" ", element)) is not None


def _bare(answer: str) -> str:
    """An element as text alone: no spaces, no text commands, no brackets around a single word or letter."""
    plain = "".join(_TEXT.sub(r"\1", answer).split()).lower()
    inner = plain[1:-1]
    return inner if inner.isalnum() and plain[0] + plain[-1] in ("()", "[]", "{}") else plain


def is_words(answer: str) -> bool:
    """Whether an element is a sentence or nothing but words: the parser takes seconds to multiply it."""
    answer = _ENVIRONMENT.sub("", answer)
    if _SHORT_WORD.fullmatch(answer):
        return True
    if len(_WORDS.findall(answer)) >= 3:
        return True
    return len(answer) <= SHOWN and _ONLY_WORDS.fullmatch(_TEXT.sub(r"\1", answer)) is not None


def is_numeric(answer: str) -> bool:
    """Whether an element is short and holds nothing but digits, signs and arithmetic: its value may be its name."""
    return len(answer) <= LONGEST_VALUE and _LETTERS.search(_ARITHMETIC.sub("", answer)) is None


def text(answer: Shape) -> str:
    """A shape as text again."""
    parts = [part if isinstance(part, str) else text(part) for part in answer.parts]
    if answer.kind == "one":
        return parts[0]
    if answer.kind == "union":
        return "\\cup".join(parts)
    around = ("\\{", "\\}") if answer.kind == "set" else (answer.kind[0], answer.kind[1])
    return around[0] + ",".join(parts) + around[1]


def vote(answer: Shape) -> str:
    r"""The cluster that an answer votes with: 0.50, 1/2 and x = \frac{2}{4} share one; so do lists in any order.

    Numbers go by their value, what is no number by its text: whether two texts are one is the grader's to say.
    """
    texts = [text(_shape(part)) for part in answer.parts]
    if len({match[0].strip("= ") for part in texts if (match := _ASSIGNED.match(part))}) > 1:
        parts = [_bare(part) for part in texts]  # x=1, y=2 is not x=2, y=1
    else:
        parts = [_element(part) if isinstance(part, str) else vote(part) for part in answer.parts]
    if answer.kind == "one":
        return parts[0][:SHOWN]
    if answer.kind in ("set", "union"):
        return f"{answer.kind}{{{', '.join(sorted(set(parts)))}}}"[:SHOWN]
    return f"{answer.kind[0]}{', '.join(parts)}{answer.kind[1]}"[:SHOWN]


def _element(element: str) -> str:
    number = read_number(_ASSIGNED.sub("", element))
    if number is not None:
        return name(number)
    value = exact(parsed(element)) if is_numeric(element) and not _BASED.fullmatch(_bare(element)) else None
    return _bare(element) if value is None else str(value)


def votes_by_text(answer: Shape) -> bool:
    """Whether `vote` needs no parser."""
    return all(
        votes_by_text(part)
        if isinstance(part, Shape)
        else read_number(_ASSIGNED.sub("", part)) is not None or not is_numeric(part)
        for part in answer.parts
    )
