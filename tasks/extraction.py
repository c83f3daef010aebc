"""Finding and grading the answer in a response: the last `\\boxed{...}` with balanced braces."""

from __future__ import annotations

import re
from collections.abc import Callable

from tasks.contract import Verdict

_BRACE_OR_BOX = re.compile(r"\\boxed\s*\{|\\[{}]|[{}]")


def last_boxed(text: str) -> str | None:
    r"""The content of the last complete `\boxed{...}`, or None when there is none.

    "Last" is the one that opens last, so of nested boxes the innermost wins. A box that is never closed (an
    answer cut off at the budget) is not an answer. Escaped braces (`\{`, `\}`) are text. One pass over the
    text, whatever it holds: a megabyte of braces takes a fraction of a second.
    """
    open_braces: list[tuple[int, bool]] = []  # where the content starts, and whether a box opened it
    best: tuple[int, int] | None = None
    for match in _BRACE_OR_BOX.finditer(text):
        token = match.group()
        if token.endswith("{") and token != r"\{":
            open_braces.append((match.end(), token != "{"))
        elif token == "}" and open_braces:
            start, boxed = open_braces.pop()
            if boxed and (best is None or start > best[0]):
                best = (start, match.start())
    return None if best is None else text[best[0] : best[1]]


def grade_box(text: str, gold: str, parse: Callable[[str], str | None], *, none: str, right: str) -> Verdict:
    """The verdict on what the last box of a response holds: right when `parse` makes the gold of it.

    `parse` gives the canonical form of an answer, None for what is no answer; responses vote by that form. `none`
    and `right` are such a box and the right one in words ("no integer", "the gold integer").
    """
    content = last_boxed(text)
    if content is None:
        return Verdict(False, None, None, "no complete \\boxed{...} in the response")
    answer = parse(content)
    if answer is None:
        return Verdict(False, None, None, f"the last box holds {none}: {content[:80]!r}")
    if answer == gold:
        return Verdict(True, answer, answer, f"the last box holds {right}")
    return Verdict(False, answer, answer, f"the last box holds {answer[:80]}, the gold is {gold[:80]}")
