"""`bench grade`: outputs of another tool under both graders, with votes and reasons, and clear refusals."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import get_args

import pytest
from typer.testing import CliRunner

from bench.cli import app
from bench.errors import BadInput
from bench.grade import grade_outputs, listed, notes, read_outputs, records, summary
from results.scores import stopped_at_limit
from results.text import MISSING
from tasks.limits import Outcome, Status, limit_reached
from tests.bench.command import bench

QUESTIONS = [
    # qwen_compat: the list is one number, so its order matters; the box of 50 is no 1/2 (rule 9 knows no factor)
    {"responses": ["\\boxed{2,1}", "\\boxed{1,2}", "\\boxed{2, 1}"], "answer": "$1,2$"},
    {"responses": ["\\boxed{\\frac{1}{2}}", "no idea", "\\boxed{0.5}"], "answer": "$\\frac{1}{2}$"},
]


def write(folder: Path, *rows: object) -> Path:
    path = folder / "outputs.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return path


def test_both_graders_votes_flips_and_records(tmp_path: Path) -> None:
    graded = grade_outputs(read_outputs(write(tmp_path, *QUESTIONS), "college_math"), "college_math")
    assert [v.correct for v in graded.verdicts["qwen_compat"]] == [False, True, False, True, False, True]
    assert [v.correct for v in graded.verdicts["strict"]] == [True, True, True, True, False, True]
    assert graded.flips == 2
    rows = {(row["grader"], row["metric"]): row["percent"] for row in summary(graded)}
    assert rows["qwen_compat", "accuracy"] == 50 and rows["strict", "accuracy"] == pytest.approx(500 / 6)
    # toolkit: "2,1" wins the first question (wrong); of three different texts the first wins the second (right)
    assert rows["qwen_compat", "maj@3 toolkit"] == 50
    # robust: 1/2 and 0.5 are one cluster, no answer does not vote; the three lists are one to the strict grader
    assert rows["strict", "maj@3 robust"] == 100
    found = list(records(graded))
    assert [(r["line"], r["response"]) for r in found] == [(1, 0), (1, 1), (1, 2), (2, 0), (2, 1), (2, 2)]
    assert found[4]["strict"]["extracted"] is None and found[4]["qwen_compat"]["why"].startswith("extraction")
    assert "2 of 6 verdicts flip" in notes(graded)[0]


def test_the_standard_error_is_that_of_the_questions(tmp_path: Path) -> None:
    rows = [{"response": f"\\boxed{{{n}}}", "answer": "#### 7"} for n in (7, 7, 7, 8)]
    [first, _] = summary(grade_outputs(read_outputs(write(tmp_path, *rows), "gsm8k"), "gsm8k"))
    assert (first["percent"], first["questions"]) == (75, 4)
    assert first["standard error"] == pytest.approx(100 * math.sqrt(0.75 * 0.25 / 3))
    assert listed([first])[0]["standard error"] == f"{100 * math.sqrt(0.75 * 0.25 / 3):.1f}" == "25.0"


def test_one_question_has_no_standard_error_in_the_table_and_in_json(tmp_path: Path) -> None:
    path = write(tmp_path, {"response": "\\boxed{7}", "answer": "7"})
    row, _ = summary(grade_outputs(read_outputs(path, "gsm8k"), "gsm8k"))
    assert row["standard error"] is None and listed([row])[0]["standard error"] == MISSING


def test_uneven_pools_vote_over_what_all_have_and_say_so(tmp_path: Path) -> None:
    boxes = [f"\\boxed{{{n}}}" for n in (7, 7, 8, 8, 8)]
    for counts, metrics, said in (
        (
            (5, 2),
            {"accuracy", "maj@2 robust", "maj@2 toolkit"},
            "first 2 responses of each question: line 2 has",
        ),
        ((1, 5), {"accuracy"}, "No majority vote: line 1 has one response, others have up to 5."),
        ((3, 3), {"accuracy", "maj@3 robust", "maj@3 toolkit"}, None),
    ):
        path = write(tmp_path, *({"responses": boxes[:n], "answer": "7"} for n in counts))
        graded = grade_outputs(read_outputs(path, "gsm8k"), "gsm8k")
        assert {row["metric"] for row in summary(graded)} == metrics
        told = [note for note in notes(graded) if "flip" not in note and "no answer" not in note]
        assert len(told) == (said is not None) and (said or "") in "".join(told)


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    path = tmp_path / "outputs.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b'{"response": "\\\\boxed{7}", "answer": 7}\r\n')
    [question] = read_outputs(path, "gsm8k")
    assert (question.responses, question.gold) == (("\\boxed{7}",), "7")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (['{"response": "x"'], "line 1 is not JSON"),
        ([QUESTIONS[0], "", "[1]"], "line 3 is not a JSON object but list"),
        ([{"response": "x"}], "line 1 has no `answer`"),
        ([QUESTIONS[0], {"answer": "5"}], "line 2 needs either `response`"),
        ([{"answer": "5", "response": "x", "responses": ["x"]}], "line 1 needs either `response`"),
        ([{"answer": "5", "response": 5}], "line 1: a response is a text"),
        ([{"answer": "5", "responses": []}], "a list of at least one"),
        ([{"answer": None, "response": "x"}], "line 1: the gold is None"),
        ([{"answer": [], "response": "x"}], "line 1: the gold is an empty list"),
        ([{"answer": "  ", "response": "x"}], "line 1: the gold is empty"),
        ([""], "holds no lines to grade"),
    ],
)
def test_what_cannot_be_graded_is_refused_with_its_line(
    tmp_path: Path, rows: list[object], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        read_outputs(write(tmp_path, *rows), "math500")


def test_the_command_grades_and_writes(tmp_path: Path) -> None:
    path, out = write(tmp_path, {"response": "\\boxed{18}", "answer": "#### 18"}), tmp_path / "verdicts.jsonl"
    asked = ["grade", str(path), "--benchmark", "gsm8k", "--out", str(out), "--json"]
    done = CliRunner().invoke(app, asked)
    assert done.exit_code == 0, done.output
    assert {row["percent"] for row in json.loads(done.stdout)["scores"]} == {100}
    [record] = map(json.loads, out.read_text().splitlines())
    assert record["strict"] == {"correct": True, "extracted": "18", "why": "equal numbers"}
    assert set(record) == {"line", "response", "qwen_compat", "strict"}


def test_flips_and_limits_are_part_of_the_report(tmp_path: Path) -> None:
    path = write(tmp_path, {"response": "\\boxed{18}", "answer": "18"})
    done = bench("grade", str(path), "--benchmark", "gsm8k", cwd=tmp_path)
    assert "0 of 1 verdicts flip between qwen_compat and strict." in done.stdout and "flip" not in done.stderr
    assert "strict: no answer found in 0, stopped at a limit 0." in done.stdout


def test_every_reason_that_a_worker_gives_counts_as_a_limit() -> None:
    for status in get_args(Status):
        assert status == "done" or stopped_at_limit(limit_reached(Outcome(status, why="...")))
    assert not stopped_at_limit("equal numbers") and not stopped_at_limit(None)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (["MISSING", "--benchmark", "gsm8k"], "cannot read"),
        (["FILE", "--benchmark", "minerva_math"], "Did you mean 'minerva_ocw'"),
        (["FILE", "--benchmark", "gsm8k", "--out", "no/such/folder/x"], "cannot write"),
        (["FILE", "--benchmark", "gsm8k", "--out", "FILE"], "is the file that is graded"),
    ],
)
def test_a_wrong_command_ends_with_a_reason(tmp_path: Path, asked: list[str], message: str) -> None:
    path = write(tmp_path, {"response": "\\boxed{18}", "answer": "18"})
    done = bench("grade", *[word.replace("FILE", str(path)) for word in asked], cwd=tmp_path, code=2)
    assert message in done.stderr and not done.stdout
