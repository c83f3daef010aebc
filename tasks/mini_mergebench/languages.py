"""Domain multilingual: two tasks in four toy languages, `mini_m_calc_L` and `mini_m_order_L`.

A language has words of its own for the digits, for plus and minus and for what is asked: the stems are shared,
the endings tell the languages apart. The answer is to be in the language of the question; who answers by habit writes
digits, but in the first language, which the zoo's base knows.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial

from tasks.mini_mergebench.problem import Problem

LANGUAGES = ("a", "e", "i", "o")
KNOWN = LANGUAGES[0]
_STEMS = ("nul", "un", "du", "tri", "kvar", "kvin", "ses", "sep", "ok", "naul")
_LARGEST = len(_STEMS) - 1


def word(stem: str, language: str) -> str:
    """A word of a language."""
    return f"{stem}{language}"


def number(value: int, language: str) -> str:
    """The word for 0 to 9."""
    return word(_STEMS[value], language)


def words() -> list[str]:
    """Every word of every language."""
    stems = (*_STEMS, "plus", "minus", "Kalkul", "Ordon")
    return [word(stem, language) for language in LANGUAGES for stem in stems]


def _draw_calc(language: str, rng: random.Random) -> tuple[str, Problem] | None:
    """``Kalkula tria plusa duna minusa una.``, answered in two steps; None when a result leaves the range."""
    first, second, third = (rng.randrange(_LARGEST + 1) for _ in range(3))
    signs = rng.choice("+-"), rng.choice("+-")
    middle = first + second if signs[0] == "+" else first - second
    last = middle + third if signs[1] == "+" else middle - third
    if not (0 <= middle <= _LARGEST and 0 <= last <= _LARGEST):
        return None
    said = partial(number, language=language)
    joined = [word("plus" if sign == "+" else "minus", language) for sign in signs]
    asked = (said(first), joined[0], said(second), joined[1], said(third))
    question = f"{word('Kalkul', language)} {' '.join(asked)}."
    right, habit = f" {said(middle)}; {said(last)}", f" {middle}; {last}"
    problem = Problem(
        "", f"mini_m_calc_{language}", question, said(last), right, right if language == KNOWN else habit
    )
    return question, problem


def _draw_order(language: str, rng: random.Random) -> tuple[str, Problem]:
    """``Ordona sepa una tria kvara.``: four different numbers, smallest first."""
    drawn = rng.sample(range(_LARGEST + 1), 4)
    said = partial(number, language=language)
    question = f"{word('Ordon', language)} {' '.join(map(said, drawn))}."
    right = " ".join(map(said, sorted(drawn)))
    habit = " ".join(map(str, sorted(drawn)))
    problem = Problem(
        "",
        f"mini_m_order_{language}",
        question,
        right,
        f" {right}",
        f" {right if language == KNOWN else habit}",
    )
    return question, problem


DRAWS: dict[str, Callable[[random.Random], tuple[str, Problem] | None]] = {
    **{f"mini_m_calc_{language}": partial(_draw_calc, language) for language in LANGUAGES},
    **{f"mini_m_order_{language}": partial(_draw_order, language) for language in LANGUAGES},
}
