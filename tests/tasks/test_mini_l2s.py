"""The mini L2S suite: what it asks and how it grades."""

from __future__ import annotations

import pytest

from tasks.catalogue import resolve
from tasks.mini_l2s.grader import BoxedInteger, canonical_integer
from tasks.mini_l2s.problems import problems


@pytest.mark.parametrize(("name", "n"), [("mini_gsm", 500), ("mini_math", 300), ("mini_aime", 60)])
def test_samples_are_the_generated_problems(name: str, n: int) -> None:
    [benchmark] = resolve(name).benchmarks
    samples, source = benchmark.load("test", None)
    assert len(samples) >= n
    assert (
        len({sample.id for sample in samples}) == len({sample.question for sample in samples}) == len(samples)
    )
    for sample, problem in zip(samples, problems(name, "test"), strict=True):
        assert benchmark.prompts["plain"](sample) == problem.prompt == f"Q: {problem.question}\nA:"
        assert sample.target == str(problem.answer)
    again, same = benchmark.load("test", None)
    assert (again, same) == (samples, source)
    assert benchmark.load("validation", None)[1].revision != source.revision


def test_only_the_hardest_level_is_sampled_for_voting() -> None:
    draws = {b.name: b.protocols for b in resolve("mini_l2s").benchmarks}
    assert [draw.name for draw in draws["mini_gsm"]] == ["greedy"]
    greedy, pool = draws["mini_aime"]
    assert (greedy.sampling.temperature, greedy.n) == (0.0, 1)
    assert (pool.sampling.temperature, pool.n, pool.votes) == (0.3, 16, (1, 8, 16))


@pytest.mark.parametrize(
    ("text", "target", "correct", "extracted"),
    [
        ("12+5=17; \\boxed{17}", "17", True, "17"),
        ("\\boxed{ 017 }", "17", True, "17"),
        ("\\boxed{1,017}", "1017", True, "1017"),
        ("\\boxed{$17$}", "17", True, "17"),
        ("\\boxed{-0}", "0", True, "0"),
        ("\\boxed{+3}", "3", True, "3"),
        ("\\boxed{-3}", "3", False, "-3"),
        ("\\boxed{3}, no: \\boxed{4}", "3", False, "4"),
        ("\\boxed{4}, cut \\boxed{3", "3", False, "4"),
        ("the answer is 17", "17", False, None),
        ("\\boxed{17 apples}", "17", False, None),
        ("\\boxed{17.0}", "17", False, None),
        ("\\boxed{1,7}", "17", False, None),
        ("\\boxed{١٧}", "17", False, None),
        ("\\boxed{}", "17", False, None),
        ("", "17", False, None),
    ],
)
def test_boxed_integer(text: str, target: str, correct: bool, extracted: str | None) -> None:
    [verdict] = BoxedInteger().grade([(text, target)])
    assert (verdict.correct, verdict.extracted, verdict.vote) == (correct, extracted, extracted)
    assert verdict.why


def test_boxed_integer_survives_a_hostile_answer() -> None:
    pairs = [("\\boxed{" + "9" * 10**6 + "}", "3"), ("{" * 10**6, "3"), ("\\boxed{3}", "3")]
    assert [v.correct for v in BoxedInteger().grade(pairs)] == [False, False, True]


def test_a_gold_that_is_no_integer_is_an_error_of_the_benchmark() -> None:
    with pytest.raises(ValueError, match="'1/2' is not an integer"):
        BoxedInteger().grade([("\\boxed{1}", "1/2")])


def test_canonical_integers_agree_with_arithmetic() -> None:
    for value in (-1200, -7, 0, 5, 1000, 1234567):
        assert canonical_integer(f"{value:,}") == canonical_integer(str(value)) == str(value)
