"""Finding the answer in a response: the last `\\boxed{...}` with balanced braces."""

from __future__ import annotations

import re

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
