"""Models that differ in what is not a transformer weight, and the merge that treats them as its settings say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.merging.merge import MergeResult, Place, merge
from bench.recipe import Recipe, build_recipe
from tests.helpers.checkpoints import Tensors, qwen2_tensors, write_checkpoint

EMBED, HEAD = "model.embed_tokens.weight", "lm_head.weight"
UP = "model.layers.0.mlp.up_proj.weight"


def task_arithmetic(folder: Path, experts: int = 1, **settings: Any) -> Recipe:
    """Task Arithmetic, lambda 0.5 unless said, of `base` and `expert` (or `expert0`, `expert1`, ...)."""
    names = ["expert"] if experts == 1 else [f"expert{i}" for i in range(experts)]
    chosen = {"lambda": 0.5, "embeddings": "merge"} | settings
    return build_recipe(
        "task_arithmetic", chosen, str(folder / "base"), [str(folder / name) for name in names]
    )


def merged_in(folder: Path, experts: int = 1, **settings: Any) -> MergeResult:
    """The merge of that recipe, in `out`."""
    return merge(task_arithmetic(folder, experts, **settings), folder / "out", Place(folder / "runs"))


def resized(folder: Path, name: str, rows: int, seed: int, **config: Any) -> Tensors:
    """A tiny Qwen2 with `rows` tokens; apart from them close to any other of these."""
    tensors = qwen2_tensors(seed, vocab_size=rows, **config)
    write_checkpoint(folder / name, tensors, vocab_size=rows, **config)
    return tensors
