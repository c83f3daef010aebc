"""Attention in groups and packed layers, against transformers' own attention and torch's own layers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward

from bench.engines import attention
from bench.engines.packing import PackedLinear, pack
from tests.bench import tiny


def drawn(seed: int, *shape: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.integers(1, 9),
    shared=st.integers(1, 4),
    groups=st.integers(1, 5),
    columns=st.integers(1, 70),
    width=st.sampled_from([8, 64]),
    dtype=st.sampled_from([torch.float32, torch.bfloat16]),
    masked=st.booleans(),
)
def test_one_token_attends_as_in_transformers(
    rows: int, shared: int, groups: int, columns: int, width: int, dtype: torch.dtype, masked: bool
) -> None:
    query = drawn(1, rows, shared * groups, 1, width, dtype=dtype)
    # A part of a larger buffer, as the engine's cache is.
    key, value = (drawn(s, rows, shared, columns + 5, width, dtype=dtype)[:, :, :columns] for s in (2, 3))
    mask = None
    if masked:
        pad = torch.arange(rows) % columns
        mask = (torch.arange(columns) >= pad[:, None])[:, None, None, :]
    module = SimpleNamespace(num_key_value_groups=groups, is_causal=True)
    theirs, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=0.3)  # type: ignore[arg-type]
    ours, _ = attention.grouped(module, query, key, value, mask, scaling=0.3)
    assert ours.shape == theirs.shape == (rows, 1, shared * groups, width)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-2
    torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)


def test_what_is_not_one_token_is_left_to_transformers() -> None:
    query, key = drawn(1, 2, 4, 3, 8, dtype=torch.float32), drawn(2, 2, 2, 3, 8, dtype=torch.float32)
    module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    theirs, _ = sdpa_attention_forward(module, query, key, key, None)  # type: ignore[arg-type]
    assert torch.equal(attention.grouped(module, query, key, key, None)[0], theirs)


def test_a_bias_of_positions_is_left_to_transformers() -> None:
    """What grouping would drop must not be dropped silently."""
    query, key = drawn(1, 2, 4, 1, 8, dtype=torch.float32), drawn(2, 2, 2, 7, 8, dtype=torch.float32)
    bias = drawn(3, 1, 4, 1, 7, dtype=torch.float32) * 9
    module = SimpleNamespace(num_key_value_groups=2, is_causal=True)
    with_bias, _ = attention.grouped(module, query, key, key, None, position_bias=bias)
    without, _ = attention.grouped(module, query, key, key, None)
    theirs, _ = sdpa_attention_forward(module, query, key, key, None, position_bias=bias)  # type: ignore[arg-type]
    assert torch.equal(with_bias, theirs) and not torch.allclose(with_bias, without)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("rows", [1, 3, 64, 300])
def test_a_packed_layer_computes_what_the_plain_one_does(dtype: torch.dtype, rows: int) -> None:
    plain = torch.nn.Linear(37, 11).to(dtype)
    inputs = drawn(4, rows, 2, 37, dtype=dtype)
    packed = PackedLinear(plain)
    tolerance = 1e-5 if dtype is torch.float32 else 1e-2
    torch.testing.assert_close(packed(inputs), plain(inputs), rtol=tolerance, atol=tolerance)
    assert torch.equal(packed.weight, plain.weight)


@torch.inference_mode()
def test_a_packed_model_keeps_its_logits_and_its_tied_embedding(tmp_path: Path) -> None:
    path = tiny.write(tmp_path, key_value_heads=2, tie_word_embeddings=True)
    plain, packed = (AutoModelForCausalLM.from_pretrained(path).eval() for _ in range(2))
    pack(packed)
    attention.use_grouped(packed)
    kinds = {type(module) for module in packed.modules()}
    assert PackedLinear in kinds and torch.nn.Linear not in kinds
    ids = torch.randint(3, 30, (4, 12), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(packed(ids).logits, plain(ids).logits, rtol=1e-4, atol=1e-4)


def test_a_model_that_attends_otherwise_is_left_alone(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny.write(tmp_path), attn_implementation="eager")
    attention.use_grouped(model)
    assert model.config._attn_implementation == "eager"
