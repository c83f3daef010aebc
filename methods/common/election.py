"""TIES's two steps across experts: elect a sign per coordinate, then merge the experts that agree with it.

Source: TIES-Merging (arXiv 2306.01708), steps 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

ZeroSign = Literal["zero", "positive", "majority"]
Aggregate = Literal["mean", "sum"]


def elected_sum(trimmed: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """sum_m w_m tau_m, whose sign is the elected sign; float32, shape of one task vector."""
    total = torch.zeros_like(trimmed[0])
    for delta, weight in zip(trimmed, weights, strict=True):
        total += weight * delta
    return total


def sign_count(trimmed: Sequence[Tensor], weights: Sequence[float]) -> int:
    """Sum of the elected signs over all coordinates (the majority sign is its sign)."""
    return int(elected_sum(trimmed, weights).sign().sum(dtype=torch.float64))


def elect(trimmed: Sequence[Tensor], weights: Sequence[float], *, zero_sign: float) -> Tensor:
    """Elected sign per coordinate, -1, 0 or 1; an exactly zero sum takes `zero_sign`."""
    sign = elected_sum(trimmed, weights).sign()
    return torch.where(sign == 0, torch.full_like(sign, zero_sign), sign)


def agreeing(
    trimmed: Sequence[Tensor], weights: Sequence[float], sign: Tensor, aggregate: Aggregate
) -> Tensor:
    """Weighted mean (disjoint mean) or sum of the non-zero entries whose sign is the elected one; 0 if none."""
    total = torch.zeros_like(sign)
    mass = torch.zeros_like(sign)
    for delta, weight in zip(trimmed, weights, strict=True):
        agrees = (delta.sign() == sign) & (delta != 0)
        total += torch.where(agrees, weight * delta, 0.0)
        mass += torch.where(agrees, weight, 0.0)
    return total if aggregate == "sum" else torch.where(mass > 0, total / mass, 0.0)
