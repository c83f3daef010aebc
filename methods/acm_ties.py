"""ACM on a TIES merge: theta_0 + alpha_l * (the update that TIES makes), alpha from activations."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from methods.common.acm import RECONSTRUCTED, AcmCoefficients
from methods.common.contract import Card, Piece, Seen
from methods.ties import Ties


class AcmTies(AcmCoefficients, Ties):
    """TIES with all its parameters; with several experts alpha comes from their mean information (ours)."""

    card: ClassVar[Card] = Card(
        title="ACM with TIES",
        source="Activation-Guided Consensus Merging, Yao et al. 2025, arXiv 2505.14009; as described by "
        "FIM-Merging",
        summary="the merged TIES update scaled per layer by the mutual information of base and expert activations",
        aliases={"theta": "sharpness", **Ties.card.aliases},
        reconstructed=RECONSTRUCTED,
    )

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32."""
        merged = super().merge_piece(piece, seen)
        return torch.lerp(piece.base, merged, self.shared_alpha(piece.info, seen))

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Coefficients per layer."""
        return [(layer, "alpha", alpha) for layer, (alpha,) in self._shared_alphas(seen).items()]


METHOD = AcmTies
