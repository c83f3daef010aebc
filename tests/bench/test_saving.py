"""A merge that transformers opens and saves again is the same model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.bench.treated import merged_in
from tests.helpers.checkpoints import qwen2_tensors, tensors_of, write_checkpoint
from tests.helpers.models import open_model


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_saving_and_reloading_preserves_ties_vocabulary_and_dtype(
    tied: bool, dtype: str, tmp_path: Path
) -> None:
    for name, rows, seed in (("base", 17, 0), ("expert", 15, 1)):
        tensors = qwen2_tensors(seed, vocab_size=rows, tie_word_embeddings=tied)
        cast = {key: values.to(getattr(torch, dtype)) for key, values in tensors.items()}
        write_checkpoint(tmp_path / name, cast, vocab_size=rows, tie_word_embeddings=tied, dtype=dtype)
    path = merged_in(tmp_path, vocab="common_rows").path
    first = open_model(path)
    first.save_pretrained(tmp_path / "again")
    second = open_model(tmp_path / "again")
    for model in (first, second):
        embedding, head = model.get_input_embeddings().weight, model.get_output_embeddings().weight
        assert (embedding is head) == tied == model.config.tie_word_embeddings
        assert embedding.shape == (15, 8) and model.config.vocab_size == 15
        assert {p.dtype for p in model.parameters()} == {getattr(torch, dtype)}
    assert {n: t.dtype for n, t in tensors_of(tmp_path / "again").items()} == {
        n: t.dtype for n, t in tensors_of(path).items()
    }
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
