"""FIM-TA: theta_l = theta0_l + alpha_l tau_l, alpha from the Fisher on random tokens (arXiv 2603.21705)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.common.contract import Card, Piece, Seen
from methods.common.fim_modules import FimModules, scaled_mean


class FimTa(FimModules):
    """Scales every layer's task vector by its coefficient in [0.5, 0.731]: Algorithm 1, steps 1 to 3.

    The gate factor and the calibration of output norms belong to FIM-TIES; they are off unless asked for.
    """

    card: ClassVar[Card] = Card(
        title="FIM-TA",
        source="FIM-Merging, arXiv 2603.21705, Algorithm 1 steps 1 to 3, eqs. 7 to 11",
        summary="random-token Fisher of the base gives every layer its coefficient of task arithmetic",
        aliases={"N": "samples", "L": "length", "theta_s": "sharpness"},
        reconstructed="layer granularity and excluded tensors are our reading; several experts are our extension",
    )

    def change(self, piece: Piece, seen: Seen) -> Tensor:
        """alpha_l tau_l; several experts: the mean of their scaled task vectors."""
        return scaled_mean(piece, self.scales(piece, seen))


METHOD = FimTa
