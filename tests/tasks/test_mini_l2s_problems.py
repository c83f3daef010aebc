"""The generator of the mini L2S suite: splits, sizes, determinism, and answers checked independently."""

from __future__ import annotations

import hashlib
import itertools
import re
import time

import pytest

from tasks.mini_l2s import problems as suite
from tasks.mini_l2s.problems import LEVELS, Problem, direct, long_chain, problems, short_chain, train_stream

EVALUATION_SPLITS = ("validation", "test")
TRAIN_SAMPLE = 3000


def _solve_story(question: str) -> int:
    """Read a story sentence by sentence and keep the owner's total."""
    total = 0
    for sentence in re.split(r"(?<=[.?]) ", question):
        numbers = [int(n) for n in re.findall(r"\d+", sentence)]
        if "bags of" in sentence:
            total += numbers[0] * numbers[1]
        elif " has " in sentence or " buys " in sentence:
            total += numbers[0]
        elif "half" in sentence:
            total //= 2
        elif "doubles" in sentence:
            total *= 2
        elif "triples" in sentence:
            total *= 3
        elif numbers:
            total -= numbers[0]
    return total


def _solve_comparison(question: str) -> int:
    """Two owners, the second described relative to the first, and what happens to both together."""
    sentences = re.split(r"(?<=[.?]) ", question)
    first = int(re.findall(r"\d+", sentences[0])[0])
    number = int(re.findall(r"\d+", sentences[1])[0])
    relation = sentences[1]
    second = first * number if "times" in relation else first + (number if "more" in relation else -number)
    total = first + second
    for sentence in sentences[2:-1]:
        amount = int(re.findall(r"\d+", sentence)[0])
        total += amount if "buy" in sentence else -amount
    return total


def _solve_shopping(question: str) -> int:
    """Quantities times prices; the cost, or what is left of the money."""
    cost = sum(int(n) * int(price) for n, price in re.findall(r"(\d+) \w+ for (\d+) each", question))
    money = re.search(r"has (\d+)\.", question)
    return int(money.group(1)) - cost if money else cost


def _solve(problem: Problem) -> int:
    """The answer of a problem, computed from the text of its question alone."""
    question = problem.question
    if problem.level == "mini_math":
        expression = re.fullmatch(r"Compute ([\d+*()-]+)\.", question)
        assert expression is not None
        return int(eval(expression.group(1), {"__builtins__": {}}))
    if problem.level == "mini_aime":
        start, factor, shift, modulus, rounds = (int(n) for n in re.findall(r"\d+", question))
        for _ in range(rounds):
            start = (factor * start + shift) % modulus
        return start
    if " each" in question:
        return _solve_shopping(question)
    return _solve_comparison(question) if " they have?" in question else _solve_story(question)


def _equation_holds(equation: str) -> bool:
    left, right = equation.split("=")
    return eval(left.replace("/", "//"), {"__builtins__": {}}) == int(right)


@pytest.fixture(scope="module")
def evaluation() -> dict[tuple[str, str], list[Problem]]:
    return {(level, split): problems(level, split) for level in LEVELS for split in EVALUATION_SPLITS}


def test_published_sizes(evaluation: dict[tuple[str, str], list[Problem]]) -> None:
    sizes = {key: len(found) for key, found in evaluation.items()}
    assert sizes["mini_gsm", "test"] >= 500
    assert sizes["mini_math", "test"] >= 300
    assert sizes["mini_aime", "test"] >= 60
    assert all(sizes[level, "validation"] >= 60 for level in LEVELS)


@pytest.mark.parametrize("level", LEVELS)
def test_splits_are_disjoint(level: str, evaluation: dict[tuple[str, str], list[Problem]]) -> None:
    test = {problem.question for problem in evaluation[level, "test"]}
    validation = {problem.question for problem in evaluation[level, "validation"]}
    train = {problem.question for problem in itertools.islice(train_stream(level, 11), TRAIN_SAMPLE)}
    assert not test & validation
    assert not train & (test | validation)


@pytest.mark.parametrize("level", LEVELS)
def test_splits_share_no_arithmetic(level: str, evaluation: dict[tuple[str, str], list[Problem]]) -> None:
    """Not even the sums below the story are shared."""
    test = {problem.steps for problem in evaluation[level, "test"]}
    validation = {problem.steps for problem in evaluation[level, "validation"]}
    train = {problem.steps for problem in itertools.islice(train_stream(level, 12), TRAIN_SAMPLE)}
    assert len(test) == len(evaluation[level, "test"])
    assert not test & validation
    assert not train & (test | validation)


def test_questions_and_ids_are_unique(evaluation: dict[tuple[str, str], list[Problem]]) -> None:
    everything = [problem for found in evaluation.values() for problem in found]
    assert len({problem.question for problem in everything}) == len(everything)
    assert len({problem.id for problem in everything}) == len(everything)


@pytest.mark.parametrize("level", LEVELS)
def test_answers_follow_from_the_question_text(
    level: str, evaluation: dict[tuple[str, str], list[Problem]]
) -> None:
    sample = itertools.islice(train_stream(level, 13), TRAIN_SAMPLE)
    for problem in itertools.chain(evaluation[level, "test"], evaluation[level, "validation"], sample):
        assert _solve(problem) == problem.answer, problem.question
        assert 0 <= problem.answer <= 999


@pytest.mark.parametrize("level", LEVELS)
def test_every_rendered_equation_holds(level: str) -> None:
    for problem in itertools.islice(train_stream(level, 14), TRAIN_SAMPLE):
        equations = re.findall(r"\d+[-+*/]\d+=\d+", long_chain(problem))
        assert len(equations) == 2 * len(problem.steps)
        assert all(map(_equation_holds, equations)), long_chain(problem)
        assert re.findall(r"\d+[-+*/]\d+=\d+", short_chain(problem)) == equations[::2]
        assert int(equations[-2].split("=")[1]) % suite.MODULUS == problem.answer


@pytest.mark.parametrize("render", suite.STYLES.values())
def test_every_style_ends_with_the_boxed_answer(render: object) -> None:
    assert callable(render)
    for level in LEVELS:
        for problem in problems(level, "test", 20):
            text = render(problem)
            assert text.startswith(" ")
            assert text.endswith(f"\\boxed{{{problem.answer}}}")


def test_styles_grow_in_length() -> None:
    problem = problems("mini_gsm", "test", 1)[0]
    assert len(direct(problem)) < len(short_chain(problem)) < len(long_chain(problem))


def test_prefix_is_stable_and_n_extends() -> None:
    assert problems("mini_math", "test", 40) == problems("mini_math", "test")[:40]
    assert len(problems("mini_aime", "test", 200)) == 200


def test_splits_are_the_published_ones() -> None:
    """A digest of all questions and answers: the splits are the same everywhere and never drift."""
    digest = hashlib.sha256()
    for level in LEVELS:
        for split in EVALUATION_SPLITS:
            for problem in problems(level, split):
                digest.update(f"{problem.id}\t{problem.question}\t{problem.answer}\n".encode("ascii"))
    assert digest.hexdigest() == "0f0b10f1b2f3b8b023ce35a5e09d7d05808bdcbbc4e71d41e68e1e9e2797768c"


def test_streams_differ_by_seed_and_repeat_by_seed() -> None:
    def first(seed: int) -> list[str]:
        return [problem.question for problem in itertools.islice(train_stream("mini_gsm", seed), 20)]

    assert first(1) == first(1)
    assert first(1) != first(2)


def test_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown level"):
        problems("mini_chess", "test", 1)


def test_all_evaluation_splits_are_generated_quickly() -> None:
    started = time.process_time()
    for level in LEVELS:
        for split in EVALUATION_SPLITS:
            problems(level, split)
    assert time.process_time() - started < 2.0
