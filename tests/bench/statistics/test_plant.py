"""Planted statistics are what `gather` finds: nothing is computed, and every value is the one given."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from bench.alignment.align import align
from bench.examples import ExampleSet
from bench.recipe import build_recipe
from bench.regress.models import FAMILIES
from bench.statistics import Subject, gather, plant
from tasks.contract import Example


def test_what_is_planted_is_found(tmp_path: Path) -> None:
    base, experts = FAMILIES["qwen2"].write(tmp_path / "models")
    recipe = build_recipe("sens", {}, str(base), [str(path) for path in experts])
    data = [ExampleSet(f"{m}", (Example(f"prompt {m}", "response"),)) for m in range(len(experts))]
    recipe = replace(recipe, data=tuple(data))
    folder, memory = tmp_path / "statistics", tmp_path / "fingerprints.json"

    def given(subject: Subject) -> dict[str, Tensor]:
        assert subject.expert is not None
        return {"model": torch.tensor([subject.expert + 1.0])}

    plant(recipe, given, folder=folder, memory=memory)
    said: list[str] = []
    found = gather(recipe, align(recipe).targets, folder=folder, memory=memory, say=said.append)
    assert said == []
    assert set(found) == {"sensitivity", "distance"}
    for statistics in found.values():
        assert all(one.reused for one in statistics)
        assert [one.read("model").item() for one in statistics] == [1.0, 2.0, 3.0, 4.0]
