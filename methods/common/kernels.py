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
Halves = NDArray[np.uint16]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TILE = 1024

kernel: Any = njit(nogil=True, cache=True, error_model="numpy")


@kernel
def count_high(keys: Keys, mask: np.uint32, counts: Counts) -> int:
    """Add the high 16 bits of every key (under `mask`) to `counts` [65536]; returns how many keys are 0."""
    zeros = 0
    for i in range(len(keys)):
        key = keys[i] & mask
        counts[key >> np.uint32(16)] += 1
        zeros += key == 0
    return zeros


@kernel
def count_low(keys: Keys, mask: np.uint32, high: int, counts: Counts) -> None:
    """Add the low 16 bits of the keys (under `mask`) whose high bits are `high` to `counts` [65536]."""
    wanted = np.uint32(high)
    for i in range(len(keys)):
        key = keys[i] & mask
        if key >> np.uint32(16) == wanted:
            counts[key & np.uint32(0xFFFF)] += 1


@kernel
def count_equal(keys: Keys, mask: np.uint32, value: int) -> int:
    """How many keys (under `mask`) equal `value`."""
    level, equal = np.uint32(value), np.uint32(0)
    for i in range(len(keys)):
        equal += np.uint32((keys[i] & mask) == level)
    return int(equal)


@kernel
def differences(base: Halves, experts: Halves, deltas: Floats) -> None:
    """deltas[m] = experts[m] - base in float32, from the bit patterns of bfloat16: base [n], experts [M, n]."""
    n = len(base)
    bits = np.empty((2, TILE), np.uint32)
    values = bits.view(np.float32)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        own = base[begin:end]
        for i in range(end - begin):
            bits[0, i] = np.uint32(own[i]) << np.uint32(16)
        for m in range(deltas.shape[0]):
            expert, delta = experts[m, begin:end], deltas[m, begin:end]
            for i in range(end - begin):
                bits[1, i] = np.uint32(expert[i]) << np.uint32(16)
            for i in range(end - begin):
                delta[i] = values[1, i] - values[0, i]


@kernel
def weighted_differences(base: Halves, experts: Halves, weights: Floats, total: Floats) -> None:
    """total = sum_m w_m (experts[m] - base), term by term in float32, from the bit patterns of bfloat16."""
    n = len(base)
    bits = np.empty((2, TILE), np.uint32)
    values = bits.view(np.float32)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        own, sums = base[begin:end], total[begin:end]
        sums[:] = np.float32(0.0)
        for i in range(end - begin):
            bits[0, i] = np.uint32(own[i]) << np.uint32(16)
        for m in range(experts.shape[0]):
            weight, expert = weights[m], experts[m, begin:end]
            for i in range(end - begin):
                bits[1, i] = np.uint32(expert[i]) << np.uint32(16)
            for i in range(end - begin):
                sums[i] += weight * (values[1, i] - values[0, i])


@kernel
def moved(base: Halves, step: Floats, scale: float, place: Floats) -> None:
    """place = base + scale * step in float32, from the bit patterns of bfloat16."""
    factor, n = np.float32(scale), len(base)
    bits = np.empty(TILE, np.uint32)
    values = bits.view(np.float32)
    for begin in range(0, n, TILE):
        end = min(n, begin + TILE)
        own, steps, out = base[begin:end], step[begin:end], place[begin:end]
        for i in range(end - begin):
            bits[i] = np.uint32(own[i]) << np.uint32(16)
        for i in range(end - begin):
            out[i] = values[i] + factor * steps[i]


@kernel
def drop(values: Floats, key: np.uint64, start: int, lowest: int, factor: float, kept: Floats) -> None:
    """factor * values where the element's 32-bit draw is at least `lowest`, else 0; `start` is the flat place of
    the first element.

    The draw is the high half of the SplitMix64 output (Steele, Lea, Flood 2014) of key + place: a counter-based
    generator, so that it depends on nothing but key and place.
    """
    scale, level = np.float32(factor), np.uint64(lowest)
    for i in range(len(values)):
        z = key + np.uint64(start + i) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        draw = (z ^ (z >> np.uint64(31))) >> np.uint64(32)
        kept[i] = values[i] * scale if draw >= level else np.float32(0.0)


@kernel
def trim(values: Floats, keys: Keys, mask: np.uint32, threshold: int, quota: int, kept: Floats) -> None:
    """Copy the values whose key (under `mask`) is above the threshold, and the first `quota` of those that equal
    it; 0 elsewhere.

    A run keeps all of its ties or none, but for the one run in which the count is reached.
    """
    level, ties = np.uint32(threshold), np.uint32(0)
    for i in range(len(keys)):
        ties += np.uint32((keys[i] & mask) == level)
    lowest = level if quota >= ties else np.uint32(threshold + 1)
    for i in range(len(keys)):
        kept[i] = values[i] if (keys[i] & mask) >= lowest else np.float32(0.0)
    if 0 < quota < ties:
        for i in range(len(keys)):
            if (keys[i] & mask) == level and quota > 0:
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
