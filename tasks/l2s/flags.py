"""What a response shows by its text alone: reflection, its think block, an open code tool call, a complete box."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.extraction import last_boxed

# The keywords that the L2S study counts as reflection.
REFLECTIONS = (
    "wait",
    "re-examine",
    "recap",
    "double-check",
    "let me check",
    "let me just check",
    "let me just verify",
)
# Whole words: "waiting" and "await" belong to the story of a problem, not to a second thought.
_REFLECTION = re.compile(rf"\b(?:{'|'.join(map(re.escape, REFLECTIONS))})\b", re.IGNORECASE)
_OPEN, _CLOSE = "<think>", "</think>"


@dataclass(frozen=True)
class Flags:
    r"""Facts of one response text.

    `reflections` counts keywords; `think` is the text of the think block, None without one; `code_fence` is true
    for an output that lacks the word "boxed" and ends in a code fence: the Qwen2.5-Math toolkit would run its code
    and go on, this project never does; `complete_box` is true when some `\\boxed{...}` is closed.
    """

    reflections: int
    think: str | None
    code_fence: bool
    complete_box: bool


def flags(text: str, *, thinking: bool = False) -> Flags:
    """The flags of a response, in time linear in its length; `thinking`: its prompt has opened a think block."""
    return Flags(
        reflections=sum(1 for _ in _REFLECTION.finditer(text)),
        think=think_block(text, opened=thinking),
        code_fence="boxed" not in text and text.rstrip().endswith("```"),
        complete_box=last_boxed(text) is not None,
    )


def opens_think_block(prompt: str) -> bool:
    """Whether a prompt ends in an open think block, as the chat templates of some reasoning models do."""
    return prompt.rstrip().endswith(_OPEN)


def think_block(text: str, *, opened: bool = False) -> str | None:
    """The text between `<think>` and `</think>`, or None when neither stands there.

    A block that is never closed (cut off at the budget) reaches to the end; one that the prompt had `opened`, or of
    which only the end stands, reaches from the start.
    """
    begin, closed = text.find(_OPEN), text.find(_CLOSE)
    if begin < 0 and closed < 0:
        return text if opened else None
    if begin < 0 or 0 <= closed < begin:
        return text[:closed]
    start = begin + len(_OPEN)
    end = text.find(_CLOSE, start)
    return text[start:] if end < 0 else text[start:end]
