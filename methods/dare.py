"""DARE, linear: task arithmetic on task vectors most of which is dropped at random (arXiv 2311.03099)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Pass, Piece, Seen, parameter
from methods.common.dropping import DroppingMethod


class Dare(DroppingMethod):
    """theta_0 + lambda * sum_m w_m tau~_m, each tau~_m dropped with its own mask and rescaled."""

    card: ClassVar[Card] = Card(
        title="DARE (linear)",
        source="Yu et al. 2024, arXiv 2311.03099",
        summary="drop most of every task vector at random, rescale the rest, add up",
        aliases={"p": "drop_rate", "density": "drop_rate"},
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "signed"

    lambda_: float = parameter(
        0.4, "scale on the summed task vectors", "MergeBench, five experts", alias="lambda", ge=-10, le=10
    )

    def passes(self) -> tuple[Pass, ...]:
        """Norms, where the rescaling needs them."""
        return self.rescale_passes()

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32."""
        total = torch.zeros(piece.shape)
        for sparse, weight in zip(self.sparse(piece, seen), piece.weights, strict=True):
            total.add_(sparse, alpha=weight)
        return piece.moved(total, self.lambda_)


METHOD = Dare
