"""Whether models are such as mergekit merges: its YAML says nothing of models that differ in shape or in kind."""

from __future__ import annotations

import json

from bench.alignment.align import examine
from bench.mergekit.table import DTYPES
from bench.models.checkpoint import Checkpoint
from bench.recipe import Recipe


def dtypes_of(model: Checkpoint) -> tuple[str, ...]:
    """Floating dtypes of a checkpoint."""
    return tuple(sorted({t.dtype for t in model.tensors.values() if t.dtype in (*DTYPES.values(), "F64")}))


def unlike(recipe: Recipe) -> str | None:
    """Why the models do not fit one another tensor by tensor, None when they do."""
    for expert in recipe.experts:
        if expert.tied != recipe.base.tied:
            return f"{expert.name} and {recipe.base.name} differ in whether the LM head is tied"
        for name, stored in recipe.base.tensors.items():
            if name in expert.tensors and expert.tensors[name].shape != stored.shape:
                return f"{name} of {expert.name} has another shape than the base's"
    return None


def moved_rows(recipe: Recipe) -> str | None:
    """Why merging by position is not what vocab=by_token does with these models, None where it is."""
    if recipe.method.vocab != "by_token":
        return None
    models = (recipe.base, *recipe.experts)
    for target in examine(recipe).targets:
        for model, source in zip(models, target.sources, strict=True):
            if source.rows is not None:
                return (
                    f"vocab=by_token takes rows of {target.info.name} of {model.name} by their tokens, and mergekit "
                    "by their position"
                )
    return None


def same_tokens(recipe: Recipe) -> bool:
    """Whether all models have one tokenizer.json that names every row of the embedding."""
    files = [model.path / "tokenizer.json" for model in (recipe.base, *recipe.experts)]
    contents = {file.read_bytes() if file.is_file() else None for file in files}
    rows = recipe.base.config.get("vocab_size")
    if len(contents) > 1 or None in contents or not isinstance(rows, int):
        return False
    tokenizer = json.loads(files[0].read_bytes())
    vocabulary = tokenizer.get("model", {}).get("vocab", {})
    ids = set(vocabulary.values()) if isinstance(vocabulary, dict) else set(range(len(vocabulary)))
    ids |= {token["id"] for token in tokenizer.get("added_tokens", [])}
    return ids == set(range(rows))
