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
def elect(voters: Floats, weights: Floats, begin: int, end: int, votes: NDArray[np.float64]) -> None:
    """votes[i - begin] = sum_m w_m v_m[i], in float64 so that the order of the experts does not decide."""
    votes[: end - begin] = 0.0
    for m in range(voters.shape[0]):
        weight, row = np.float64(weights[m]), voters[m]
        for i in range(begin, end):
            votes[i - begin] += weight * np.float64(row[i])


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
    tiles that stay in the first-level cache, expert by expert, without a branch: a mispredicted one costs more
    than all the arithmetic.
    """
    n = values.shape[1]
    votes, mass = np.empty(TILE, np.float64), np.empty(TILE, np.float64)
    totals = np.empty(TILE, np.float64)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        elect(voters, weights, begin, end, votes)
        for i in range(end - begin):
            votes[i] = zero_sign if votes[i] == 0 else votes[i]
            totals[i] = 0.0
            mass[i] = 0.0
        for m in range(values.shape[0]):
            weight, voter, value = np.float64(weights[m]), voters[m], values[m]
            for i in range(begin, end):
                share = weight if voter[i] * votes[i - begin] > 0 else 0.0
                totals[i - begin] += share * np.float64(value[i])
                mass[i - begin] += share
        for i in range(begin, end):
            divisor = mass[i - begin] if mean and mass[i - begin] > 0 else 1.0
            merged[i] = np.float32(totals[i - begin] / divisor)
