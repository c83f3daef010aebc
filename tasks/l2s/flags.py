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


def flags(text: str) -> Flags:
    """The flags of a response, in time linear in its length."""
    return Flags(
        reflections=sum(1 for _ in _REFLECTION.finditer(text)),
        think=think_block(text),
        code_fence="boxed" not in text and text.rstrip().endswith("```"),
        complete_box=last_boxed(text) is not None,
    )


def think_block(text: str) -> str | None:
    """The text between `<think>` and `</think>`, or None when neither stands there.

    A block that is never closed (cut off at the budget) reaches to the end; where only the end stands, the chat
    template had opened the block in the prompt, so it reaches from the start.
    """
    opened, closed = text.find(_OPEN), text.find(_CLOSE)
    if opened < 0 and closed < 0:
        return None
    if opened < 0 or 0 <= closed < opened:
        return text[:closed]
    start = opened + len(_OPEN)
    end = text.find(_CLOSE, start)
    return text[start:] if end < 0 else text[start:end]
