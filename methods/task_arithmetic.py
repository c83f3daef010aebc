"""Task Arithmetic: theta = theta_0 + lambda * sum_m w_m tau_m (Ilharco et al., arXiv 2212.04089)."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from methods.common.contract import Card, Method, Piece, Seen, parameter


class TaskArithmetic(Method):
    """Adds the scaled, weighted sum of the task vectors to the base. Weights may be negative (forgetting)."""

    card: ClassVar[Card] = Card(
        title="Task Arithmetic",
        source="Ilharco et al. 2023, arXiv 2212.04089; long-to-short default from Wu et al. 2025",
        summary="theta_0 + lambda * sum of task vectors",
        aliases={"alpha": "lambda", "scaling_coefficient": "lambda"},
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "signed"

    lambda_: float = parameter(
        0.7,
        "scale on the summed task vectors",
        "L2S repository, one expert, all sizes",
        alias="lambda",
        ge=-10,
        le=10,
    )
    normalize: bool = parameter(False, "divide by the sum of the experts' weights", "off in the paper")

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32."""
        scale = self.lambda_ / sum(piece.weights) if self.normalize else self.lambda_
        return piece.moved(piece.combined(piece.weights), scale)


METHOD = TaskArithmetic
