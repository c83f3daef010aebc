"""TIES's two steps across experts: elect a sign per coordinate, then merge the experts that agree with it.

Source: TIES-Merging (arXiv 2306.01708), steps 2 and 3.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from methods.common.contract import Pass, Scope, Seen, TensorInfo, Unit

ZeroSign = Literal["zero", "positive", "majority"]
Aggregate = Literal["mean", "sum"]


def majority_pass(
    scope: Scope,
    signs: Callable[[Unit, Seen], int],
    needed: Callable[[Seen, TensorInfo, int], bool] = lambda seen, info, experts: True,
) -> Pass:
    """Sum of the elected signs over `scope`, which `signs` gives for one unit."""
    return Pass("majority", scope, signs, operator.add, lambda total, seen, key: total, needed)


def sign_of_zero(rule: ZeroSign, balance: float) -> float:
    """The sign that a sum of exactly 0 takes: -1, 0 or 1. `balance` is the sum of all elected signs."""
    if rule == "majority":
        return float((balance > 0) - (balance < 0))
    return 1.0 if rule == "positive" else 0.0


def sign_count(trimmed: Tensor, weights: Sequence[float]) -> int:
    """Sum over all coordinates of the elected signs, those of sum_m w_m tau_m (the majority sign is its sign).

    `trimmed` holds task vectors, [M, *shape] float32.
    """
    from methods.common import kernels

    return int(kernels.sign_total(trimmed.flatten(1).numpy(), np.asarray(weights, dtype=np.float32)))


def agreeing(
    values: Tensor,
    weights: Sequence[float],
    aggregate: Aggregate,
    *,
    zero_sign: float,
    voters: Tensor | None = None,
) -> Tensor:
    """Weighted mean (disjoint mean) or sum of the entries whose sign is the elected one; 0 where there is none.

    `values` [M, *shape] float32 gives [*shape]. The sign is elected by `voters` of the same shape (the values
    themselves when None) as that of sum_m w_m voter_m; a sum of exactly 0 takes `zero_sign`.
    """
    from methods.common import kernels

    flat = values.flatten(1).numpy()
    merged = np.empty(flat.shape[1], dtype=np.float32)
    kernels.agreeing(
        flat,
        flat if voters is None else voters.flatten(1).numpy(),
        np.asarray(weights, dtype=np.float32),
        float(zero_sign),
        aggregate == "mean",
        merged,
    )
    return torch.from_numpy(merged).view(values.shape[1:])
