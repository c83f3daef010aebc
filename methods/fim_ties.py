"""FIM-TIES: Fisher-weighted trimming and layer-adaptive coefficients without data (arXiv 2603.21705).

theta_l = theta0_l + alpha_l * trim(tau_l), gate projections damped, output norms calibrated: Algorithm 1,
steps 1 to 5. No code was released; readings that the paper leaves open are parameters.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Pass, Piece, Scope, Seen, parameter
from methods.common.election import agreeing
from methods.common.fim import is_layer_matrix
from methods.common.fim_modules import FimModules
from methods.common.selection import Selection


class FimTies(FimModules):
    """Keeps the entries with the largest F |tau|, scales them by their layer's alpha in [0.5, 0.731]."""

    card: ClassVar[Card] = Card(
        title="FIM-TIES",
        source="FIM-Merging, arXiv 2603.21705, Algorithm 1",
        summary="random-token Fisher of the base weights a per-layer coefficient and the trim",
        aliases={"r": "keep", "N": "samples", "L": "length", "theta_s": "sharpness"},
        reconstructed="layer granularity, excluded tensors and calibration are our reading; several experts are "
        "our extension",
    )
    keep: float = parameter(
        0.2, "fraction of each matrix kept (r)", "FIM paper: 0.2 at 1.5B, 0.4 at 7B", gt=0, le=1
    )
    gate: float = parameter(0.7, "extra factor on alpha for gate projections", "FIM paper", ge=0, le=1)
    calibration: Literal["module", "residual", "block", "off"] = parameter(
        "module",
        "where output norms are calibrated: every merged matrix, those that write to the residual stream (o_proj and "
        "down_proj; c_proj; out_proj and fc2), whole blocks, nowhere",
        "our choice",
    )
    scope: Scope = parameter("tensor", "where the largest F |tau| are counted", "our choice")
    trim_rule: Literal["exact", "quantile"] = parameter(
        "exact", "exact count, or >= the quantile", "our choice"
    )
    zero_weight: Literal["by_delta", "drop"] = parameter(
        "by_delta",
        "entries with F |tau| = 0: ranked by |tau| so that exactly k survive, or never kept",
        "our choice",
    )

    @property
    def trim(self) -> Selection:
        """The entries with the largest w = F |tau|; equal w ranked by |tau|."""
        return Selection(
            "trim",
            self.scope,
            self.keep,
            self.trim_rule,
            score=_saliency,
            tie=lambda piece, m: piece.delta(m),
            takes=lambda piece: is_layer_matrix(piece.info),
        )

    def selection_passes(self) -> tuple[Pass, ...]:
        """Trimming thresholds."""
        return self.trim.passes()

    def notes(self, changes: dict[str, Tensor]) -> dict[str, float]:
        """Fraction of the matrix that moves."""
        weight = changes["weight"]
        return {"kept": float((weight != 0).sum()) / weight.numel()}

    def change(self, piece: Piece, seen: Seen) -> Tensor:
        """alpha_l times the trimmed task vector (several experts: sign election and disjoint mean)."""
        trimmed = []
        for m, delta in enumerate(piece.deltas):
            mask = self.trim.mask(piece, m, seen)
            if self.zero_weight == "drop":
                mask &= _saliency(piece, m) > 0
            trimmed.append(delta * mask)
        scaled = [scale * delta for scale, delta in zip(self.scales(piece, seen), trimmed, strict=True)]
        if len(scaled) == 1:
            return scaled[0]
        # The trimmed vectors vote, before scaling: sums that cancel must stay exactly 0.
        return agreeing(
            torch.stack(scaled), piece.weights, "mean", zero_sign=0.0, voters=torch.stack(trimmed)
        )


def _saliency(piece: Piece, expert: int) -> Tensor:
    """w = F |tau|, elementwise (Algorithm 1, step 4)."""
    return piece.statistics["fisher"][0] * piece.delta(expert).abs()


METHOD = FimTies
