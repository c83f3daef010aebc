"""Sentences of the mini GLUE suite: one seeded generator for two classifications and three splits.

``mini_sentiment`` asks what a review says of a film: negations turn an adjective round, and where two clauses
disagree, the main one decides. ``mini_preference`` asks which of two reviews is the kinder one, if any. Splits
follow `tasks.splits`; the canonical form is the text.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from tasks.generated import Generated, Item

SIZES = {"train": 1000, "validation": 300, "test": 500}
LABELS = {"mini_sentiment": ("negative", "positive"), "mini_preference": ("first", "neither", "second")}
TASKS = tuple(LABELS)

NOUNS = ("film", "plot", "cast", "music", "ending", "story")
VERBS = ("was", "seemed")
NEGATIONS = ("not", "never", "hardly")
ADVERBS = ("very", "quite", "rather", "truly")
ADJECTIVES = {
    "positive": ("great", "fresh", "clever", "warm", "bright", "moving", "funny", "lovely"),
    "negative": ("dull", "slow", "weak", "cold", "flat", "noisy", "stale", "clumsy"),
}
_OTHER = {"positive": "negative", "negative": "positive"}


@dataclass(frozen=True)
class Sentence(Item):
    """A text and the name of its label."""

    task: str
    text: str
    label: str


# --------------------------------------------------------------------------- mini_sentiment


def _clause(rng: random.Random, polarity: str) -> str:
    """``the film was never quite dull``: a clause that says something `polarity` of one noun."""
    negated = rng.randrange(3) == 0
    said = _OTHER[polarity] if negated else polarity
    words = ["the", rng.choice(NOUNS), rng.choice(VERBS)]
    words += [rng.choice(NEGATIONS)] if negated else []
    words += [rng.choice(ADVERBS)] if rng.randrange(2) else []
    return " ".join([*words, rng.choice(ADJECTIVES[said])])


def _review(rng: random.Random, polarity: str) -> str:
    """One clause, two that agree, or two of which the main one decides."""
    other, main = _OTHER[polarity], _clause(rng, polarity)
    kind = rng.randrange(6)
    if kind == 0:
        return main
    if kind == 1:
        return f"{main} and {_clause(rng, polarity)}"
    if kind in (2, 3):
        return f"{_clause(rng, other)} but {main}"
    if kind == 4:
        return f"although {_clause(rng, other)} , {main}"
    return f"{main} although {_clause(rng, other)}"


def _draft_sentiment(rng: random.Random) -> tuple[str, Sentence]:
    """One review and its polarity."""
    label = rng.choice(LABELS["mini_sentiment"])
    text = f"Review: {_review(rng, label)} ."
    return text, Sentence("", "mini_sentiment", text, label)


# --------------------------------------------------------------------------- mini_preference


def _draft_preference(rng: random.Random) -> tuple[str, Sentence]:
    """Two short reviews, of which the positive one is preferred."""
    label = rng.choice(LABELS["mini_preference"])
    same = rng.choice(LABELS["mini_sentiment"])
    first = {"first": "positive", "second": "negative", "neither": same}[label]
    second = {"first": "negative", "second": "positive", "neither": same}[label]
    text = f"First: {_clause(rng, first)} . Second: {_clause(rng, second)} ."
    return text, Sentence("", "mini_preference", text, label)


# --------------------------------------------------------------------------- splits

_DRAFTS = {"mini_sentiment": _draft_sentiment, "mini_preference": _draft_preference}


def _draw(task: str, split: str, rng: random.Random) -> tuple[str, Sentence]:
    return _DRAFTS[task](rng)


GENERATED = Generated(
    suite="mini_glue",
    noun="task",
    location="tasks/mini_glue/sentences.py",
    sizes={split: dict.fromkeys(TASKS, size) for split, size in SIZES.items()},
    draw=_draw,
)
train_stream, sentences = GENERATED.train, GENERATED.items
