"""The mini GLUE suite: what it asks, labels checked from the text alone, and how it grades."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections import Counter

import pytest

from tasks.catalogue import resolve
from tasks.mini_glue.grader import LabelName
from tasks.mini_glue.sentences import ADJECTIVES, LABELS, SIZES, TASKS, sentences, train_stream

TRAIN_SAMPLE = 2000
GOOD = {"great", "fresh", "clever", "warm", "bright", "moving", "funny", "lovely"}


def _says(clause: str) -> str:
    words = clause.split()
    negated = bool({"not", "never", "hardly"} & set(words))
    return "positive" if (words[-1] in GOOD) != negated else "negative"


def _solve_sentiment(text: str) -> str:
    body = text.removeprefix("Review: ").removesuffix(" .")
    if body.startswith("although "):
        return _says(body.split(" , ")[1])
    if " although " in body:
        return _says(body.split(" although ")[0])
    if " but " in body:
        return _says(body.split(" but ")[1])
    said = {_says(clause) for clause in body.split(" and ")}
    assert len(said) == 1, text
    return said.pop()


def _solve_preference(text: str) -> str:
    """Compare the two as numbers."""
    first, second = (_says(side.removesuffix(" .")) == "positive" for side in text[7:].split(" . Second: "))
    return "neither" if first == second else "first" if first > second else "second"


def _solve_entailment(text: str) -> str:
    """The hypothesis praises: it follows from praise of the same noun."""
    premise, hypothesis = text.removeprefix("Premise: ").removesuffix(" .").split(" . Hypothesis: ")
    assert _says(hypothesis) == "positive", text
    if premise.split()[1] != hypothesis.split()[1]:
        return "neutral"
    return "entailment" if _says(premise) == "positive" else "contradiction"


_ADJECTIVE = "|".join(word for words in ADJECTIVES.values() for word in words)
CLAUSE = (
    "the (film|plot|cast|music|ending|story) (was|seemed)( (not|never|hardly))?"
    f"( (very|quite|rather|truly))? ({_ADJECTIVE})"
)


def _solve_acceptability(text: str) -> str:
    """The grammar, as one regular expression."""
    whole = rf"Sentence: {CLAUSE} (and|but|although) {CLAUSE} \."
    return "acceptable" if re.fullmatch(whole, text) else "unacceptable"


SOLVERS = {
    "mini_sentiment": _solve_sentiment,
    "mini_preference": _solve_preference,
    "mini_entailment": _solve_entailment,
    "mini_acceptability": _solve_acceptability,
}


def test_adjectives_have_one_polarity() -> None:
    assert set(ADJECTIVES["positive"]) == GOOD
    assert not GOOD & set(ADJECTIVES["negative"])


@pytest.mark.parametrize("task", TASKS)
def test_labels_follow_from_the_text(task: str) -> None:
    sample = itertools.islice(train_stream(task, 13), TRAIN_SAMPLE)
    for sentence in itertools.chain(sentences(task, "validation"), sentences(task, "test"), sample):
        assert SOLVERS[task](sentence.text) == sentence.label, sentence.text


@pytest.mark.parametrize("task", TASKS)
def test_every_label_is_common(task: str) -> None:
    for split in SIZES:
        counts = Counter(sentence.label for sentence in sentences(task, split))
        assert set(counts) == set(LABELS[task])
        assert max(counts.values()) < 0.6 * sum(counts.values()), "a constant answer would be good"


@pytest.mark.parametrize("task", TASKS)
def test_splits_are_disjoint(task: str) -> None:
    found = {split: {s.text for s in sentences(task, split)} for split in SIZES}
    assert {split: len(items) for split, items in found.items()} == SIZES
    stream = {s.text for s in itertools.islice(train_stream(task, 11), TRAIN_SAMPLE)}
    assert not found["test"] & found["validation"]
    assert not (found["train"] | stream) & (found["test"] | found["validation"])


def test_splits_are_the_published_ones() -> None:
    """A digest of all texts and labels: the splits are the same everywhere and never drift."""
    digest = hashlib.sha256()
    for task, split in itertools.product(TASKS, SIZES):
        for s in sentences(task, split):
            digest.update(f"{s.id}\t{s.text}\t{s.label}\n".encode("ascii"))
    assert digest.hexdigest() == "1d244a68e22c2230cf4adb23d087d6e9ab84b3fb047a4f7397c778fab94a5d7f"


def test_unknown_task_or_split_is_refused() -> None:
    for task, split in (("mini_cola", "test"), ("mini_sentiment", "dev")):
        with pytest.raises(ValueError, match="unknown task or split"):
            sentences(task, split, 1)


def test_benchmarks_are_classifications() -> None:
    benchmarks = resolve("mini_glue").benchmarks
    assert {b.name: (b.domain, b.labels) for b in benchmarks} == {
        "mini_sentiment": ("sentiment", ("negative", "positive")),
        "mini_preference": ("preference", ("first", "neither", "second")),
        "mini_entailment": ("entailment", ("entailment", "neutral", "contradiction")),
        "mini_acceptability": ("acceptability", ("unacceptable", "acceptable")),
    }
    for benchmark in benchmarks:
        samples, source = benchmark.load("test", None)
        assert benchmark.load("test", None) == (samples, source)
        assert all(sample.target in benchmark.labels for sample in samples)
        assert all(benchmark.prompts["plain"](sample) == sample.question for sample in samples)


@pytest.mark.parametrize(
    ("text", "correct", "extracted"),
    [
        ("neither", True, "neither"),
        ("first", False, "first"),
        ("Neither", False, None),
        ("neither ", False, None),
        ("", False, None),
    ],
)
def test_label_name(text: str, correct: bool, extracted: str | None) -> None:
    [verdict] = LabelName(LABELS["mini_preference"]).grade([(text, "neither")])
    assert (verdict.correct, verdict.extracted, verdict.vote) == (correct, extracted, extracted)
    assert verdict.why


def test_a_gold_that_is_no_label_is_an_error_of_the_benchmark() -> None:
    with pytest.raises(ValueError, match="'positive' is none of first"):
        LabelName(LABELS["mini_preference"]).grade([("neither", "positive")])
