"""Splits of generated benchmarks, and the examples that statistics may be computed on."""

from __future__ import annotations

import itertools
import random
from collections import Counter

import pytest

from bench.evaluation.grading import verdicts_of
from tasks.catalogue import suites
from tasks.contract import Answer, Benchmark, Example, Sample
from tasks.splits import distinct, refuse_test, split_of, stream, stream_seed

GENERATED = ("mini_l2s", "mini_skills", "mini_glue", "mini_mergebench", "mini_clip")
WITH_EXAMPLES = [b for name in GENERATED for b in suites()[name].benchmarks if b.examples is not None]


def shown(benchmark: Benchmark, item: Sample | Example) -> str:
    """What a model sees of a sample or an example, as text: the image by its digest, else the prompt."""
    if item.image is not None:
        return item.image.digest
    return item.prompt if isinstance(item, Example) else str(next(iter(benchmark.prompts.values()))(item))


def test_generated_suites_have_examples() -> None:
    for name in GENERATED:
        assert all(benchmark in WITH_EXAMPLES for benchmark in suites()[name].benchmarks)


@pytest.mark.parametrize("benchmark", WITH_EXAMPLES, ids=lambda benchmark: benchmark.name)
def test_examples_are_of_their_split_and_never_of_the_test_split(benchmark: Benchmark) -> None:
    assert benchmark.examples is not None
    asked = {
        split: {shown(benchmark, sample) for sample in benchmark.load(split, None)[0]}
        for split in ("train", "validation", "test")
    }
    for split, other in (("train", "validation"), ("validation", "train")):
        found = benchmark.examples(split, None)
        assert len(found) >= 60
        seen = {shown(benchmark, example) for example in found}
        assert seen <= asked[split]
        assert not seen & (asked["test"] | asked[other])
    with pytest.raises(ValueError, match=r"'test'.*only ever scored"):
        benchmark.examples("test", None)


@pytest.mark.parametrize("benchmark", WITH_EXAMPLES, ids=lambda benchmark: benchmark.name)
def test_examples_say_what_is_right(benchmark: Benchmark) -> None:
    """The benchmark's own grader accepts every response, and every label is the target's index."""
    assert benchmark.examples is not None
    samples = {shown(benchmark, sample): sample for sample in benchmark.load("validation", None)[0]}
    examples = benchmark.examples("validation", None)
    if benchmark.labels:
        assert all(example.response is None for example in examples)
        given = [benchmark.labels[example.label] for example in examples if example.label is not None]
    else:
        assert all(example.label is None for example in examples)
        given = [example.response for example in examples if example.response is not None]
    assert len(given) == len(examples)
    asked = [
        (text, samples[shown(benchmark, example)]) for text, example in zip(given, examples, strict=True)
    ]
    answers = [Answer(sample.question, text, sample.target, sample.reference) for text, sample in asked]
    assert all(verdict.correct for verdict in verdicts_of(benchmark.grader(), answers))


@pytest.mark.parametrize("split", ["test", "Test", "dev", ""])
def test_other_splits_are_refused(split: str) -> None:
    with pytest.raises(ValueError, match="'train' or 'validation'"):
        refuse_test(split)


def test_splits_are_pinned_and_have_their_shares() -> None:
    expected = {"item 0": "validation", "item 1": "train", "item 10": "test"}
    assert {text: split_of(text) for text in expected} == expected
    counts = Counter(split_of(str(n)) for n in range(20_000))
    assert counts["test"] == pytest.approx(2000, rel=0.1)
    assert counts["validation"] == pytest.approx(2000, rel=0.1)


def test_a_stream_keeps_to_its_split_and_leaves_out_what_does_not_work_out() -> None:
    def draw(rng: random.Random) -> tuple[str, int] | None:
        number = rng.randrange(1000)
        return (str(number), number) if number % 2 else None

    drawn = list(itertools.islice(stream(draw, "validation", 3), 300))
    assert all(number % 2 and split_of(text) == "validation" for text, number in drawn)
    numbers = [number for _, number in drawn]
    assert list(distinct(iter(drawn))) == list(dict.fromkeys(numbers))
    assert len(set(numbers)) < len(numbers)


def test_every_stream_has_a_seed_of_its_own() -> None:
    names = itertools.product(("a", "b"), ("a", "b"), ("train", "test"), (0, 1))
    assert len({stream_seed(*name) for name in names}) == 16
