"""Tiny models that transformers makes itself, saved as anyone would save them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)


def qwen2(seed: int, *, tied: bool = False, **overrides: Any) -> PreTrainedModel:
    """A random Qwen2 with 2 blocks of width 8; biases and norms are random too."""
    config: dict[str, Any] = {
        "vocab_size": 17, "hidden_size": 8, "intermediate_size": 12, "num_hidden_layers": 2,
        "num_attention_heads": 2, "num_key_value_heads": 1, "max_position_embeddings": 32, "dtype": "float32",
    }  # fmt: skip
    return randomised(Qwen2ForCausalLM(Qwen2Config(**config, tie_word_embeddings=tied, **overrides)), seed)


def gpt2(seed: int) -> PreTrainedModel:
    """A random GPT-2 with 2 blocks of width 8, head tied to the embedding, without dropout."""
    config = GPT2Config(
        vocab_size=17, n_embd=8, n_layer=2, n_head=2, n_positions=32, bos_token_id=0, eos_token_id=0,
        resid_pdrop=0, embd_pdrop=0, attn_pdrop=0,
    )  # fmt: skip
    return randomised(GPT2LMHeadModel(config), seed)


def save(model: PreTrainedModel, folder: Path) -> Path:
    """Save weights and configs."""
    model.save_pretrained(folder)
    return folder


def open_model(path: Path) -> PreTrainedModel:
    """A language model as its user would open it; a missing or surplus weight fails."""
    model, report = AutoModelForCausalLM.from_pretrained(path, output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    return model


def randomised(model: PreTrainedModel, seed: int) -> PreTrainedModel:
    """The model with every parameter normal, of standard deviation 0.3; not for training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model.eval()
