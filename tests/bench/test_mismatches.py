"""Tensors that are missing, extra or of another shape: refused, or skipped and counted."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bench.alignment.align import align, examine
from bench.errors import BadInput
from tests.bench.treated import EMBED, HEAD, UP, merged_in, task_arithmetic
from tests.helpers.checkpoints import pair, tensors_of, write_checkpoint


@pytest.mark.parametrize("fault", ["missing", "extra", "shape", "embedding"])
def test_mismatches_are_errors_or_skipped_and_counted(fault: str, tmp_path: Path) -> None:
    base, expert = (tensors_of(folder) for folder in pair(tmp_path))
    name = {"extra": "model.layers.0.self_attn.q_norm.weight", "embedding": EMBED}.get(fault, UP)
    changed = {key: value for key, value in expert.items() if key != name}
    if fault != "missing":
        changed[name] = torch.zeros({"extra": (4,), "shape": (13, 8), "embedding": (17, 9)}[fault])
    write_checkpoint(tmp_path / "expert", changed, **({"hidden_size": None} if fault == "embedding" else {}))
    says = {
        "missing": f"{name} is missing from",
        "extra": f"{name} is in {tmp_path / 'expert'} but not in the base",
        "shape": r"\[12, 8\] in the base and \[13, 8\] in",
        "embedding": r"\[17, 8\] in the base and \[17, 9\] in",
    }
    with pytest.raises(BadInput, match=says[fault]):
        align(task_arithmetic(tmp_path))
    result = merged_in(tmp_path, on_mismatch="skip")
    assert result.manifest["skipped"] == 1
    assert any("on_mismatch=skip: 1 tensors skipped" in note for note in result.manifest["notes"])
    merged = tensors_of(result.path)
    kept = {name, HEAD} if fault == "embedding" else {name}
    assert set(merged) == set(base)
    for key, values in base.items():
        expected = values if key in kept else (values + changed[key]) / 2
        torch.testing.assert_close(merged[key], expected)


def test_all_problems_are_listed_not_only_the_first(tmp_path: Path) -> None:
    pair(tmp_path)
    write_checkpoint(tmp_path / "expert", {"model.norm.weight": torch.zeros(8)})
    assert len(examine(task_arithmetic(tmp_path)).problems) == 26
    with pytest.raises(BadInput, match="and 18 more"):
        align(task_arithmetic(tmp_path))


def test_buffers_that_only_an_expert_has_stay_out(tmp_path: Path) -> None:
    _, expert = pair(tmp_path)
    write_checkpoint(expert, {**tensors_of(expert), "model.rotary_emb.inv_freq": torch.ones(2)})
    result = merged_in(tmp_path)
    assert "model.rotary_emb.inv_freq" not in tensors_of(result.path)
    assert any("stay with" in note and "inv_freq" in note for note in result.manifest["notes"])
