"""A tied model lends its embedding as head to a result that has one: which it must have, and only one."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.alignment.align import align
from bench.errors import BadInput
from bench.recipe import build_recipe
from tests.helpers.checkpoints import pair, qwen2_tensors, write_checkpoint

EMBED = "model.embed_tokens.weight"


@pytest.mark.parametrize(
    ("names", "says"),
    [((), r"has 0 embeddings\."), (("embed_tokens.weight", EMBED), rf"has 2 embeddings: .*{EMBED}")],
)
def test_a_tied_model_without_one_embedding_is_refused_by_name(
    names: tuple[str, ...], says: str, tmp_path: Path
) -> None:
    base, expert = pair(tmp_path)
    tensors = qwen2_tensors(1, tie_word_embeddings=True)
    embedding = tensors.pop(EMBED)
    write_checkpoint(expert, tensors | {name: embedding.clone() for name in names}, tie_word_embeddings=True)
    with pytest.raises(BadInput, match="expert is said to have its embedding as LM head .*" + says):
        align(build_recipe("task_arithmetic", {}, str(base), [str(expert)]))
