"""Grader `boxed_letters`: the row of letters in the last box, compared exactly."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.contract import Verdict
from tasks.extraction import last_boxed

_LETTERS = re.compile("[a-z]+")


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
        content = last_boxed(text)
        if content is None:
            return Verdict(False, None, None, "no complete \\boxed{...} in the response")
        answer = content.strip()
        if not _LETTERS.fullmatch(answer):
            return Verdict(False, None, None, f"the last box holds no row of letters: {content[:80]!r}")
        if answer == target:
            return Verdict(True, answer, answer, "the last box holds the gold letters")
        return Verdict(False, answer, answer, f"the last box holds {answer[:80]}, the gold is {target[:80]}")
