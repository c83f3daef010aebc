"""Localize-and-Stitch, dataless: stitch the largest entries of every task vector into the base (arXiv 2408.13656)."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Scope, Seen, parameter
from methods.common.selection import Selection, TrimRule


class LocalizeAndStitch(Method):
    """theta = theta_0 + sum_m (mask_m / n) tau_m, n the number of masks that cover the coordinate.

    There is no sign rule and no scale: entries that overlap are averaged.
    """

    card: ClassVar[Card] = Card(
        title="Localize-and-Stitch (dataless)",
        source="He et al. 2024, arXiv 2408.13656; its code and MergeBench's",
        summary="the largest entries of every task vector, averaged where they overlap",
        aliases={"sparsity": "keep", "K": "keep"},
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"

    keep: float = parameter(
        0.1,
        "fraction of every task vector stitched in",
        "DRIFT-MEDIAN; 0.05 in the original for RoBERTa",
        gt=0,
        le=1,
    )
    scope: Scope = parameter(
        "model", "where the largest are counted: tensor, block or model", "original code"
    )
    trim_rule: TrimRule = parameter(
        "exact", "exact count, or everything at or above the next entry or the quantile", "our choice"
    )
    overlap: Literal["mean", "mergebench"] = parameter(
        "mean",
        "weight of an entry that other masks cover: 1 / masks, or MergeBench's 1 / 2 if the last other expert's "
        "mask covers it, else 1",
        "original code",
    )

    @property
    def localized(self) -> Selection:
        """The largest entries of each task vector."""
        return Selection(
            "localize", self.scope, self.keep, self.trim_rule, score=lambda piece, m: piece.delta(m)
        )

    def passes(self) -> tuple[Pass, ...]:
        """Thresholds."""
        return self.localized.passes()

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements; sums over experts in float64."""
        masks = torch.stack([self.localized.mask(piece, m, seen) for m in range(len(piece.experts))])
        total = torch.zeros_like(piece.base, dtype=torch.float64)
        if self.overlap == "mean":
            for mask, delta in zip(masks, piece.deltas, strict=True):
                total += delta.where(mask, 0.0)
            total /= masks.sum(0, dtype=torch.int32).clamp_min_(1)
        else:
            for m, delta in enumerate(piece.deltas):
                total += delta.where(masks[m], 0.0) / (1 + _last_other(masks, m))
        return (piece.base + total).float()


def _last_other(masks: Tensor, expert: int) -> Tensor:
    """Whether the mask of the last expert but `expert` covers an entry: 0 or 1, [*shape]."""
    others = [m for m in range(len(masks)) if m != expert]
    return (masks[others[-1]] if others else torch.zeros_like(masks[0])).int()


METHOD = LocalizeAndStitch
