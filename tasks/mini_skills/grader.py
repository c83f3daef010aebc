"""Grader `boxed_letters`: the row of letters in the last box, compared exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.contract import Verdict
from tasks.extraction import grade_box

_LETTERS = re.compile("[a-z]+")


def _letters(text: str) -> str | None:
    """`text` without the space around it; None if that is not a row of letters."""
    answer = text.strip()
    return answer if _LETTERS.fullmatch(answer) else None


class BoxedLetters:
    r"""Correct when the last `\boxed{...}` holds the gold letters, case included; responses vote by them."""

    name = "boxed_letters"
    version = "1"

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (response text, gold) pairs. Raises ValueError for a gold that is not lower-case letters."""
        return [self._grade(text, target) for text, target in pairs]

    def _grade(self, text: str, target: str) -> Verdict:
        if not _LETTERS.fullmatch(target):
            raise ValueError(f"boxed_letters cannot grade: the gold {target[:80]!r} is not a row of letters")
        return grade_box(text, target, _letters, none="no row of letters", right="the gold letters")
