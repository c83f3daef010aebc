"""Loops over elements that would cost many sweeps of memory as tensor operations, compiled by numba.

Imported inside the functions that use it: numba takes half a second to import. Machine code is kept beside this
file (or in the user's cache), so that it is compiled once. Every kernel releases the interpreter lock, works on
contiguous arrays, and gives each element the same result wherever a run of elements begins.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit  # type: ignore[import-untyped]
from numpy.typing import NDArray

Keys = NDArray[np.uint32]
Counts = NDArray[np.int64]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TILE = 1024

kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def count_high(keys: Keys, counts: Counts) -> int:
    """Add the high 16 bits of every key to `counts` [65536]; returns how many keys are 0."""
    zeros = 0
    for key in keys:
        counts[key >> 16] += 1
        zeros += key == 0
    return zeros


@kernel
def count_low(keys: Keys, high: int, counts: Counts) -> None:
    """Add the low 16 bits of the keys whose high bits are `high` to `counts` [65536]."""
    for key in keys:
        if key >> 16 == high:
            counts[key & 0xFFFF] += 1


@kernel
def keep_drawn(values: Floats, draws: Floats, drop_rate: float, factor: float, kept: Floats) -> None:
    """factor * values where the draw in [0, 1) is at least `drop_rate`, else 0."""
    rate, scale = np.float32(drop_rate), np.float32(factor)
    for i in range(len(values)):
        kept[i] = values[i] * scale if draws[i] >= rate else np.float32(0.0)


@kernel
def trim(values: Floats, keys: Keys, threshold: int, quota: int, kept: Floats) -> None:
    """Copy the values whose key is above the threshold, and the first `quota` of those that equal it; 0 elsewhere.

    A run keeps all of its ties or none, but for the one run in which the count is reached.
    """
    level, ties = np.uint32(threshold), np.uint32(0)
    for i in range(len(keys)):
        ties += np.uint32(keys[i] == level)
    lowest = level if quota >= ties else np.uint32(threshold + 1)
    for i in range(len(keys)):
        kept[i] = values[i] if keys[i] >= lowest else np.float32(0.0)
    if 0 < quota < ties:
        for i in range(len(keys)):
            if keys[i] == level and quota > 0:
                kept[i] = values[i]
                quota -= 1


@kernel
def elect(voters: Floats, weights: Floats, begin: int, end: int, votes: Doubles) -> None:
    """votes[i - begin] = sum_m w_m v_m[i], in float64 so that the order of the experts does not decide."""
    votes[:] = 0.0
    for m in range(voters.shape[0]):
        weight, row = np.float64(weights[m]), voters[m, begin:end]
        for i in range(end - begin):
            votes[i] += weight * np.float64(row[i])


@kernel
def sign_total(voters: Floats, weights: Floats) -> int:
    """Sum over coordinates of the sign of sum_m w_m v_m; `voters` is [M, n]."""
    total, n = 0, voters.shape[1]
    votes = np.empty(TILE, np.float64)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        elect(voters, weights, begin, end, votes)
        for i in range(end - begin):
            total += int(votes[i] > 0) - int(votes[i] < 0)
    return total


@kernel
def agreeing(
    values: Floats, voters: Floats, weights: Floats, zero_sign: float, mean: bool, merged: Floats
) -> None:
    """Per coordinate, the weighted mean or sum of the values [M, n] whose voter has the elected sign; 0 if none.

    The elected sign is that of sum_m w_m voter_m; a sum of exactly 0 takes `zero_sign` (-1, 0 or 1). Works in
    tiles that stay in the first-level cache, expert by expert and without a branch, so that the compiler can
    handle several coordinates at once.
    """
    n = values.shape[1]
    zero, nothing, one = np.float32(zero_sign), np.float32(0.0), np.float32(1.0)
    votes, mass = np.empty(TILE, np.float64), np.empty(TILE, np.float32)
    sign, totals = np.empty(TILE, np.float32), np.empty(TILE, np.float32)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        elect(voters, weights, begin, end, votes)
        for i in range(end - begin):
            elected = np.float32(votes[i] > 0) - np.float32(votes[i] < 0)
            sign[i] = zero if elected == nothing else elected
        totals[:] = nothing
        mass[:] = nothing
        for m in range(values.shape[0]):
            weight, voter, value = weights[m], voters[m, begin:end], values[m, begin:end]
            for i in range(end - begin):
                share = weight if voter[i] * sign[i] > nothing else nothing
                totals[i] += share * value[i]
                mass[i] += share
        out = merged[begin:end]
        for i in range(end - begin):
            divisor = mass[i] if mean and mass[i] > nothing else one
            out[i] = totals[i] / divisor
