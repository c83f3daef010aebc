"""Attention of one new token over a cache whose key-value heads are shared, without copying the cache.

transformers repeats the keys and values of grouped-query attention for every query head before it calls torch's
kernel: for each token the whole cache is copied as often as heads share it, and a processor's kernel reads every
copy. The query heads of a group see the same keys under the same mask, so they are rows of one query as well. Same
kernel, same sums: what differs is rounding (tests/bench/test_engine_attention.py).

Imports torch and transformers; only a loaded engine imports this module.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "sdpa_grouped"
# What only some architectures pass, and changes the sum: left to transformers.
LEFT = ("position_bias", "cache", "s_aux", "softcap")


def use_grouped(model: Any) -> None:
    """Let `model` attend in groups where it would use torch's kernel as transformers calls it."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, grouped)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


def grouped(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention as transformers asks for it: [rows, new columns, heads, width] of `query` [rows, heads, new columns,
    width] over `key` and `value` [rows, key-value heads, columns, width]."""
    rows, heads, columns, width = query.shape
    shared = attention_mask is None or attention_mask.shape[1] == 1  # one mask for all heads
    if (
        columns != 1
        or heads == key.shape[1]
        or not shared
        or any(others.get(name) is not None for name in LEFT)
    ):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **others
        )
    found = torch.nn.functional.scaled_dot_product_attention(
        query.reshape(rows, key.shape[1], -1, width),
        key,
        value,
        attn_mask=attention_mask,
        dropout_p=dropout,
        scale=scaling,
    )
    return found.reshape(rows, 1, heads, value.shape[-1]), None
