"""Sentences of the mini GLUE suite: one seeded generator for two classifications and three splits.

``mini_sentiment`` asks what a review says of a film: negations turn an adjective round, and where two clauses
disagree, the main one decides. ``mini_inference`` asks whether a claim about two people follows from two
comparisons, contradicts them, or neither. Splits follow `tasks.splits`; the canonical form is the text, but
comparisons that say the same ("ana is older than ben", "ben is younger than ana") have one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tasks import splits

SIZES = {"train": 1000, "validation": 300, "test": 500}
LABELS = {
    "mini_sentiment": ("negative", "positive"),
    "mini_inference": ("entailment", "neutral", "contradiction"),
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
NAMES = ("tom", "ana", "ben", "mia", "leo", "eva", "sam", "zoe", "ida", "kim", "max", "pia")
# A relation and its inverse.
RELATIONS = (("older", "younger"), ("taller", "shorter"), ("faster", "slower"))


@dataclass(frozen=True)
class Sentence:
    """A text and the name of its label."""

    id: str
    task: str
    text: str
    label: str


# --------------------------------------------------------------------------- mini_sentiment


def _clause(rng: random.Random, polarity: str) -> str:
    """``the film was never quite dull``: a clause that says something `polarity` of one noun."""
    negated = rng.randrange(3) == 0
    said = {"positive": "negative", "negative": "positive"}[polarity] if negated else polarity
    words = ["the", rng.choice(NOUNS), rng.choice(VERBS)]
    words += [rng.choice(NEGATIONS)] if negated else []
    words += [rng.choice(ADVERBS)] if rng.randrange(2) else []
    return " ".join([*words, rng.choice(ADJECTIVES[said])])


def _draft_sentiment(rng: random.Random) -> tuple[str, Sentence]:
    """One clause, two that agree, or two of which the main one decides."""
    label = rng.choice(LABELS["mini_sentiment"])
    other = "positive" if label == "negative" else "negative"
    main = _clause(rng, label)
    kind = rng.randrange(6)
    if kind == 0:
        text = main
    elif kind == 1:
        text = f"{main} and {_clause(rng, label)}"
    elif kind in (2, 3):
        text = f"{_clause(rng, other)} but {main}"
    elif kind == 4:
        text = f"although {_clause(rng, other)} , {main}"
    else:
        text = f"{main} although {_clause(rng, other)}"
    text = f"Review: {text} ."
    return text, Sentence("", "mini_sentiment", text, label)


# --------------------------------------------------------------------------- mini_inference


def _compare(rng: random.Random, more: str, less: str, relation: tuple[str, str]) -> str:
    """One of the two ways to say that `more` exceeds `less`."""
    if rng.randrange(2):
        return f"{more} is {relation[0]} than {less}"
    return f"{less} is {relation[1]} than {more}"


def _draft_inference(rng: random.Random) -> tuple[str, Sentence]:
    """Two comparisons of three people, and a claim about two of them."""
    relation, label = rng.choice(RELATIONS), rng.choice(LABELS["mini_inference"])
    top, middle, low = rng.sample(NAMES, 3)
    if label == "neutral":  # two pairs with one person in common, who is above both or below both
        above = rng.randrange(2)
        facts = [(top, middle), (top, low)] if above else [(middle, top), (low, top)]
        claim = (middle, low) if rng.randrange(2) else (low, middle)
    else:
        facts = [(top, middle), (middle, low)]
        claim = (top, low) if label == "entailment" else (low, top)
    rng.shuffle(facts)
    known = " and ".join(_compare(rng, *fact, relation) for fact in facts)
    text = f"Facts: {known} . Claim: {_compare(rng, *claim, relation)} ."
    canonical = f"{relation[0]}|" + "|".join(f"{a}>{b}" for a, b in [*sorted(facts), claim])
    return canonical, Sentence("", "mini_inference", text, label)


# --------------------------------------------------------------------------- splits

_DRAFTS = {"mini_sentiment": _draft_sentiment, "mini_inference": _draft_inference}


def _stream(task: str, split: str, seed: int) -> Iterator[tuple[str, Sentence]]:
    """Endless canonical forms and sentences of one split."""
    if task not in TASKS or split not in splits.SPLITS:
        raise ValueError(f"unknown task or split: {task!r}, {split!r}")
    return splits.stream(_DRAFTS[task], split, splits.stream_seed("mini_glue", task, split, seed))


def train_stream(task: str, seed: int = 0) -> Iterator[Sentence]:
    """Endless training sentences of one task; none of them is in validation or test."""
    for number, (_, sentence) in enumerate(_stream(task, "train", seed)):
        yield replace(sentence, id=f"{task}-train-{number:04d}")


def sentences(task: str, split: str, n: int | None = None) -> list[Sentence]:
    """The first `n` distinct sentences of a split (default: its published size, `SIZES`).

    A larger `n` extends the list; the sentences at the front stay the same.
    """
    found = itertools.islice(splits.distinct(_stream(task, split, 0)), SIZES[split] if n is None else n)
    return [replace(sentence, id=f"{task}-{split}-{number:04d}") for number, sentence in enumerate(found)]
