"""What a method cannot do in the middle of a merge is one sentence; what our code does wrong stays a traceback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from torch import Tensor

from bench.errors import BadInput
from bench.merging.merge import Place, merge
from bench.recipe import build_recipe
from methods.common.contract import Pass, Piece, Seen
from methods.task_arithmetic import TaskArithmetic
from tests.bench.command import bench
from tests.helpers.checkpoints import checkpoints_under, pair, tensors_of, write_checkpoint

ROW = "model.layers.1.mlp.gate_proj.weight"


@pytest.fixture
def without_residual(tmp_path: Path) -> Path:
    """A pair whose expert lacks every module that writes to the residual stream."""
    _, expert = pair(tmp_path)
    kept = {
        n: t for n, t in tensors_of(expert).items() if not n.endswith(("o_proj.weight", "down_proj.weight"))
    }
    write_checkpoint(expert, kept)
    return tmp_path


class Picky(TaskArithmetic):
    """Task Arithmetic that cannot merge one of the tensors."""

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """Refuses ROW."""
        if piece.info.name == ROW:
            raise ValueError(f"a matrix of {piece.info.shape[0]} rows\n  is too tall.")
        return super().merge_piece(piece, seen)


class Learning(TaskArithmetic):
    """Task Arithmetic with a pass over the whole model that cannot be finished."""

    def passes(self) -> tuple[Pass, ...]:
        """One pass."""
        return (Pass("height", "model", lambda unit, seen: 1, self._add, self._finish),)

    def _add(self, one: int, other: int) -> int:
        return one + other

    def _finish(self, total: int, seen: Seen, key: str) -> int:
        raise ValueError(f"{total} runs are too many")


class Broken(TaskArithmetic):
    """A fault of the code."""

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """Asks for an expert that is not there."""
        return piece.experts[7]


def _refused(folder: Path, method: TaskArithmetic) -> BadInput:
    recipe = build_recipe("task_arithmetic", {}, str(folder / "base"), [str(folder / "expert")])
    with pytest.raises(BadInput) as refused:
        merge(replace(recipe, method=method), folder / "out", Place(folder / "runs"))
    assert isinstance(refused.value.__cause__, ValueError), "the traceback of what raised it is kept"
    assert len(checkpoints_under(folder)) == 2, "nothing was left behind"
    return refused.value


def test_a_merge_that_a_method_refuses_names_method_tensor_reason_and_way_out(tmp_path: Path) -> None:
    pair(tmp_path)
    said = str(_refused(tmp_path, Picky()))
    assert said.startswith(
        f"task_arithmetic broke off merging {ROW}: a matrix of 12 rows is too tall. Give it "
    )
    assert "`bench methods task_arithmetic`" in said and "MERGEBOARD_DEBUG=1" in said and "\n" not in said


def test_a_pass_that_cannot_be_finished_names_itself(tmp_path: Path) -> None:
    base, _ = pair(tmp_path)
    said = str(_refused(tmp_path, Learning()))
    runs = len(tensors_of(base))  # each is shorter than a run
    assert f"in its pass 'height' at the whole model: {runs} runs are too many. Give" in said


def test_a_fault_of_the_code_is_no_bad_input(tmp_path: Path) -> None:
    pair(tmp_path)
    recipe = build_recipe("task_arithmetic", {}, str(tmp_path / "base"), [str(tmp_path / "expert")])
    with pytest.raises(IndexError):
        merge(replace(recipe, method=Broken()), tmp_path / "out", Place(tmp_path / "runs"))


def test_the_command_says_one_sentence_and_the_place_when_asked(without_residual: Path) -> None:
    words = ("merge", "--method", "fim_ties", "--base", "base", "--expert", "expert", "--out", "out",
             "--set", "calibration=residual", "--set", "on_mismatch=skip", "--set", "length=8")  # fmt: skip
    plain = bench(*words, cwd=without_residual, code=2)
    assert "Traceback" not in plain.stderr
    said = plain.stderr.splitlines()[-1]
    assert (
        said.startswith("error: fim_ties broke off in its pass") and "take calibration=module or off" in said
    )
    full = bench(*words, cwd=without_residual, code=2, MERGEBOARD_DEBUG="1")
    assert full.stderr.splitlines()[-1] == said
    assert "fim_modules.py" in full.stderr and "Traceback" in full.stderr
