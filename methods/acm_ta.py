"""ACM on task vectors: theta_0 + lambda * sum_m w_m alpha_m,l tau_m, alpha from activations (arXiv 2505.14009)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.acm import RECONSTRUCTED, AcmCoefficients
from methods.common.contract import Card, Piece, Seen, parameter


class AcmTa(AcmCoefficients):
    """Described for one expert; with several, each has coefficients of its own (our extension)."""

    card: ClassVar[Card] = Card(
        title="ACM with Task Arithmetic",
        source="Activation-Guided Consensus Merging, Yao et al. 2025, arXiv 2505.14009; as described by "
        "FIM-Merging",
        summary="task vectors scaled per layer by the mutual information of base and expert activations",
        aliases={"theta": "sharpness"},
        reconstructed=RECONSTRUCTED,
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "signed"

    lambda_: float = parameter(
        1.0,
        "scale on top of the coefficients",
        "our choice: the coefficients alone",
        alias="lambda",
        ge=-10,
        le=10,
    )

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32."""
        alphas = self.alphas(piece.info, seen)
        scales = torch.tensor([self.lambda_ * w * a for w, a in zip(piece.weights, alphas, strict=True)])
        return piece.base + torch.tensordot(scales, piece.deltas, dims=1)

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Coefficients per layer, mean over experts."""
        found = self._expert_alphas(seen)
        return [(layer, "alpha", sum(row) / len(row)) for layer, row in found.items()]


METHOD = AcmTa
