"""GSM8K: reading, prompting, and grading with math-verify, hostile answers included."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from tasks.catalogue import resolve
from tasks.contract import Sample
from tasks.errors import DataUnavailable
from tasks.l2s.benchmarks import GSM8K
from tasks.l2s.golds import after_marker
from tasks.l2s.math_verify_grader import MathVerify

ROWS = [
    {"question": "Ann has 2 pens and buys 3. How many?", "answer": "2+3=<<2+3=5>>5\n#### 5", "idx": 0},
    {
        "question": "A house costs $1,000,000. Twice that?",
        "answer": "It is 2,000,000\n#### 2,000,000",
        "idx": 1,
    },
    {"question": "It drops from 1 to -3?", "answer": "1-4\n#### -3"},
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "gsm8k").mkdir()
    write(tmp_path, *map(json.dumps, ROWS))
    return tmp_path


def write(folder: Path, *lines: str) -> None:
    (folder / "gsm8k" / "test.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_samples_from_a_local_folder(folder: Path) -> None:
    samples, source = GSM8K.load("test", folder)
    assert [sample.target for sample in samples] == ["5", "2000000", "-3"]
    assert [sample.question for sample in samples] == [row["question"] for row in ROWS]
    assert [sample.id for sample in samples] == ["gsm8k-test-00000", "gsm8k-test-00001", "gsm8k-test-00002"]
    assert source.location == str(folder / "gsm8k" / "test.jsonl")
    write(folder, *map(json.dumps, ROWS[:2]))
    assert GSM8K.load("test", folder)[1].revision != source.revision


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"question": "x"'], "line 1 is not JSON"),
        (["[1]"], "line 1 is not a JSON object but list"),
        (
            ['{"question": "x", "solution": "y"}'],
            "row 1 of .* has no 'answer' .it has 'question', 'solution'",
        ),
        (['{"question": "x", "answer": "five"}'], "ends in '#### NUMBER', this one does not: 'five'"),
        (['{"question": "x", "answer": "five #### "}'], "ends in '#### NUMBER'"),
        ([""], "holds no rows"),
    ],
)
def test_a_damaged_file_is_refused_with_the_place(folder: Path, lines: list[str], message: str) -> None:
    write(folder, *lines)
    with pytest.raises(DataUnavailable, match=message):
        GSM8K.load("test", folder)


def test_a_folder_without_the_file_says_what_it_should_hold(tmp_path: Path) -> None:
    with pytest.raises(
        DataUnavailable, match=r"gsm8k/test\.jsonl: No such file.*must hold gsm8k/test\.jsonl"
    ):
        GSM8K.load("test", tmp_path)


def test_without_a_network_the_error_tells_the_way_around() -> None:
    # The tests run with the Hub switched off (conftest.py).
    with pytest.raises(
        DataUnavailable, match=r"cannot read openai/gsm8k.*--data-dir FOLDER.*gsm8k/test\.jsonl"
    ):
        GSM8K.load("test", None)


def test_gold_is_what_follows_the_last_marker() -> None:
    assert after_marker("#### 3 apples\n#### 1,234") == "1234"


def test_prompt_is_the_toolkits_chat_format() -> None:
    [benchmark] = resolve("gsm8k").benchmarks
    mode, _ = benchmark.prompts
    assert mode == "qwen25-math-cot"
    sample = Sample("x", "What is 1+1?", "2")
    assert benchmark.prompts[mode](sample) == (
        "<|im_start|>system\n"
        "Please reason step by step, and put your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>user\nWhat is 1+1?<|im_end|>\n<|im_start|>assistant\n"
    )
    [draw] = benchmark.protocols
    assert draw.sampling.max_new_tokens == 10_240
    assert draw.sampling.stop == ("</s>", "<|im_end|>", "<|endoftext|>")
    assert draw.sampling.temperature == 0


GRADED = [
    ("so it is \\boxed{18}.", "18", True, "18", "18"),
    ("\\boxed{17} no: \\boxed{18}", "18", True, "18", "18"),
    ("\\boxed{17} and \\boxed{18}", "18", True, "18", "18"),
    ("Of 3 and 5, \\boxed{}", "5", False, None, None),
    ("\\boxed{17}, wait, \\boxed{18", "18", False, "17", "17"),
    ("The answer is 18.0", "18", True, "18.0", "18"),
    ("It costs $1,234$ in all", "1234", True, "1,234", "1234"),
    ("$x = \\frac{36}{2}$", "18", True, "x = \\frac{36}{2}", "18"),
    ("\\boxed{\\frac{2}{4}}", "0.5", True, "\\frac{2}{4}", "1/2"),
    ("0.50", "1/2", True, "0.50", "1/2"),
    ("50%", "0.5", True, "50", "1/2"),
    ("$\\sqrt{8}$", "2\\sqrt{2}", True, "\\sqrt{8}", "2*sqrt(2)"),
    ("\\boxed{19}", "18", False, "19", "19"),
    ("I do not know.", "18", False, None, None),
    ("", "18", False, None, None),
]


def test_math_verify_grades_and_names_the_cluster() -> None:
    verdicts = MathVerify().grade([(text, target) for text, target, *_ in GRADED])
    found = [(v.correct, v.extracted, v.vote) for v in verdicts]
    assert found == [tuple(expected) for _, _, *expected in GRADED]
    assert all(v.why for v in verdicts)


HOSTILE = [
    "\\boxed{9^{9^{9^{9^{9}}}}}",
    "The answer is 10**10**10**10",
    "{" * 10**6,
    "\\boxed{" * 150_000,
    "\\boxed{" + "1+" * 100_000 + "1}",
    "\\boxed{\\sqrt{" + "(" * 5000 + "2" + ")" * 5000 + "}}",
    "\\boxed{" + "9" * 5000 + "}",
    "\\boxed{100000!}",
    "\\boxed{\\int_0^{\\infty} x^{x^{x}} dx}",
]


def test_hostile_answers_are_wrong_and_do_not_stop_the_others() -> None:
    started = time.monotonic()
    pairs = [(text, "3") for text in HOSTILE] + [("still \\boxed{3}", "3")]
    verdicts = MathVerify(seconds=1).grade(pairs)
    assert [v.correct for v in verdicts] == [False] * len(HOSTILE) + [True]
    assert "timed out" in verdicts[0].why and verdicts[0].vote is None
    assert time.monotonic() - started < 100  # one second of processor time each at most


def test_the_version_names_the_package_that_decides() -> None:
    assert MathVerify().version.startswith("1+math-verify-0.")


@pytest.mark.parametrize("wrong", [False, True])
def test_the_golds_of_a_worked_answer_grade_as_they_should(folder: Path, wrong: bool) -> None:
    samples, _ = GSM8K.load("test", folder)
    pairs = [
        (f"Step by step. The answer is \\boxed{{{s.target}{'1' if wrong else ''}}}", s.target)
        for s in samples
    ]
    assert [v.correct for v in MathVerify().grade(pairs)] == [not wrong] * len(samples)
