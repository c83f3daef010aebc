"""Small checkpoints made by hand: real folders with config.json and safetensors, any shapes one likes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]

QWEN2: dict[str, Any] = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "vocab_size": 17,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 32,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "dtype": "float32",
}


def shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of a Qwen2 model of this config, and its shape."""
    hidden, inner, vocab = config["hidden_size"], config["intermediate_size"], config["vocab_size"]
    narrow = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        found[f"{layer}.input_layernorm.weight"] = (hidden,)
        for part, rows in (("q", hidden), ("k", narrow), ("v", narrow)):
            found[f"{layer}.self_attn.{part}_proj.bias"] = (rows,)
            found[f"{layer}.self_attn.{part}_proj.weight"] = (rows, hidden)
        found[f"{layer}.self_attn.o_proj.weight"] = (hidden, hidden)
        found[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        found[f"{layer}.mlp.gate_proj.weight"] = (inner, hidden)
        found[f"{layer}.mlp.up_proj.weight"] = (inner, hidden)
        found[f"{layer}.mlp.down_proj.weight"] = (hidden, inner)
    found["model.norm.weight"] = (hidden,)
    if not config["tie_word_embeddings"]:
        found["lm_head.weight"] = (vocab, hidden)
    return found


def qwen2_tensors(seed: int, *, scale: float = 0.3, **overrides: Any) -> Tensors:
    """Random float32 tensors of a tiny Qwen2 model."""
    generator = torch.Generator().manual_seed(seed)
    found = shapes({**QWEN2, **overrides})
    return {name: scale * torch.randn(shape, generator=generator) for name, shape in found.items()}


def write_checkpoint(folder: Path, tensors: Mapping[str, Tensor], **config: Any) -> Path:
    """A checkpoint folder: `config` over the tiny Qwen2 config, tensors in one safetensors file."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({**QWEN2, **config}, indent=2))
    save_file(dict(tensors), folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def pair(folder: Path, **config: Any) -> tuple[Path, Path]:
    """A tiny Qwen2 base and an expert near it, as folders `base` and `expert`."""
    base = qwen2_tensors(1, **config)
    moved = qwen2_tensors(2, scale=0.1, **config)
    expert = {name: base[name] + moved[name] for name in base}
    write_checkpoint(folder / "base", base, **config)
    write_checkpoint(folder / "expert", expert, **config)
    return folder / "base", folder / "expert"


def tensors_of(folder: Path) -> Tensors:
    """Every tensor of a checkpoint as safetensors itself reads it, shards included."""
    found: Tensors = {}
    for file in sorted(folder.glob("*.safetensors")):
        found.update(load_file(file))
    return found


def checkpoints_under(folder: Path) -> list[Path]:
    """Every folder below that looks like a checkpoint: a config beside safetensors weights."""
    return sorted(c.parent for c in folder.rglob("config.json") if list(c.parent.glob("*.safetensors")))
