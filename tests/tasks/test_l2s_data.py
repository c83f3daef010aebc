"""The six Long-to-Short benchmarks: counts, golds, prompts, copies with other columns, and damaged sources."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tasks.catalogue import resolve
from tasks.contract import Benchmark, Message, Sample
from tasks.errors import DataUnavailable
from tasks.golds import gold_text
from tasks.l2s import golds
from tasks.l2s.prompts import INSTRUCTION
from tests.helpers.l2s import REAL, SIZES, data, raw, write

SUITE = resolve("l2s")


def benchmark(name: str) -> Benchmark:
    [found] = resolve(name).benchmarks
    return found


def test_every_problem_of_the_local_data_is_read(tmp_path: Path) -> None:
    folder = data(tmp_path)
    found = {b.name: b.load("test", folder) for b in SUITE.benchmarks}
    assert {name: len(samples) for name, (samples, _) in found.items()} == SIZES
    assert sum(SIZES.values()) == 5614
    for name, (samples, source) in found.items():
        assert len({sample.id for sample in samples}) == len(samples)
        assert all(s.question.strip() and s.target.strip() for s in samples)
        assert len(source.remarks) == (name == "minerva_ocw")
    [remark] = found["minerva_ocw"][1].remarks
    assert "minerva_ocw was read from the folder minerva_math" in remark


def test_golds_are_those_of_the_raw_rows(tmp_path: Path) -> None:
    """Another way to the same text: plain string operations on the files."""
    folder = data(tmp_path)
    rows = {name: raw(folder, name) for name in SIZES}
    golds = {b.name: [sample.target for sample in b.load("test", folder)[0]] for b in SUITE.benchmarks}
    assert golds["gsm8k"] == [r["answer"].split("#### ")[1].replace(",", "") for r in rows["gsm8k"]]
    assert golds["math500"] == [r["answer"] for r in rows["math500"]]
    assert golds["aime24"] == [r["answer"] for r in rows["aime24"]]
    assert golds["college_math"] == [r["answer"].replace("$", "") for r in rows["college_math"]]
    for row, gold in zip(rows["olympiadbench"], golds["olympiadbench"], strict=True):
        assert gold in row["final_answer"][0] and "$" not in (gold[0], gold[-1])
    for row, gold in zip(rows["minerva_ocw"], golds["minerva_ocw"], strict=True):
        assert row["solution"].count(r"\boxed") == 1 and "\\boxed{" + gold + "}" in row["solution"]


def test_a_question_of_two_answers_names_them(tmp_path: Path) -> None:
    college = benchmark("college_math")
    samples = college.load("test", data(tmp_path))[0]
    prompt = college.prompts["qwen25-math-cot"]
    suffixed = [s for s in samples if "(Yes or No)<|im_end|>" in str(prompt(s))]
    assert suffixed == [s for s in samples if s.target.lower() in ("yes", "no")] != []
    assert not any("(Yes or No)" in s.question for s in suffixed)


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", ""))
    except ValueError:
        return False
    return True


@pytest.mark.l2s_data
def test_the_facts_of_the_reference_hold() -> None:
    """Numeric golds, multi-answer rows, answer types, topics, levels, questions of two answers."""
    found = {b.name: b.load("test", REAL)[0] for b in SUITE.benchmarks}
    assert sum(_is_number(sample.target) for sample in found["minerva_ocw"]) == 188
    olympiad = [sample.meta for sample in found["olympiadbench"]]
    assert sum(meta["is_multiple_answer"] for meta in olympiad) == 94
    types = Counter(meta["answer_type"] for meta in olympiad)
    assert types == {"Numerical": 572, "Expression": 64, "Tuple": 33, "Interval": 6}
    assert (sum("error" in meta for meta in olympiad), sum("unit" in meta for meta in olympiad)) == (1, 8)
    topics = Counter(sample.meta["data_topic"] for sample in found["college_math"])
    assert sorted(topics.values()) == [110, 139, 260, 309, 500, 500, 1000]
    assert sum(s.target.lower() in ("yes", "no") for s in found["college_math"]) == 16
    assert {sample.meta["level"] for sample in found["math500"]} == {1, 2, 3, 4, 5}
    assert all(sample.meta["subject"] for sample in found["math500"])
    aime = [sample.target for sample in found["aime24"]]
    assert all(0 <= int(gold) <= 999 and len(gold) == 3 for gold in aime) and "025" in aime


def test_prompts_are_the_toolkits_layout_and_one_user_turn() -> None:
    sample = Sample("x", "Is 2 prime?", "True")
    for found in SUITE.benchmarks:
        assert list(found.prompts) == ["qwen25-math-cot", "chat"]
        assert found.prompts["qwen25-math-cot"](sample) == (
            "<|im_start|>system\nPlease reason step by step, and put your final answer within \\boxed{}."
            "<|im_end|>\n<|im_start|>user\nIs 2 prime? (True or False)<|im_end|>\n<|im_start|>assistant\n"
        )
        assert found.prompts["chat"](sample) == (
            Message("user", f"Is 2 prime? (True or False)\n{INSTRUCTION}"),
        )


def test_protocols_are_those_of_the_reference() -> None:
    for found in SUITE.benchmarks:
        greedy, *others = found.protocols
        assert (greedy.name, greedy.n, greedy.sampling.temperature) == ("greedy", 1, 0)
        assert all(draw.sampling.max_new_tokens == 10_240 for draw in found.protocols)
        assert all(draw.sampling.stop == ("</s>", "<|im_end|>", "<|endoftext|>") for draw in found.protocols)
        if found.name != "aime24":
            assert not others
    [sampled] = benchmark("aime24").protocols[1:]
    assert (sampled.sampling.temperature, sampled.sampling.top_p) == (0.3, 1.0)
    assert (sampled.n, sampled.votes) == (32, (1, 8, 16, 32))


COPIES: list[tuple[str, dict[str, Any], str, str]] = [
    ("aime24", {"ID": "2024-I-3", "Problem": "q", "Solution": "s", "Answer": 25}, "q", "025"),
    (
        "aime24",
        {"id": 60, "problem": "q", "answer": "025", "url": "x/2024_AIME_I_Problems/Problem_1"},
        "q",
        "025",
    ),
    ("minerva_ocw", {"problem": "q", "solution": r"so \boxed{1.6e3} m", "type": "Astronomy"}, "q", "1.6e3"),
    ("minerva_ocw", {"question": "q", "answer": "1.6e3"}, "q", "1.6e3"),
    ("olympiadbench", {"question": "q", "final_answer": ["$69$,$84$"]}, "q", "69$,$84"),
    ("college_math", {"question": "q", "answer": "$x=1$ or $x=2$"}, "q", "x=1 or x=2"),
    ("math500", {"problem": "q", "answer": r"\frac12", "level": 3, "subject": "Algebra"}, "q", r"\frac12"),
    ("gsm8k", {"question": "q", "answer": "1+1\n#### 2,000"}, "q", "2000"),
]


@pytest.mark.parametrize(("name", "row", "question", "target"), COPIES)
def test_copies_with_other_columns(
    tmp_path: Path, name: str, row: dict[str, Any], question: str, target: str
) -> None:
    samples, source = benchmark(name).load("test", write(tmp_path, name, [row]))
    assert [(s.question, s.target) for s in samples] == [(question, target)]
    [remark] = source.remarks
    assert remark.startswith(f"{name}: ") and f"holds 1 rows, the benchmark has {SIZES[name]}" in remark


def test_of_three_years_of_aime_only_2024_is_asked(tmp_path: Path) -> None:
    rows = [
        {"problem": f"{year}-{n}", "answer": n, "url": f"w/{year}_AIME_I_Problems/Problem_{n}"}
        for year in (2022, 2023, 2024)
        for n in range(30)
    ]
    samples, source = benchmark("aime24").load("test", write(tmp_path, "aime24", rows))
    assert [s.question for s in samples] == [f"2024-{n}" for n in range(30)]
    assert source.remarks == ()


@pytest.mark.parametrize(
    ("name", "rows", "message"),
    [
        ("aime24", [{"problem": "q", "answer": "1"}] * 31, "holds 31 rows of aime24, which has 30 .test."),
        (
            "aime24",
            [{"problem": "q", "answer": "1000"}],
            "row 1 of .*integer from 0 to 999, this one is '1000'",
        ),
        (
            "aime24",
            [{"problem": "q", "gold": "1"}],
            "row 1 of .* has no 'answer' or 'Answer' .it has 'problem'",
        ),
        ("aime24", [{"x": 1}], "has no 'problem' or 'Problem' or 'question', 'answer' or 'Answer'"),
        ("math500", [{"problem": "q", "answer": ""}], "a gold answer is a text, this one is ''"),
        ("math500", [{"problem": None, "answer": "1"}], "a question is a text, this one is None"),
        ("minerva_ocw", [{"problem": "q", "solution": "none"}], r"holds its answer in .*boxed"),
        ("olympiadbench", [{"question": "q", "final_answer": "2"}], "final_answer is a list of one text"),
        ("olympiadbench", [{"question": "q", "final_answer": []}], "final_answer is a list of one text"),
    ],
)
def test_what_is_not_the_benchmark_is_refused(
    tmp_path: Path, name: str, rows: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(DataUnavailable, match=message):
        benchmark(name).load("test", write(tmp_path, name, rows))


def test_either_folder_name_serves_minerva_and_ours_comes_first(tmp_path: Path) -> None:
    found = benchmark("minerva_ocw")
    write(tmp_path, "minerva_math", [{"question": "theirs", "answer": "1"}])
    for folder in (tmp_path, tmp_path / "minerva_math"):
        samples, source = found.load("test", folder)
        assert samples[0].question == "theirs" and "from the folder minerva_math" in source.remarks[0]
    write(tmp_path, "minerva_ocw", [{"question": "ours", "answer": "1"}])
    samples, source = found.load("test", tmp_path)
    assert samples[0].question == "ours" and not any("from the folder" in remark for remark in source.remarks)
    with pytest.raises(DataUnavailable, match=r"minerva_ocw/test\.jsonl or minerva_math/test\.jsonl"):
        found.load("test", tmp_path / "nothing")


@pytest.mark.parametrize(
    ("parse", "raw", "gold"),
    [
        (golds.first_of_list, [r"$(-\infty, 0) \cup\{1\}$."], r"(-\infty, 0) \cup\{1\}$."),
        (golds.undollared, "$ 3 $", " 3 "),
        (golds.boxed, r"\boxed{\frac{1}{2}} and no more", r"\frac{1}{2}"),
        (golds.aime, 7, "007"),
        (golds.aime, "073", "073"),
    ],
)
def test_gold_parsers(parse: Callable[[Any], str], raw: Any, gold: str) -> None:
    assert parse(raw) == gold


@pytest.mark.parametrize(
    ("name", "strict", "raw", "gold"),
    [
        ("gsm8k", golds.after_marker, "2 * 9 = 18\n#### 18", "18"),
        ("olympiadbench", golds.first_of_list, ["$2$, $-3$"], "2$, $-3"),
        ("college_math", golds.undollared, "so $x=3$ and $4$", "so x=3 and 4"),
        ("math500", golds.plain, r"\$5", r"\$5"),
    ],
)
def test_graders_take_a_gold_as_the_data_have_it_and_as_it_was_read(
    name: str, strict: Callable[[Any], str], raw: Any, gold: str
) -> None:
    assert gold_text(name, raw) == gold_text(name, strict(raw)) == gold
