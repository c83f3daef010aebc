r"""Finding the answer in a response as the Qwen2.5-Math toolkit does: the first rule that matches decides.

The sentence of the Minerva prompt; the text behind the last word `boxed` (an unfinished box yields what is there);
the text behind `he answer is`, then behind `final answer is`; the last number. Nothing found is the empty text.
"""

from __future__ import annotations

import re

from tasks.l2s.prompts import STOP
from tasks.qwen_compat.normalisation import normalise

_BRACE = re.compile(r"[{}]")
_NUMBER = re.compile(r"-?\d*\.?\d+")
_LETTER = re.compile(r"\b([A-E])\b")


def extract(text: str, *, strip_units: bool = True) -> str:
    """The normalised answer of a response; the empty string when there is none."""
    return finish(raw_answer(text), strip_units=strip_units)


def before_stop(text: str) -> str:
    """A response up to its first stop string: what comes after it the model was not asked for."""
    cut = min((place for stop in STOP if (place := text.find(stop)) >= 0), default=len(text))
    return text[:cut].strip()


def raw_answer(text: str) -> str:
    """The answer as it stands in the response, before anything is removed from it."""
    if "final answer is $" in text and "$. I hope" in text:
        return text.split("final answer is $", 1)[1].split("$. I hope", 1)[0].strip()
    if "boxed" in text:
        return _boxed(text.rpartition("boxed")[2])
    for marker in ("he answer is", "final answer is"):
        if marker in text:
            return text.rpartition(marker)[2].strip()
    numbers = _NUMBER.findall(text.replace(",", ""))
    return numbers[-1] if numbers else ""


def _boxed(after: str) -> str:
    """What a box holds: to the balancing brace, to the end if there is none; without a brace up to the next `$`."""
    if not after.startswith("{"):
        return after.split("$", 1)[0].strip()
    depth = 0
    for brace in _BRACE.finditer(after):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return after[1 : brace.start()]
    return after[1:]


def finish(raw: str, *, strip_units: bool = True) -> str:
    """The last steps of every rule: join lines, drop one colon, one full stop, one slash; normalise."""
    answer = re.sub(r"\n\s*", "", raw)
    answer = answer.removeprefix(":").removesuffix(".").removesuffix("/")
    return normalise(answer, strip_units=strip_units)


def choice_letter(text: str) -> str | None:
    """The letter A-E that a response chooses: first behind an "answer is", else the last alone; None without one."""
    _, marker, after = text.partition("answer is")
    if marker and (match := _LETTER.search(after)):
        return match[1]
    letters = _LETTER.findall(text)
    return letters[-1] if letters else None
