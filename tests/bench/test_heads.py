"""Heads and bodies: models that differ in their heads meet in their bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    CLIPVisionModelWithProjection,
    GPT2Config,
    GPT2ForSequenceClassification,
    GPT2LMHeadModel,
    GPT2Model,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2ForSequenceClassification,
    Qwen2Model,
)

from bench.alignment.align import align
from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from tests.bench.treated import HEAD, merged_in, task_arithmetic
from tests.helpers.checkpoints import Tensors, pair, tensors_of, write_checkpoint
from tests.helpers.models import randomised, save

GPT2: dict[str, Any] = {
    "vocab_size": 17, "n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16, "bos_token_id": 0,
    "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
QWEN2: dict[str, Any] = {
    "vocab_size": 17, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
    "num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": 0,
}  # fmt: skip


def _body(model: PreTrainedModel) -> Tensors:
    return {name: values.detach() for name, values in model.base_model.named_parameters()}


@pytest.mark.parametrize(
    ("base_class", "expert_class", "config"),
    [
        (GPT2Model, GPT2ForSequenceClassification, GPT2Config(**GPT2)),
        (GPT2LMHeadModel, GPT2ForSequenceClassification, GPT2Config(**GPT2)),
        (GPT2ForSequenceClassification, GPT2Model, GPT2Config(**GPT2)),
        (Qwen2Model, Qwen2ForSequenceClassification, Qwen2Config(**QWEN2)),
        (Qwen2ForCausalLM, Qwen2ForSequenceClassification, Qwen2Config(**QWEN2)),
        (Qwen2Model, Qwen2ForCausalLM, Qwen2Config(**QWEN2)),
    ],
)
def test_bodies_meet_under_any_head(base_class: Any, expert_class: Any, config: Any, tmp_path: Path) -> None:
    """A bare body's names have no prefix; heads of the experts stay theirs, the base's head stays its own."""
    base, expert = randomised(base_class(config), 0), randomised(expert_class(config), 1)
    save(base, tmp_path / "base")
    save(expert, tmp_path / "expert")
    result = merged_in(tmp_path)
    merged, report = base_class.from_pretrained(result.path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for name, values in _body(base).items():
        torch.testing.assert_close(_body(merged)[name], (values + _body(expert)[name]) / 2)
    for name, values in base.named_parameters():
        if name.startswith(("score", "lm_head")):
            assert torch.equal(dict(merged.named_parameters())[name], values)
    body, ready = Checkpoint(tmp_path / "base"), expert_class.from_pretrained(result.path)
    assert set(tensors_of(result.path)) == set(body.tensors)
    torch.testing.assert_close(_body(ready), _body(merged))
    notes = " ".join(result.manifest["notes"])
    heads = [name for name in Checkpoint(tmp_path / "expert").tensors if name.startswith(("score", "lm_"))]
    assert all(f"1 tensors stay with {tmp_path / 'expert'}: {name}" in notes for name in heads)
    bare = (base_class in (GPT2Model, Qwen2Model)) != (expert_class in (GPT2Model, Qwen2Model))
    assert ("matched without the body's prefix" in notes) == bare


def test_each_expert_may_have_a_head_of_its_own_shape(tmp_path: Path) -> None:
    save(randomised(GPT2Model(GPT2Config(**GPT2)), 0), tmp_path / "base")
    for i, labels in enumerate((2, 3)):
        config = GPT2Config(**GPT2, num_labels=labels)
        save(randomised(GPT2ForSequenceClassification(config), i + 1), tmp_path / f"expert{i}")
    result = merged_in(tmp_path, 2)
    assert "score.weight" not in tensors_of(result.path)
    opened = GPT2Model.from_pretrained(result.path)
    parts = [_body(GPT2Model.from_pretrained(tmp_path / name)) for name in ("base", "expert0", "expert1")]
    for name, values in _body(opened).items():
        expected = parts[0][name] + 0.5 * (parts[1][name] + parts[2][name] - 2 * parts[0][name])
        torch.testing.assert_close(values, expected, atol=1e-6, rtol=0)


def test_files_of_a_classifier_do_not_make_the_result_one(tmp_path: Path) -> None:
    """Its config would have transformers invent a random head."""
    save(randomised(GPT2Model(GPT2Config(**GPT2)), 0), tmp_path / "base")
    save(randomised(GPT2ForSequenceClassification(GPT2Config(**GPT2)), 1), tmp_path / "expert")
    result = merged_in(tmp_path, files_from="expert:0")
    assert json.loads((result.path / "config.json").read_text())["architectures"] == ["GPT2Model"]
    assert any("says architectures=['GPT2Model'] instead of" in note for note in result.manifest["notes"])


def test_an_untied_model_without_its_head_is_refused(tmp_path: Path) -> None:
    folders = pair(tmp_path)
    for folder, says in zip(
        folders, ("is in .*expert but not in the base", "base has no lm_head.weight"), strict=True
    ):
        write_checkpoint(folder, {name: t for name, t in tensors_of(folder).items() if name != HEAD})
        with pytest.raises(BadInput, match=says):
            align(task_arithmetic(tmp_path))


def test_clip_vision_towers_merge_and_keep_their_projection(tmp_path: Path) -> None:
    config = CLIPVisionConfig(
        hidden_size=8, intermediate_size=12, projection_dim=6, num_hidden_layers=2, num_attention_heads=2,
        image_size=16, patch_size=8,
    )  # fmt: skip
    base = randomised(CLIPVisionModelWithProjection(config), 0)
    expert = randomised(CLIPVisionModel(config), 1)
    save(base, tmp_path / "base")
    save(expert, tmp_path / "expert")
    merged = CLIPVisionModelWithProjection.from_pretrained(merged_in(tmp_path).path)
    theirs = {f"vision_model.{name}": values for name, values in expert.named_parameters()}
    for name, values in base.named_parameters():
        expected = (values + theirs[name]) / 2 if name in theirs else values
        torch.testing.assert_close(dict(merged.named_parameters())[name], expected)
