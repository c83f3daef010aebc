"""Virtual weights: the same statistic as of a checkpoint of those weights written by hand, and nothing on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from bench.models.checkpoint import Checkpoint
from bench.recipe import Recipe, build_recipe
from bench.statistics.points import aligned
from tests.bench.statistics.small import close, computed, family, need, tensors, write

TAU = torch.tensor([[0.5, -0.25, 0.125, 0], [0.25, 0.75, -0.5, 0], [-0.125, 0.375, 0.25, 0]])


def test_alignment_keeps_what_agrees_with_the_summed_sign() -> None:
    base = torch.tensor([1.0, -2, 0.5, 3])
    values = torch.cat([base[None], base + TAU])
    found = torch.stack([aligned(values, m, 0.0) - base for m in range(3)])
    assert found.tolist() == [[0.5, 0, 0, 0], [0.25, 0.75, -0.5, 0], [0, 0.375, 0, 0]]


@pytest.mark.parametrize(("sign", "expected"), [(0.0, [0, 0]), (1.0, [0.5, 0]), (-1.0, [0, -0.5])])
def test_a_sum_of_exactly_zero_takes_the_sign_asked_for(sign: float, expected: list[float]) -> None:
    values = torch.tensor([[1.0], [1.5], [0.5]])
    assert [float(aligned(values, m, sign) - 1) for m in range(2)] == expected


def by_hand(
    recipe: Recipe, m: int, treatment: Any = lambda name, aligned, base: aligned
) -> dict[str, Tensor]:
    """theta_0 + tau_m where its sign is that of the sum, from the files themselves."""
    base = load_file(recipe.base.path / "model.safetensors")
    experts = [load_file(expert.path / "model.safetensors") for expert in recipe.experts]
    found = {}
    for name, own in experts[m].items():
        if name not in base or "score" in name:
            found[name] = own
            continue
        agrees = (own - base[name]).sign() == sum(e[name] - base[name] for e in experts).sign()
        found[name] = treatment(name, torch.where(agrees, own, base[name]), base[name])
    return found


def written(recipe: Recipe, m: int, values: dict[str, Tensor], folder: Path) -> Recipe:
    """The recipe with expert m replaced by a checkpoint of these values."""
    shutil.copytree(recipe.experts[m].path, folder)
    save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
    experts = list(recipe.experts)
    experts[m] = Checkpoint(folder, "by hand")
    return replace(recipe, experts=tuple(experts))


@pytest.mark.parametrize(("kind", "m"), [("qwen2", 0), ("qwen2 tied", 1), ("gpt2 classifier", 2)])
def test_fisher_at_aligned_weights_is_that_of_a_checkpoint_written_by_hand(
    kind: str, m: int, tmp_path: Path
) -> None:
    recipe = family(tmp_path, kind, 3)
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.safetensors")}
    (found,) = computed(tmp_path, recipe, need("fisher_data", "aligned"), only=m)
    twin = written(recipe, m, by_hand(recipe, m), tmp_path / "hand")
    (expected,) = computed(tmp_path, twin, need("fisher_data", "experts"), only=m)
    close(tensors(found), tensors(expected))
    (plain,) = computed(tmp_path, recipe, need("fisher_data", "experts"), only=m)
    assert not torch.equal(found.read(name := next(iter(found.tensors))), plain.read(name))
    assert {file: file.read_bytes() for file in before} == before


def test_on_shared_examples_every_expert_has_the_fisher_of_its_own_aligned_weights(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 3)
    recipe = replace(recipe, data=(recipe.data[0],) * 3)
    found = computed(tmp_path, recipe, need("fisher_data", "aligned"))
    assert [statistic.reused for statistic in found] == [False] * 3
    for m, statistic in enumerate(found):
        twin = written(recipe, m, by_hand(recipe, m), tmp_path / f"hand{m}")
        (expected,) = computed(tmp_path, twin, need("fisher_data", "experts"), only=m)
        close(tensors(statistic), tensors(expected))


def test_tensors_that_are_not_merged_have_the_base_s_values_and_no_fisher(tmp_path: Path) -> None:
    made = family(tmp_path, "qwen2", 2)
    settings = {"embeddings": "base"}
    specs = [str(e.path) for e in made.experts]
    recipe = replace(build_recipe("task_arithmetic", settings, str(made.base.path), specs), data=made.data)
    (found,) = computed(tmp_path, recipe, need("fisher_data", "aligned"), only=0)
    outside = ("model.embed_tokens.weight", "lm_head.weight")
    values = by_hand(recipe, 0, lambda name, aligned, base: base if name in outside else aligned)
    twin = written(recipe, 0, values, tmp_path / "hand")
    expected = tensors(computed(tmp_path, twin, need("fisher_data", "experts"), only=0)[0])
    assert not set(outside) & set(expected)
    close(tensors(found), expected)


def test_the_base_of_classifiers_wears_the_expert_s_head(tmp_path: Path) -> None:
    """A language model as base, classifiers as experts: body of the base, head of the expert."""
    recipe = family(tmp_path, "gpt2", 2, expert_kind="gpt2 classifier")
    (found,) = computed(tmp_path, recipe, need("fisher_data", "base"), only=1)
    base = load_file(recipe.base.path / "model.safetensors")
    own = load_file(recipe.experts[1].path / "model.safetensors")
    values = {name: base.get(name, value) for name, value in own.items()}
    twin = written(recipe, 1, values, tmp_path / "hand")
    close(tensors(found), tensors(computed(tmp_path, twin, need("fisher_data", "experts"), only=1)[0]))


def test_a_tied_model_in_an_untied_result_has_a_head_of_its_own(tmp_path: Path) -> None:
    """The base is tied, the expert is not: the Fisher of embedding and head are those of the separate uses."""
    base = write(tmp_path / "base", "qwen2 tied", 1)
    expert = write(tmp_path / "expert", "qwen2", 2, near=base)
    made = family(tmp_path / "more", "qwen2", 1)
    recipe = replace(build_recipe("task_arithmetic", {}, str(base), [str(expert)]), data=made.data)
    (found,) = computed(tmp_path, recipe, need("fisher_data", "base"))
    shutil.copytree(base, tmp_path / "untied")
    config = json.loads((base / "config.json").read_text())
    (tmp_path / "untied" / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    values = load_file(base / "model.safetensors")
    values["lm_head.weight"] = values["model.embed_tokens.weight"].clone()
    save_file(values, tmp_path / "untied" / "model.safetensors", metadata={"format": "pt"})
    twin = replace(recipe, base=Checkpoint(tmp_path / "untied"))
    close(tensors(found), tensors(computed(tmp_path, twin, need("fisher_data", "base"))[0]))
    assert "lm_head.weight" in found.tensors


def test_rows_of_another_vocabulary_are_stored_in_the_result_s_order(tmp_path: Path) -> None:
    """An expert with two rows more than the base: its Fisher has the base's rows."""
    made = family(tmp_path, "qwen2", 1)
    folder = tmp_path / "wider"
    shutil.copytree(made.experts[0].path, folder)
    config = json.loads((folder / "config.json").read_text())
    values = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        values[name] = torch.cat([values[name], torch.full((2, 8), -9.0)])
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 2}))
    save_file(values, folder / "model.safetensors", metadata={"format": "pt"})
    wider = replace(made, experts=(Checkpoint(folder),))
    (plain,) = computed(tmp_path, made, need("fisher_data"))
    for point in ("experts", "aligned"):
        (found,) = computed(tmp_path, wider, need("fisher_data", point))
        assert found.read("lm_head.weight").shape == plain.read("lm_head.weight").shape
    (aligned_found,) = computed(tmp_path, wider, need("fisher_data", "aligned"))
    close(
        tensors(aligned_found), tensors(plain)
    )  # one expert: alignment changes nothing, the base's rows are cut
