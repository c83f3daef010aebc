"""One context limit and one set of rotary settings for every merge: agreed on by the models, or said."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoModelForCausalLM

from bench.alignment.align import align, examine
from bench.config import model_set_names
from bench.errors import BadInput
from bench.mergekit import write_mergekit
from bench.merging.merge import Place, merge, merge_id
from bench.models.checkpoint import Checkpoint
from bench.models.context import Context, rope
from bench.recipe import Recipe, build_recipe
from tests.bench.command import bench, bench_json
from tests.helpers.checkpoints import qwen2_tensors, write_checkpoint
from tests.helpers.models import gpt2, save

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}


def pair(folder: Path, base: dict[str, Any], expert: dict[str, Any]) -> Recipe:
    for seed, (name, config) in enumerate((("base", base), ("expert", expert))):
        write_checkpoint(folder / name, qwen2_tensors(seed), **config)
    settings = {"lambda": "0.5"}
    return build_recipe("task_arithmetic", settings, str(folder / "base"), [str(folder / "expert")])


def test_limits_that_differ_are_refused_with_the_override(tmp_path: Path) -> None:
    recipe = pair(tmp_path, {"max_position_embeddings": 4096}, {"max_position_embeddings": 131072})
    with pytest.raises(BadInput, match=r"context limit differs .*4096 in .*131072 in .*--context-length N"):
        align(recipe)


def test_rotary_settings_that_differ_are_refused_with_the_override(tmp_path: Path) -> None:
    recipe = pair(tmp_path, {"rope_theta": 10000.0}, {"rope_theta": 1e6})
    with pytest.raises(
        BadInput, match=r"rope_theta=10000.0.* in .*rope_theta=1000000.0.*--rope-from base or expert:0"
    ):
        align(recipe)
    with pytest.raises(BadInput, match="rope_from=expert:1: known are base, expert:0"):
        align(replace(recipe, context=Context(rope_from="expert:1")))


def test_both_are_said_at_once_and_a_limit_does_not_settle_the_rotations(tmp_path: Path) -> None:
    recipe = pair(
        tmp_path, {"max_position_embeddings": 32}, {"max_position_embeddings": 64, "rope_scaling": YARN}
    )
    assert len(examine(recipe).problems) == 2
    [left] = examine(replace(recipe, context=Context(64))).problems
    assert "rotary settings differ" in left and "factor=4.0" in left


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"rope_theta": 10000}),
        ({"rope_theta": 1e6}, {"rope_parameters": {"rope_type": "default", "rope_theta": 1000000}}),
        ({"rope_scaling": None}, {"rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}),
        (
            {"rope_theta": 5e5, "rope_scaling": {"type": "linear", "factor": 2.0}},
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}},
        ),
    ],
)
def test_two_spellings_of_one_setting_are_equal(
    tmp_path: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert rope(one) == rope(other)
    assert not examine(pair(tmp_path, one, other)).problems


@pytest.mark.parametrize(
    "theirs", [{"rope_theta": 1e6, "rope_scaling": YARN}, {"rope_parameters": {**YARN, "rope_theta": 1e6}}]
)
@pytest.mark.parametrize(
    "ours", [{}, {"rope_theta": 1e4}, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}}]
)
def test_the_merge_gets_what_was_said_and_transformers_reads_it(
    tmp_path: Path, ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    recipe = pair(
        tmp_path, {"max_position_embeddings": 32, **ours}, {"max_position_embeddings": 128, **theirs}
    )
    recipe = replace(recipe, context=Context(100, "expert:0"))
    result = merge(recipe, tmp_path / "out", Place(tmp_path / "runs"))
    config = AutoConfig.from_pretrained(result.path)
    assert config.max_position_embeddings == 100
    read = {key: config.rope_parameters[key] for key in ("rope_theta", "rope_type", "factor")}
    assert read == {"rope_theta": 1e6, "rope_type": "yarn", "factor": 4.0}
    model = AutoModelForCausalLM.from_pretrained(result.path)
    expert = AutoModelForCausalLM.from_pretrained(tmp_path / "expert")
    assert model.model.rotary_emb.inv_freq.tolist() == expert.model.rotary_emb.inv_freq.tolist()
    said = result.manifest["context"]
    assert (said["length"], said["rope_from"]) == (100, "expert:0")
    assert [one["max_position_embeddings"] for one in said["models"]] == [32, 128]
    assert result.manifest["label"] == "task_arithmetic lambda=0.5 context_length=100 rope_from=expert:0"
    assert any("context_length=100 is more than the 32 of" in note for note in result.manifest["notes"])
    assert any("max_position_embeddings=100 instead of 32" in note for note in result.manifest["notes"])


def test_rotations_of_the_base_take_those_of_an_experts_files_away(tmp_path: Path) -> None:
    recipe = pair(tmp_path, {}, {"rope_theta": 1e6, "rope_scaling": YARN})
    method = recipe.method.model_copy(update={"files_from": "expert:0"})
    recipe = replace(recipe, method=method, context=Context(rope_from="base"))
    result = merge(recipe, tmp_path / "out", Place(tmp_path / "runs"))
    read = AutoConfig.from_pretrained(result.path).rope_parameters
    assert (read["rope_theta"], read["rope_type"]) == (1e4, "default")


def test_the_context_is_part_of_a_merges_identity_and_its_absence_changes_nothing(tmp_path: Path) -> None:
    recipe = pair(tmp_path, {}, {})
    place = Place(tmp_path / "runs")
    ids = [merge_id(replace(recipe, context=Context(n)), place) for n in (None, 64, 128)]
    assert len(set(ids)) == 3 and ids[0] == merge_id(recipe, place)
    assert recipe.label == "task_arithmetic lambda=0.5"


def test_positions_that_are_weights_have_no_context_to_choose(tmp_path: Path) -> None:
    for seed, name in enumerate(("base", "expert")):
        save(gpt2(seed), tmp_path / name)
    recipe = build_recipe("ties", {}, str(tmp_path / "base"), [str(tmp_path / "expert")])
    assert not examine(recipe).problems
    with pytest.raises(BadInput, match="context_length=64: positions of gpt2 are weights"):
        align(replace(recipe, context=Context(64)))


def test_mergekit_knows_no_context(tmp_path: Path) -> None:
    recipe = replace(pair(tmp_path, {}, {}), context=Context(64))
    with pytest.raises(BadInput, match="whose YAML knows no context_length"):
        write_mergekit(recipe)


@pytest.mark.parametrize("name", [name for name in model_set_names() if name.startswith("mini")])
def test_the_embedded_zoo_needs_no_override(name: str) -> None:
    from bench.config import model_set
    from bench.models.context import AS_MODELS, context_problems

    found = model_set(name)
    models = [
        Checkpoint(Path("bench/zoo/models") / spec[4:], spec)
        for spec in (found.base, *found.experts.values())
    ]
    assert context_problems(models, AS_MODELS) == []


def test_plan_and_merge_take_it_on_the_command_line(tmp_path: Path) -> None:
    pair(tmp_path, {"max_position_embeddings": 32}, {"max_position_embeddings": 128})
    words = ("--method", "ties", "--base", "base", "--expert", "expert")
    assert "--context-length N" in bench("plan", *words, cwd=tmp_path, code=1).stdout.replace("\n", " ")
    plan = bench_json("plan", *words, "--context-length", "96", cwd=tmp_path)
    assert plan["config"]["max_position_embeddings"] == 96 and not plan["mismatches"]
    refused = bench("merge", *words, "--out", "out", cwd=tmp_path, code=2)
    assert "--context-length N" in refused.stderr and not (tmp_path / "out").exists()
    bench("merge", *words, "--out", "out", "--context-length", "96", cwd=tmp_path)
    assert json.loads((tmp_path / "out" / "config.json").read_text())["max_position_embeddings"] == 96
