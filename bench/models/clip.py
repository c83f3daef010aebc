"""CLIP as the merge sees it: of the model on the Hub only the vision tower, as the experts are stored.

A base is a full `CLIPModel`, an expert a `CLIPVisionModel` (the layout of FusionBench). Text tower, projections and
logit scale take no part in a merge: they stay the base's, and every vision tower is read through them.
"""

from __future__ import annotations

import copy
from typing import Any

from bench.models.checkpoint import Checkpoint

WHOLE, TOWER = "clip", "clip_vision_model"  # values of `model_type`
PREFIX = "vision_model."


def as_tower(model: Checkpoint) -> Checkpoint:
    """The vision tower of a full CLIP model, with the config that such a tower has; any other model as it is."""
    if model.model_type != WHOLE:
        return model
    seen = copy.copy(model)
    seen.__dict__.pop("n_parameters", None)  # was counted over both towers
    seen.config = tower_config(model.config)
    seen.tensors = {name: stored for name, stored in model.tensors.items() if name.startswith(PREFIX)}
    return seen


def tower_config(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the vision tower of a full model's `config`, as transformers saves a tower."""
    dtype = config.get("dtype") or config.get("torch_dtype")
    own = {key: value for key, value in config.get("vision_config", {}).items() if value is not None}
    return {
        **own,
        "model_type": TOWER,
        "architectures": ["CLIPVisionModel"],
        **({"dtype": dtype} if dtype else {}),
    }


def is_tower(model: Checkpoint) -> bool:
    """Whether a model reads images and no texts."""
    return model.model_type == TOWER
