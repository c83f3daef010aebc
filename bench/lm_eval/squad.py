"""The metric of SQuAD 2.0, so that no code of it is fetched: exact match and F1 of answers that may be "none".

Rajpurkar et al., arXiv 1806.03822, as its evaluation script computes them and the `evaluate` metric `squad_v2`
reports them: in per cent, overall, for questions with and without an answer, and at the best threshold of the
probability that there is no answer.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

ARTICLES = re.compile(r"\b(a|an|the)\b")


def normalised(text: str) -> str:
    """Lower case, without punctuation and articles, with single spaces."""
    plain = "".join(letter for letter in text.lower() if letter not in string.punctuation)
    return " ".join(ARTICLES.sub(" ", plain).split())


def exact(gold: str, said: str) -> float:
    """1 where both are the same text, normalised."""
    return float(normalised(gold) == normalised(said))


def f1(gold: str, said: str) -> float:
    """Harmonic mean of precision and recall of the words, counted as often as they come."""
    theirs, ours = normalised(gold).split(), normalised(said).split()
    if not theirs or not ours:
        return float(theirs == ours)
    same = (Counter(theirs) & Counter(ours)).total()
    if not same:
        return 0.0
    precision, recall = same / len(ours), same / len(theirs)
    return 2 * precision * recall / (precision + recall)


METRICS: Mapping[str, Callable[[str, str], float]] = {"exact": exact, "f1": f1}


def of_document(metric: str, said: str, reference: Mapping[str, Any]) -> float | None:
    """What one answer scores (0 to 1) in `exact` or `f1`: against the nearest gold; None for another metric."""
    if metric not in METRICS:
        return None
    golds = [text for text in reference["answers"]["text"] if normalised(text)] or [""]
    return max(METRICS[metric](gold, said) for gold in golds)


class SquadV2:
    """What `evaluate.load("squad_v2")` would be."""

    def compute(
        self, *, predictions: Sequence[Mapping[str, Any]], references: Sequence[Mapping[str, Any]]
    ) -> dict[str, float]:
        """Metrics in per cent. `predictions` have id, prediction_text and no_answer_probability; `references` id and
        answers; both in one order."""
        said = [str(one["prediction_text"]) for one in predictions]
        unsure = [float(one["no_answer_probability"]) for one in predictions]
        answerable = [bool(one["answers"]["text"]) for one in references]
        found: dict[str, float] = {}
        for metric in METRICS:
            values = [
                of_document(metric, text, gold) or 0.0 for text, gold in zip(said, references, strict=True)
            ]
            # A probability above 1 there is none: the usual threshold calls no answer missing.
            found[metric] = _percent(values)
            for name, wanted in (("HasAns", True), ("NoAns", False)):
                part = [value for value, has in zip(values, answerable, strict=True) if has == wanted]
                if part:
                    found[f"{name}_{metric}"] = _percent(part)
            found[f"best_{metric}"] = _best(values, said, unsure, answerable)
        return found | {"total": len(said)}


def _percent(values: Sequence[float]) -> float:
    return 100.0 * sum(values) / len(values)


def _best(
    values: Sequence[float], said: Sequence[str], unsure: Sequence[float], answerable: Sequence[bool]
) -> float:
    """The score, in per cent, at the threshold that is best for it: what is less sure counts as "no answer"."""
    score = best = float(answerable.count(False))
    for place in sorted(range(len(said)), key=unsure.__getitem__):
        if answerable[place]:
            score += values[place]
        elif said[place]:
            score -= 1
        best = max(best, score)
    return 100.0 * best / len(said)
