"""The tiny Qwen2 decoders of the zoo: four layers, four heads, tied embeddings."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase, Qwen2Config, Qwen2ForCausalLM

from bench.zoo.tokenizer import MAX_LENGTH
from bench.zoo.training import Stage

LAYERS = HEADS = 4


def new_decoder(
    tokenizer: PreTrainedTokenizerBase, seed: int, *, hidden_size: int, intermediate_size: int
) -> Qwen2ForCausalLM:
    """A freshly initialised float32 model; the initial weights follow from the seed."""
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden_size,
        intermediate_size=intermediate_size,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=HEADS,
        max_position_embeddings=MAX_LENGTH,
        initializer_range=0.06,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    torch.manual_seed(seed)
    return Qwen2ForCausalLM(config).float()


def begin(base: Path, stage: Stage) -> Qwen2ForCausalLM:
    """The stored base in float32, as the model that `stage` fine-tunes.

    It is read back because a cast and its reversal would round the rotary frequencies as well.
    """
    return Qwen2ForCausalLM.from_pretrained(base, dtype=torch.float32)
