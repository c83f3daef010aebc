"""Grader `label_name`: the name of the chosen label, compared exactly."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.contract import Verdict


class LabelName:
    """Correct when the answer is the gold label's name and nothing else; responses vote by the name."""

    name = "label_name"
    version = "1"

    def __init__(self, labels: Sequence[str]) -> None:
        self.labels = tuple(labels)

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]:
        """Grade (name of the chosen label, gold) pairs. Raises ValueError for a gold that is no label."""
        return [self._grade(text, target) for text, target in pairs]

    def _grade(self, text: str, target: str) -> Verdict:
        if target not in self.labels:
            raise ValueError(
                f"label_name cannot grade: the gold {target!r} is none of {', '.join(self.labels)}"
            )
        if text not in self.labels:
            return Verdict(False, None, None, f"{text[:80]!r} is none of {', '.join(self.labels)}")
        if text == target:
            return Verdict(True, text, text, "the gold label was chosen")
        return Verdict(False, text, text, f"{text} was chosen, the gold is {target}")
