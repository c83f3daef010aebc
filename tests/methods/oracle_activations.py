"""RegMean and AIM once more in plain NumPy, from what they minimise and from their formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def gram(inputs: Array) -> Array:
    """X^T X / tokens."""
    return inputs.T.astype(np.float64) @ inputs / len(inputs)


def regress(inputs: Sequence[Array], matrices: Sequence[Array], start: Array) -> Array:
    """argmin over W [in, out] of sum_m |X_m W - X_m W_m|^2 / tokens, nearest to `start` where it is free."""
    rows = [x.astype(np.float64) / np.sqrt(len(x)) for x in inputs]
    targets = [x @ (w - start) for x, w in zip(rows, matrices, strict=True)]
    found = np.linalg.lstsq(np.concatenate(rows), np.concatenate(targets), rcond=1e-6)[0]
    return start + found


def regmean(
    grams: Sequence[Array], matrices: Sequence[Array], weights: Sequence[float], *, off_diagonal: float
) -> Array:
    """(sum w G')^-1 sum w G' W with W as [in, out], by LU in float64."""
    reduced = []
    for g, w in zip(grams, weights, strict=True):
        own = g.astype(np.float64) * off_diagonal
        np.fill_diagonal(own, np.diag(g))
        reduced.append(w * own)
    pull = sum(g @ w.astype(np.float64) for g, w in zip(reduced, matrices, strict=True))
    return np.linalg.solve(sum(reduced), pull)


def weighted_mean(values: Sequence[Array], weights: Sequence[float]) -> Array:
    """Plain weighted mean in float64."""
    return np.average(np.stack(values).astype(np.float64), axis=0, weights=weights)


def relax(base: Array, merged: Array, activity: Array, omega: float, *, input_axis: int = 1) -> Array:
    """W0 + (W - W0) (1 - (1 - omega) u / max u), u along the input axis of a matrix or along a vector."""
    factor = 1 - (1 - omega) * activity.astype(np.float64) / activity.max()
    if base.ndim == 2:
        factor = factor[None, :] if input_axis == 1 else factor[:, None]
    return base + (merged - base) * factor
