"""Coding benchmarks beside lm-eval 0.4.13's own tasks: prompts, stop strings, budgets and programs, text by text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.coding.benchmarks import (
    HUMANEVAL,
    HUMANEVAL_PLUS,
    MBPP_PLUS_DOCSTRING,
    MBPP_PLUS_FULL,
    MBPP_PLUS_LMEVAL,
)
from tasks.coding.grader import Executed, completed, standing_alone
from tasks.contract import Answer, Benchmark, Sample
from tasks.errors import DataUnavailable
from tasks.sandbox import Limits, available

DEFAULT_BUDGET = 256  # lm-eval's models take it where a task says nothing
REASON = available()
sandboxed = pytest.mark.skipif(REASON is not None, reason=f"no sandbox: {REASON}")


def humaneval_row(n: int) -> dict[str, Any]:
    signature = f"def add_{n}(a: int) -> int:\n"
    return {
        "task_id": f"HumanEval/{n}",
        "prompt": f'from typing import List\n\n\n{signature}    """ Add {n} to a.\n    >>> add_{n}(1)\n    """\n',
        "canonical_solution": f"    return a + {n}\n",
        "entry_point": f"add_{n}",
        "test": f"\n\nMETADATA = {{}}\n\n\ndef check(candidate):\n    assert candidate(1) == {n + 1}\n",
    }


def mbpp_row(n: int) -> dict[str, Any]:
    """The columns of evalplus/mbppplus; its test is a program with numpy, as there."""
    return {
        "task_id": n,
        "code": f"\r\ndef times(a):\r\n  return a * {n} ",
        "prompt": f"Write a function to multiply by {n}: {{a}} < 'b' & \"c\".",
        "source_file": "Benchmark Questions Verification V2.ipynb",
        "test_imports": [],
        "test_list": [f"assert times({k}) == {k * n} " for k in range(3 + n % 2)],
        "test": f"import numpy as np\n\nfor a in range(9):\n    assert np.allclose(times(a), {n} * a)\n",
    }


ROWS = {"humaneval": humaneval_row, "mbpp": mbpp_row}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name, kind in (("humaneval", "humaneval"), ("humaneval_plus", "humaneval"), ("mbpp_plus", "mbpp")):
        (folder / name).mkdir()
        lines = [json.dumps(ROWS[kind](n)) + "\n" for n in range(2, 14)]
        (folder / name / "test.jsonl").write_text("".join(lines))
    return folder


class Metric:
    """In place of `code_eval`, which lm-eval fetches from the Hub: writes down what would be run."""

    def __init__(self) -> None:
        self.programs: list[str] = []

    def compute(self, references: Any, predictions: Any, k: Any = None) -> Any:
        """The programs are those of `code_eval`: each candidate, a line end, its test."""
        for tests, candidates in zip(references, predictions, strict=False):
            self.programs += [f"{candidate}\n{tests}" for candidate in candidates]
        return [{f"pass@{n}": 1.0 for n in k or [1]}]


@pytest.fixture(scope="module")
def metric() -> Iterator[Metric]:
    """One for all: lm-eval's tasks load theirs once in a process."""
    evaluate = pytest.importorskip("evaluate", reason="lm-eval is not installed: the extra lm-eval")
    made = Metric()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "load", lambda *args, **kwargs: made)
        yield made


def theirs(name: str, folder: str, rows: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> Any:
    """lm-eval's task of this name, its files untouched, on these rows."""
    import lm_eval
    from datasets import Dataset, DatasetDict
    from lm_eval.api.task import ConfigurableTask
    from lm_eval.tasks import TaskManager

    rows_here = DatasetDict({"test": Dataset.from_list(rows)})
    monkeypatch.setattr(
        ConfigurableTask, "download", lambda self, *a, **k: setattr(self, "dataset", rows_here)
    )
    place = Path(lm_eval.__file__).parent / "tasks" / folder
    task = TaskManager(include_path=place, include_defaults=False).load([name])["tasks"][name]
    task.build_all_requests(limit=None, rank=0, world_size=1)
    return task


@pytest.mark.parametrize(
    ("benchmark", "name", "kind", "answer", "assemble"),
    [
        (HUMANEVAL, "humaneval", "humaneval", "    return a\n\n", completed),
        (HUMANEVAL_PLUS, "humaneval_plus", "humaneval", "\n    return a", completed),
        (MBPP_PLUS_LMEVAL, "mbpp_plus", "mbpp", "def times(a):\n    return 2 * a\n", standing_alone),
    ],
    ids=["humaneval", "humaneval_plus", "mbpp_plus"],
)
def test_what_is_asked_and_run_is_what_lm_eval_asks_and_runs(
    benchmark: Benchmark, name: str, kind: str, answer: str, assemble: Any, data: Path, metric: Metric,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    task = theirs(name, kind, [ROWS[kind](n) for n in range(2, 14)], monkeypatch)
    samples, _ = benchmark.load("test", data)
    (prompt,) = benchmark.prompts.values()
    (draw,) = benchmark.protocols
    assert [prompt(sample) for sample in samples] == [one.args[0] for one in task.instances]
    for instance in task.instances:
        kwargs = instance.args[1]
        assert tuple(kwargs["until"]) == draw.sampling.stop
        assert kwargs.get("max_gen_toks", DEFAULT_BUDGET) == draw.sampling.max_new_tokens
        assert not kwargs["do_sample"] and draw.sampling.temperature == 0.0 and draw.n == 1
        instance.resps = [answer]
    task.apply_filters()
    metric.programs.clear()  # of the metric's own trial when it is loaded
    for instance in task.instances:
        found = next(iter(instance.filtered_resps.values()))
        task.process_results(instance.doc, [found])
    assert len(metric.programs) == len(samples) == 12
    assert [assemble(answered(sample, answer)) for sample in samples] == metric.programs


def answered(sample: Sample, text: str) -> Answer:
    return Answer(sample.question, text, sample.target, sample.reference)


def test_the_whole_of_mbpp_plus_is_asked_as_lm_eval_asks_and_runs_its_own_tests(data: Path) -> None:
    full, _ = MBPP_PLUS_FULL.load("test", data)
    base, _ = MBPP_PLUS_LMEVAL.load("test", data)
    assert [MBPP_PLUS_FULL.prompts["three-shot"](one) for one in full] == [
        MBPP_PLUS_LMEVAL.prompts["three-shot"](one) for one in base
    ]
    assert full[0].reference == mbpp_row(2)["test"] and "np.allclose" not in str(base[0].reference)


def test_the_docstring_prompt_is_that_of_the_bigcode_harness(data: Path) -> None:
    """Prompt and program written out by hand from bigcode_eval/tasks/mbppplus.py."""
    (sample, *_), _ = MBPP_PLUS_DOCSTRING.load("test", data)
    prompt = '"""\nWrite a function to multiply by 2: {a} < \'b\' & "c".\nassert times(0) == 0 \n"""\n'
    assert MBPP_PLUS_DOCSTRING.prompts["docstring"](sample) == prompt
    code = "def times(a):\n    return 2 * a"
    assert completed(answered(sample, code)) == f"{prompt}{code}\n\n{mbpp_row(2)['test']}"


@sandboxed
@pytest.mark.parametrize("benchmark", [HUMANEVAL_PLUS, MBPP_PLUS_FULL, MBPP_PLUS_LMEVAL, MBPP_PLUS_DOCSTRING])
def test_right_programs_pass_and_wrong_ones_do_not(benchmark: Benchmark, data: Path) -> None:
    samples, _ = benchmark.load("test", data)
    grader = benchmark.grader()
    assert isinstance(grader, Executed)
    verdicts = grader.grade_answers([answered(sample, sample.target) for sample in samples[:6]])
    assert all(verdict.correct and verdict.extracted == "passed" for verdict in verdicts), verdicts
    # The right program of the next question is the wrong one of this.
    others = [answered(one, other.target) for one, other in zip(samples, samples[1:], strict=False)]
    assert not any(verdict.correct for verdict in grader.grade_answers(others))
    grader.close()


@sandboxed
def test_what_the_shown_assertions_miss_the_whole_tests_find(data: Path) -> None:
    program = "def times(a):\n    return a * 2 if a < 5 else 0"
    passed = []
    for benchmark in (MBPP_PLUS_LMEVAL, MBPP_PLUS_FULL):
        (sample, *_), _ = benchmark.load("test", data)
        grader = benchmark.grader()
        assert isinstance(grader, Executed)
        passed += [verdict.correct for verdict in grader.grade_answers([answered(sample, program)])]
        grader.close()
    assert passed == [True, False]


@sandboxed
def test_no_answer_is_not_a_wrong_answer_and_limits_are_named() -> None:
    grader = Executed(standing_alone, Limits(seconds=0.5))
    texts = [
        " \n",
        "while True: pass",
        "x = 'x' * (1 << 34)",
        "import os; os.kill(os.getpid(), 9)",
        "x = 1",
        "x = 2",
    ]
    verdicts = grader.grade_answers([Answer("", text, "", "assert x == 1") for text in texts])
    grader.close()
    assert [verdict.extracted for verdict in verdicts] == [
        None, "timed out", "out of memory", "killed", "passed", "failed",
    ]  # fmt: skip
    assert [verdict.correct for verdict in verdicts] == [False] * 4 + [True, False]
    starts = ["nothing", "time limit", "memory limit", "process ended", "it runs", "failed: AssertionError"]
    assert all(v.why.startswith(start) for v, start in zip(verdicts, starts, strict=True)), verdicts


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"test_list": ["assert True"]}, "row 1 of .* 3 assertions or more"),
        ({"prompt": ""}, "prompt is a text"),
        ({"test": None}, "test is a text"),
    ],
)
def test_rows_that_are_not_problems_are_refused(change: dict[str, Any], said: str, tmp_path: Path) -> None:
    (tmp_path / "mbpp_plus_full").mkdir()
    (tmp_path / "mbpp_plus_full" / "test.jsonl").write_text(json.dumps(mbpp_row(2) | change) + "\n")
    with pytest.raises(DataUnavailable, match=said):
        MBPP_PLUS_FULL.load("test", tmp_path)


def test_a_part_is_remarked_and_too_many_are_refused(data: Path, tmp_path: Path) -> None:
    _, source = MBPP_PLUS_FULL.load("test", data)
    assert any("holds 12 problems, the benchmark has 378" in remark for remark in source.remarks)
    assert any("read from the folder mbpp_plus" in remark for remark in source.remarks)
    (tmp_path / "humaneval").mkdir()
    (tmp_path / "humaneval" / "test.jsonl").write_text((json.dumps(humaneval_row(1)) + "\n") * 165)
    with pytest.raises(DataUnavailable, match="165 problems of humaneval, which has 164"):
        HUMANEVAL.load("test", tmp_path)
