"""The mini skills suite: what it asks, answers checked from the question's text alone, and how it grades."""

from __future__ import annotations

import hashlib
import itertools
import re

import pytest

from tasks.catalogue import resolve
from tasks.mini_skills.grader import BoxedLetters
from tasks.mini_skills.problems import SIZES, SKILLS, Problem, problems, train_stream, worked

TRAIN_SAMPLE = 2000


def _solve_row(question: str) -> str:
    row, operations = question.rstrip(".").split(": ")
    letters = list(row)
    for operation in operations.split(", "):
        if operation == "Sort":
            letters.sort()
        elif operation == "Reverse":
            letters.reverse()
        elif operation == "Rotate":
            letters.append(letters.pop(0))
        else:
            assert operation == "Swap"
            letters[0], letters[-1] = letters[-1], letters[0]
    return "".join(letters)


def _solve(problem: Problem) -> str:
    """The answer, computed from the text of the question alone."""
    question = problem.question
    if problem.skill == "mini_sums":
        expression = re.fullmatch(r"Compute ([\d+-]+)\.", question)
        assert expression is not None
        return str(eval(expression.group(1), {"__builtins__": {}}))
    if problem.skill == "mini_strings":
        return _solve_row(question)
    found = re.search(r"Follow (\w) (\d) times", question)
    assert found is not None
    at = found.group(1)
    for _ in range(int(found.group(2))):
        (at,) = re.findall(rf"{at}=(\w)", question)
    return at


def _everything(skill: str) -> list[Problem]:
    sample = itertools.islice(train_stream(skill, 13), TRAIN_SAMPLE)
    return [*problems(skill, "validation"), *problems(skill, "test"), *sample]


@pytest.mark.parametrize("skill", SKILLS)
def test_answers_follow_from_the_question_text(skill: str) -> None:
    for problem in _everything(skill):
        assert _solve(problem) == problem.answer, problem.question
        assert worked(problem).endswith(f"; \\boxed{{{problem.answer}}}")


@pytest.mark.parametrize("skill", SKILLS)
def test_every_step_holds(skill: str) -> None:
    for problem in _everything(skill)[:1000]:
        last = problem.steps[-1]
        if skill == "mini_strings":
            assert last == problem.answer
            continue
        assert last.split("=")[1] == problem.answer
        for step in problem.steps:
            left, right = step.split("=")
            held = str(eval(left, {"__builtins__": {}})) == right if skill == "mini_sums" else True
            assert held and (skill == "mini_sums" or step in problem.question.split(".")[0].split())


@pytest.mark.parametrize("skill", SKILLS)
def test_splits_are_disjoint(skill: str) -> None:
    """As questions, and for a table whatever the order of its pairs."""

    def same(problem: Problem) -> tuple[frozenset[str], str]:
        pairs, _, task = problem.question.partition(". ")
        return frozenset(pairs.split()), task

    found = {split: {same(p) for p in problems(skill, split)} for split in SIZES}
    assert {split: len(items) for split, items in found.items()} == SIZES
    stream = {same(p) for p in itertools.islice(train_stream(skill, 11), TRAIN_SAMPLE)}
    assert not found["test"] & found["validation"]
    assert not (found["train"] | stream) & (found["test"] | found["validation"])


def test_splits_are_the_published_ones() -> None:
    """A digest of all questions and answers: the splits are the same everywhere and never drift."""
    digest = hashlib.sha256()
    for skill, split in itertools.product(SKILLS, SIZES):
        for p in problems(skill, split):
            digest.update(f"{p.id}\t{p.question}\t{p.answer}\t{worked(p)}\n".encode("ascii"))
    assert digest.hexdigest() == "dba378afb13bd842887da2f3b886031c718c916279930cba811cb3bc14ee14ae"


def test_streams_differ_by_seed_and_repeat_by_seed() -> None:
    def first(seed: int) -> list[Problem]:
        return list(itertools.islice(train_stream("mini_strings", seed), 20))

    assert first(1) == first(1) != first(2)


def test_a_larger_n_extends() -> None:
    assert problems("mini_sums", "test", 700)[:500] == problems("mini_sums", "test")


def test_unknown_skill_or_split_is_refused() -> None:
    for skill, split in (("mini_chess", "test"), ("mini_sums", "dev")):
        with pytest.raises(ValueError, match="unknown skill or split"):
            problems(skill, split, 1)


def test_one_domain_a_benchmark() -> None:
    benchmarks = resolve("mini_skills").benchmarks
    assert {b.name: b.domain for b in benchmarks} == {
        "mini_sums": "arithmetic",
        "mini_strings": "strings",
        "mini_lookup": "lookup",
    }
    for benchmark in benchmarks:
        samples, source = benchmark.load("test", None)
        assert len({sample.id for sample in samples}) == len(samples) == 500
        prompts = [benchmark.prompts["plain"](sample) for sample in samples]
        assert prompts == [problem.prompt for problem in problems(benchmark.name, "test")]
        assert benchmark.load("test", None) == (samples, source)
        assert [draw.sampling.temperature for draw in benchmark.protocols] == [0.0]


@pytest.mark.parametrize(
    ("text", "correct", "extracted"),
    [
        ("dlpoh; \\boxed{dlpoh}", True, "dlpoh"),
        ("\\boxed{ dlpoh }", True, "dlpoh"),
        ("\\boxed{dlpo}, no: \\boxed{dlpoh}", True, "dlpoh"),
        ("\\boxed{Dlpoh}", False, None),
        ("\\boxed{dlpho}", False, "dlpho"),
        ("\\boxed{dl poh}", False, None),
        ("\\boxed{17}", False, None),
        ("\\boxed{dlpoh", False, None),
        ("dlpoh", False, None),
        ("\\boxed{}", False, None),
    ],
)
def test_boxed_letters(text: str, correct: bool, extracted: str | None) -> None:
    [verdict] = BoxedLetters().grade([(text, "dlpoh")])
    assert (verdict.correct, verdict.extracted, verdict.vote) == (correct, extracted, extracted)
    assert verdict.why


def test_a_gold_that_is_no_row_of_letters_is_an_error_of_the_benchmark() -> None:
    with pytest.raises(ValueError, match="'17' is not a row of letters"):
        BoxedLetters().grade([("\\boxed{17}", "17")])
