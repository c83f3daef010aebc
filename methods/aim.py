"""AIM: on top of any merge, hold back the update where the base's activations are large."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Merged, Need, Piece, Role, Seen, Unit, parameter
from methods.common.wrapping import Wrapper

RELAXED = (Role.LINEAR, Role.NORM, Role.LM_HEAD)


class Aim(Wrapper):
    """Weights of matrices, norms and an untied LM head are relaxed; biases and embeddings stay as merged."""

    card: ClassVar[Card] = Card(
        title="AIM",
        source="Nobari et al. 2025, arXiv 2502.02421; released code, ahnobari/ActivationInformedMerging",
        summary="relaxes another method's update towards the base, input channel by input channel, by activation",
    )

    omega: float = parameter(
        0.4,
        "share of the update left on the most active channel; 1 changes nothing",
        "released command line, paper and L2S; the code's function default is 0.2",
        ge=0,
        le=1,
    )
    examples: int = parameter(
        256, "calibration texts, from all experts' data", "released code: 256 of Pile; L2S: 100 of s1K", ge=1
    )
    block: int = parameter(512, "tokens of one block of concatenated texts", "released code", ge=1)
    max_length: int = parameter(512, "texts of more tokens are skipped", "released code", ge=1)
    data_dtype: Literal["checkpoint", "float32", "bfloat16"] = parameter(
        "checkpoint", "dtype of the base while activations are taken; sums are float32", "our choice"
    )
    seed: int = parameter(42, "seed of the order in which texts are drawn", "released code", ge=0)

    def needs(self) -> tuple[Need, ...]:
        """The inner method's needs, and mean |activation| of every input channel of the base."""
        options = {
            "examples": self.examples,
            "block": self.block,
            "max_length": self.max_length,
            "dtype": self.data_dtype,
            "seed": self.seed,
        }
        channels = Need("channels", "channels_data", "base", options, data="all", roles=RELAXED)
        return (*super().needs(), channels)

    def merge(self, unit: Unit, seen: Seen) -> Merged:
        """The inner merge of one unit, relaxed."""
        merged = self.wrapped.merge(unit, seen)
        relaxed = {part: self._relax(unit.pieces[part], values) for part, values in merged.pieces.items()}
        return Merged(relaxed, merged.notes)

    def _relax(self, piece: Piece, merged: Tensor) -> Tensor:
        """W_0 + (W - W_0) (1 - (1 - omega) u^); exact at both ends."""
        statistic = piece.statistics.get("channels")
        if statistic is None or piece.info.role not in RELAXED:
            return merged
        (activity,) = statistic
        top = float(activity.max())
        if top == 0:
            return merged
        held = (1 - self.omega) * (activity / top)
        return torch.lerp(merged, piece.base, held[input_channels(piece)])


def input_channels(piece: Piece) -> Tensor:
    """int64, shape of the piece: which input channel each element belongs to; a vector's are its positions."""
    info, at = piece.info, torch.arange(piece.start, piece.start + piece.base.numel())
    if len(info.shape) > 1:
        rows, columns = info.shape
        at = at % columns if info.input_axis == 1 else at // columns
    return at.view(piece.base.shape)


METHOD = Aim
