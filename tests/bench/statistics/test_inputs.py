"""Gram matrices and channels against NumPy on inputs that transformers' own modules report."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from bench.errors import BadInput
from bench.examples import ExampleSet
from methods.common.contract import Role
from tasks.contract import Example
from tests.bench.statistics.small import SPOKEN, computed, family, ids_of, need, tensors

LINEAR = (Role.LINEAR,)


def captured(model: Any, modules: list[str], rows: list[list[int]]) -> dict[str, list[np.ndarray]]:
    """Inputs of modules, one text at a time (no padding), [tokens, features] per text."""
    found: dict[str, list[np.ndarray]] = {name: [] for name in modules}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda m, args, out, name=name: found[name].append(args[0].detach()[0].double().numpy())
        )
        for name in modules
    ]
    with torch.no_grad():
        for ids in rows:
            model(input_ids=torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return found


@pytest.mark.parametrize(
    "options", [{"batch": 1}, {"batch": 3}, {"batch": 8, "accumulate": "float64"}], ids=str
)
def test_grams_of_qwen2_match_numpy_whatever_the_batch(options: dict[str, Any], tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 2)
    found = computed(tmp_path, recipe, need("gram_data", roles=LINEAR, **options))
    for statistic, expert in zip(found, recipe.experts, strict=True):
        model = AutoModelForCausalLM.from_pretrained(expert.path)
        rows = [p + a for p, a in ids_of(SPOKEN, expert.path)]
        modules = [name.removesuffix(".weight") for name in statistic.tensors]
        assert len(modules) == 14
        for name, parts in captured(model, modules, rows).items():
            x = np.concatenate(parts)
            np.testing.assert_allclose(
                statistic.read(f"{name}.weight"), x.T @ x / len(x), rtol=2e-4, atol=1e-7
            )


def test_what_is_fed_the_same_input_shares_one_stored_matrix(tmp_path: Path) -> None:
    (found,) = computed(tmp_path, family(tmp_path, "qwen2", 1), need("gram_data", roles=LINEAR))
    attention, mlp = "model.layers.0.self_attn", "model.layers.1.mlp"
    places = {name: (stored.file, stored.begin) for name, stored in found.tensors.items()}
    assert len({places[f"{attention}.{p}_proj.weight"] for p in "qkv"}) == 1
    assert (
        places[f"{mlp}.gate_proj.weight"]
        == places[f"{mlp}.up_proj.weight"]
        != places[f"{mlp}.down_proj.weight"]
    )
    assert len(set(places.values())) == 2 * 4 and len(found.record["aliases"]) == 2 * 3


def test_grams_of_gpt2_run_along_the_input_axis_of_its_matrices(tmp_path: Path) -> None:
    recipe = family(tmp_path, "gpt2 classifier", 1)
    (found,) = computed(tmp_path, recipe, need("gram_data", roles=LINEAR, batch=4))
    assert {name: found.read(name).shape[0] for name in found.tensors if ".0." in name} == {
        "transformer.h.0.attn.c_attn.weight": 8, "transformer.h.0.attn.c_proj.weight": 8,
        "transformer.h.0.mlp.c_fc.weight": 8, "transformer.h.0.mlp.c_proj.weight": 32,
    }  # fmt: skip
    model = AutoModelForSequenceClassification.from_pretrained(recipe.experts[0].path)
    rows = [p for p, _ in ids_of(recipe.data[0].examples, recipe.experts[0].path)]
    (parts,) = captured(model, ["transformer.h.1.mlp.c_proj"], rows).values()
    x = np.concatenate(parts)
    np.testing.assert_allclose(
        found.read("transformer.h.1.mlp.c_proj.weight"), x.T @ x / len(x), rtol=2e-4, atol=1e-7
    )


def test_padding_counts_only_when_it_is_asked_for(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 1)
    counts = [
        computed(tmp_path, recipe, need("gram_data", roles=LINEAR, batch=4, padding=p))[0].record["counts"][
            "tokens"
        ]
        for p in ("exclude", "include")
    ]
    lengths = [len(p) + len(a) for p, a in ids_of(SPOKEN, recipe.experts[0].path)]
    assert counts == [sum(lengths), 4 * max(lengths)]


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
def test_channels_are_mean_magnitudes_summed_over_blocks_of_the_joined_texts(
    kind: str, tmp_path: Path
) -> None:
    recipe = family(tmp_path, kind, 2)
    roles = (Role.LINEAR, Role.NORM, Role.LM_HEAD)
    wanted = need("channels_data", "base", data="all", roles=roles, block=16, max_length=60)
    (found,) = computed(tmp_path, recipe, wanted)
    model: Any = AutoModelForCausalLM.from_pretrained(recipe.base.path)

    every = [example for examples in recipe.data for example in examples.examples]
    order = random.Random(42).sample(every, len(every))
    stream = [i for p, a in ids_of(order, recipe.base.path) for i in p + a]
    blocks = [stream[k : k + 16] for k in range(0, len(stream) - 15, 16)]
    assert len(blocks) == found.record["counts"]["blocks"] > 2
    assert all(name.endswith("weight") for name in found.tensors)
    assert ("lm_head.weight" in found.tensors) == (kind == "qwen2")  # a tied head is no tensor of its own
    parts = captured(model, [name.removesuffix(".weight") for name in found.tensors], blocks)
    for name, inputs in parts.items():
        expected = sum(np.abs(x).mean(0) for x in inputs)
        np.testing.assert_allclose(found.read(f"{name}.weight"), expected, rtol=1e-4)


def test_texts_too_long_for_a_block_are_skipped_and_one_short_block_is_used(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 1)
    data = ExampleSet("two", (Example("ab", "c"), Example("x" * 50, "y")))
    recipe = replace(recipe, data=(data,))
    wanted = need("channels_data", "base", data="all", roles=LINEAR, max_length=10)
    (found,) = computed(tmp_path, recipe, wanted)
    assert found.record["counts"] == {"examples": 1, "left_out": 1, "blocks": 1, "tokens": 4}
    with pytest.raises(BadInput, match="every text is longer than 3 tokens"):
        computed(tmp_path, recipe, need("channels_data", "base", data="all", roles=LINEAR, max_length=3))


def test_the_largest_channel_is_the_one_that_is_fed_most(tmp_path: Path) -> None:
    """A norm's own scale moves the channels behind it: the statistic sees it."""
    from safetensors.torch import load_file, save_file

    recipe = family(tmp_path, "qwen2", 1)
    file = recipe.base.path / "model.safetensors"
    values = load_file(file)
    values["model.layers.0.input_layernorm.weight"][3] = 100.0
    save_file(values, file, metadata={"format": "pt"})
    (found,) = computed(tmp_path, recipe, need("channels_data", "base", data="all", roles=LINEAR))
    assert int(tensors(found)["model.layers.0.self_attn.q_proj.weight"].argmax()) == 3
