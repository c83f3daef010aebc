"""GSM8K: reading, prompting, and its golds under the strict grader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.catalogue import resolve
from tasks.contract import Sample
from tasks.errors import DataUnavailable
from tasks.l2s.benchmarks import GSM8K
from tasks.l2s.golds import after_marker
from tasks.strict.grader import Strict

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


@pytest.mark.parametrize("wrong", [False, True])
def test_the_golds_of_a_worked_answer_grade_as_they_should(folder: Path, wrong: bool) -> None:
    samples, _ = GSM8K.load("test", folder)
    pairs = [
        (f"Step by step. The answer is \\boxed{{{s.target}{'1' if wrong else ''}}}", s.target)
        for s in samples
    ]
    assert [v.correct for v in Strict("gsm8k").grade(pairs)] == [not wrong] * len(samples)
