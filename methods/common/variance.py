"""SCE's loops over experts at each position, compiled by numba. Imported inside the functions that use it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from methods.common.kernels import TILE, Floats, kernel

Mask = NDArray[np.bool_]
Wide = NDArray[np.float64]


@kernel
def deviation(deltas: Floats, found: Floats) -> None:
    """Root of the population variance over experts: [n] of [M, n], computed in float64.

    In the float32 of the root the variance of small task vectors does not vanish.
    """
    count, n = deltas.shape
    mean, square = np.empty(TILE, np.float64), np.empty(TILE, np.float64)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        mean[:] = 0.0
        square[:] = 0.0
        for m in range(count):
            row = deltas[m]
            for i in range(begin, end):
                mean[i - begin] += np.float64(row[i])
        for i in range(end - begin):
            mean[i] /= count  # of equal values exactly that value
        for m in range(count):
            row = deltas[m]
            for i in range(begin, end):
                off = np.float64(row[i]) - mean[i - begin]
                square[i - begin] += off * off
        for i in range(begin, end):
            found[i] = np.float32(np.sqrt(square[i - begin] / count))


@kernel
def energies(deltas: Floats, kept: Mask, length: int, sums: Wide) -> None:
    """float64 sums of squares at the kept positions, [M, runs of `length` elements]."""
    count, n = deltas.shape
    for m in range(count):
        row = deltas[m]
        for chunk in range(sums.shape[1]):
            total = 0.0
            for i in range(chunk * length, min(n, (chunk + 1) * length)):
                value = np.float64(row[i]) if kept[i] else 0.0
                total += value * value
            sums[m, chunk] = total


@kernel
def majority_mean(deltas: Floats, kept: Mask, shares: Wide, merged: Floats) -> None:
    """Mean, weighted by the experts' shares, of the entries whose sign is that of the plain sum (0 counts as
    positive); 0 where there is none or the position is not kept. [n] of [M, n]."""
    count, n = deltas.shape
    votes, whole, mass = np.empty(TILE, np.float64), np.empty(TILE, np.float64), np.empty(TILE, np.float64)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        votes[:] = 0.0
        whole[:] = 0.0
        mass[:] = 0.0
        for m in range(count):
            row = deltas[m]
            for i in range(begin, end):
                votes[i - begin] += np.float64(row[i])
        for m in range(count):
            row, share = deltas[m], shares[m]
            for i in range(begin, end):
                value = np.float64(row[i])
                agrees = value > 0 if votes[i - begin] >= 0 else value < 0
                own = share if agrees else 0.0
                whole[i - begin] += own * value
                mass[i - begin] += own
        for i in range(begin, end):
            divisor = mass[i - begin] if mass[i - begin] > 0 else 1.0
            merged[i] = np.float32(whole[i - begin] / divisor) if kept[i] else np.float32(0.0)
