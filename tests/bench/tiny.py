"""Small random checkpoints for tests: seeded, written in a moment, one token per character."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

SPECIAL = ("<pad>", "<eos>", "<unk>")
CHARACTERS = "\n" + "".join(chr(code) for code in range(32, 127))


def tokenizer() -> PreTrainedTokenizerFast:
    """One token for each printable ASCII character."""
    vocabulary = {token: index for index, token in enumerate((*SPECIAL, *CHARACTERS))}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    core.decoder = decoders.Fuse()
    pad, eos, unk = SPECIAL
    return PreTrainedTokenizerFast(tokenizer_object=core, pad_token=pad, eos_token=eos, unk_token=unk)


def write(
    path: Path,
    *,
    seed: int = 0,
    context: int = 128,
    key_value_heads: int = 2,
    spread: float = 0.3,
    **config: object,
) -> Path:
    """A random Qwen2 checkpoint at `path`; a larger `spread` of the weights makes it more decided."""
    tokens = tokenizer()
    torch.manual_seed(seed)
    settings = {
        "vocab_size": len(tokens), "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": key_value_heads, "max_position_embeddings": context,
        "initializer_range": spread, "eos_token_id": tokens.eos_token_id, "pad_token_id": tokens.pad_token_id,
    }  # fmt: skip
    model = Qwen2ForCausalLM(Qwen2Config(**{**settings, **config}))
    model.generation_config.eos_token_id = model.config.eos_token_id
    model.save_pretrained(path)
    tokens.save_pretrained(path)
    return path
