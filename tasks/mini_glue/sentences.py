"""Sentences of the mini GLUE suite: one seeded generator for four classifications and three splits.

``mini_sentiment`` asks what a review says of a film: negations turn an adjective round, and where two clauses
disagree, the main one decides. ``mini_preference`` asks which of two reviews is the kinder one, if any.
``mini_entailment`` asks whether praise of a noun follows from a premise, contradicts it, or is of another noun.
``mini_acceptability`` asks whether the words stand in an order that the grammar of the clauses has. Splits follow
`tasks.splits`; the canonical form is the text.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from tasks.generated import Generated, Item

SIZES = {"train": 1000, "validation": 300, "test": 500}
LABELS = {
    "mini_sentiment": ("negative", "positive"),
    "mini_preference": ("first", "neither", "second"),
    "mini_entailment": ("entailment", "neutral", "contradiction"),
    "mini_acceptability": ("unacceptable", "acceptable"),
}
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


def _clause(rng: random.Random, polarity: str, nouns: Sequence[str] = NOUNS) -> str:
    """``the film was never quite dull``: a clause that says something `polarity` of one of the nouns."""
    negated = rng.randrange(3) == 0
    said = _OTHER[polarity] if negated else polarity
    words = ["the", rng.choice(nouns), rng.choice(VERBS)]
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


# --------------------------------------------------------------------------- mini_entailment


def _draft_entailment(rng: random.Random) -> tuple[str, Sentence]:
    """A premise, and a hypothesis that praises the same noun or, when it is neutral, another one."""
    label = rng.choice(LABELS["mini_entailment"])
    noun, other = rng.sample(NOUNS, 2)
    either = rng.choice(LABELS["mini_sentiment"])
    polarity = {"entailment": "positive", "contradiction": "negative", "neutral": either}[label]
    premise = _clause(rng, polarity, [noun])
    hypothesis = _clause(rng, "positive", [other if label == "neutral" else noun])
    text = f"Premise: {premise} . Hypothesis: {hypothesis} ."
    return text, Sentence("", "mini_entailment", text, label)


# --------------------------------------------------------------------------- mini_acceptability


def _broken(rng: random.Random, clause: str) -> str:
    """The clause with two neighbours swapped, a word said twice, or one gone that it cannot do without.

    No two neighbours of a clause are words of one kind, so that none of the three gives a clause again.
    """
    words = clause.split()
    kind, at = rng.randrange(3), rng.randrange(len(words) - 1)
    if kind == 0:
        words[at], words[at + 1] = words[at + 1], words[at]
    elif kind == 1:
        words.insert(at, words[at])
    else:
        del words[rng.choice((0, 1, 2, -1))]  # a negation or an adverb would not be missed
    return " ".join(words)


def _draft_acceptability(rng: random.Random) -> tuple[str, Sentence]:
    """Two clauses, one of which may be broken."""
    label = rng.choice(LABELS["mini_acceptability"])
    clauses = [_clause(rng, rng.choice(LABELS["mini_sentiment"])) for _ in range(2)]
    if label == "unacceptable":
        at = rng.randrange(2)
        clauses[at] = _broken(rng, clauses[at])
    text = f"Sentence: {clauses[0]} {rng.choice(('and', 'but', 'although'))} {clauses[1]} ."
    return text, Sentence("", "mini_acceptability", text, label)


# --------------------------------------------------------------------------- splits

_DRAFTS = {
    "mini_sentiment": _draft_sentiment,
    "mini_preference": _draft_preference,
    "mini_entailment": _draft_entailment,
    "mini_acceptability": _draft_acceptability,
}


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
