"""Model averaging, also called model soup: the weighted mean of the experts' weights (arXiv 2203.05482)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from methods.common.contract import Card, Method, Piece, Seen, parameter


class Average(Method):
    """W = sum_m w_m theta_m / sum_m w_m. `embeddings=base` is the variant that averages layers only."""

    card: ClassVar[Card] = Card(
        title="Model averaging",
        source="Wortsman et al. 2022, arXiv 2203.05482",
        summary="weighted mean of the experts' weights",
    )

    include_base: bool = parameter(
        False, "the base is one of the averaged models, with weight 1", "off; on for Long-to-Short pairs"
    )

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements. Summed in float64, so that the mean of equal models is that model."""
        total = torch.zeros(piece.base.shape, dtype=torch.float64)
        if self.include_base:
            total += piece.base
        for expert, weight in zip(piece.experts, piece.weights, strict=True):
            total.add_(expert, alpha=weight)
        return (total / (sum(piece.weights) + self.include_base)).float()


METHOD = Average
