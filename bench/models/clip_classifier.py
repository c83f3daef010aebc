"""A vision tower of CLIP under a zero-shot head, as a classifier. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import linear, normalize

from bench.errors import BadInput
from bench.models.zero_shot import ZeroShot, head_of, projection_of


class ZeroShotClassifier(nn.Module):
    """A vision tower under one zero-shot head; only the tower has parameters.

    `base_model` and `base_model_prefix` mean what they mean in transformers, so that statistics treat it as they
    treat any classifier.
    """

    base_model_prefix = "vision_model"
    projection: Tensor
    head: Tensor

    def __init__(self, tower: Any, asked: ZeroShot) -> None:
        super().__init__()
        self.vision_model = tower
        weight, self.scale = projection_of(asked.model)
        if weight.shape[1] != tower.config.hidden_size:
            raise BadInput(
                f"the visual projection of {asked.model} takes {weight.shape[1]} values, and the vision tower gives "
                f"{tower.config.hidden_size}: they are not of one model"
            )
        place = {"dtype": tower.dtype, "device": tower.device}
        self.register_buffer("projection", weight.to(**place), persistent=False)
        self.register_buffer("head", head_of(asked).to(**place), persistent=False)

    @property
    def base_model(self) -> Any:
        """The vision tower."""
        return self.vision_model

    @property
    def config(self) -> Any:
        """The vision tower's."""
        return self.vision_model.config

    @property
    def dtype(self) -> torch.dtype:
        """The vision tower's."""
        return self.vision_model.dtype

    def forward(self, pixels: Tensor, weights: Mapping[str, Tensor] | None = None) -> Tensor:
        """[images, labels] float32 logits of [images, 3, height, width] pixels.

        `weights` (by parameter name of the tower) stand in for the tower's own.
        """
        shown = {"pixel_values": pixels.to(self.dtype)}
        seen = functional_call(self.vision_model, dict(weights or {}), kwargs=shown).pooler_output
        cosines = normalize(linear(seen, self.projection), dim=-1) @ self.head.T
        return self.scale * cosines.float()
