"""Fisher-weighted aggregation of task vectors, one coordinate at a time over all experts, compiled by numba.

Source: DRIFT-MEDIAN, "Task-Aware Model Merging via Fisher-Weighted Median", eqs. 2 to 4. Imported inside the
functions that use it. Everything is done in tiles [experts, WIDTH] of float64 that stay in the first-level
cache: every step is a loop over a tile's coordinates without a branch, so that it runs on vector registers, and
sorting over experts is a network of compare-and-swap steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from methods.common.kernels import kernel

Floats = NDArray[np.float32]
Tile = NDArray[np.float64]

WIDTH = 128  # coordinates of a tile
RUN = 1 << 15  # coordinates whose weights are gathered at once: they stay in the second-level cache


class Select(IntEnum):
    """Which experts a coordinate retains."""

    TOP_K = 0
    ABOVE_MEAN = 1
    ABOVE_MEDIAN = 2
    ALL = 3


class Zeros(IntEnum):
    """What becomes of pruned entries."""

    LITERAL = 0
    EXCLUDE = 1
    STRICT = 2


class Plan(NamedTuple):
    """What the kernel does, in numbers.

    `survivors`: a mean or median threshold is taken over non-zero entries only; `above`: entries must exceed it.
    `low_share` of the lower end of the median's interval is mixed with the upper end; `nearest` takes its point
    nearest to 0 instead. `plain`: where all weights are 0 they become 1; else such coordinates do not move.
    """

    sign: bool
    select_first: bool
    select: Select
    top_k: int
    zeros: Zeros
    survivors: bool
    above: bool
    mean: bool
    low_share: float
    nearest: bool
    plain: bool
    zero_sign: float
    scale: float


def aggregate(
    experts: Floats, base: Floats, weights: Sequence[Floats] | None, factors: Sequence[float], plan: Plan
) -> Floats:
    """theta_0 + scale * aggregate of the task vectors: [n] float32 from experts [M, n], base [n] and one weight
    vector [n] per expert, multiplied by its factor (None: all weights equal)."""
    count, n = experts.shape
    merged = np.empty(n, np.float32)
    gathered = np.ones((count, min(n, RUN)), np.float32)
    factor = np.asarray(factors, np.float64)
    for begin in range(0, n, RUN):
        end = min(n, begin + RUN)
        for m, row in enumerate(weights or ()):
            gathered[m, : end - begin] = row[begin:end]
        _aggregate(experts, base, gathered, factor, plan, begin, end, merged)
    return merged


def sign_balance(experts: Floats, base: Floats, plan: Plan) -> int:
    """Sum over coordinates of the elected sign, an exactly zero sum counting 0."""
    return int(_sign_balance(experts, base, plan))


@kernel
def _aggregate(
    experts: Floats,
    base: Floats,
    weights: Floats,
    factors: Tile,
    plan: Plan,
    first: int,
    last: int,
    merged: Floats,
) -> None:
    """The run [first, last) of coordinates; `weights` [M, last - first] begin with it."""
    tile = (experts.shape[0], WIDTH)
    taus, kept, mass, sizes = np.empty(tile), np.empty(tile), np.empty(tile), np.empty(tile)
    line, found = np.empty(WIDTH), np.empty(WIDTH)
    for begin in range(first, last, WIDTH):
        width = min(WIDTH, last - begin)
        _load(experts, base, begin, width, taus)
        _resolve(taus, kept, sizes, line, plan, width)
        _weigh(weights, factors, begin - first, kept, mass, line, plan.plain, width)
        if plan.mean:
            _mean(taus, mass, line, found, width)
        else:
            _sort(taus, mass, width)
            _median(taus, mass, plan.low_share, plan.nearest, line, found, width)
        for i in range(width):
            merged[begin + i] = np.float32(np.float64(base[begin + i]) + plan.scale * found[i])


@kernel
def _sign_balance(experts: Floats, base: Floats, plan: Plan) -> int:
    tile, n = (experts.shape[0], WIDTH), experts.shape[1]
    taus, kept, sizes, line = np.empty(tile), np.empty(tile), np.empty(tile), np.empty(WIDTH)
    total = 0
    for begin in range(0, n, WIDTH):
        width = min(WIDTH, n - begin)
        _load(experts, base, begin, width, taus)
        kept[:, :] = 1.0
        if plan.select_first:
            _retain(taus, kept, sizes, line, plan, width)
        _vote(taus, kept, line, width)
        for i in range(width):
            total += 1 if line[i] > 0 else (-1 if line[i] < 0 else 0)
    return total


@kernel
def _load(experts: Floats, base: Floats, begin: int, width: int, taus: Tile) -> None:
    """Task vectors: float32 differences."""
    for m in range(experts.shape[0]):
        row, tau = experts[m], taus[m]
        for i in range(width):
            tau[i] = np.float64(row[begin + i] - base[begin + i])


@kernel
def _resolve(taus: Tile, kept: Tile, sizes: Tile, line: Tile, plan: Plan, width: int) -> None:
    """Sign resolution and selection: pruned entries become 0, `kept` is 1 for the retained experts, else 0."""
    kept[:, :] = 1.0
    if plan.select_first:
        _retain(taus, kept, sizes, line, plan, width)
    if plan.sign:
        _vote(taus, kept, line, width)
        for m in range(taus.shape[0]):
            tau = taus[m]
            for i in range(width):
                vote = plan.zero_sign if line[i] == 0 else line[i]
                tau[i] = tau[i] if tau[i] * vote > 0 else 0.0
    if not plan.select_first:
        _retain(taus, kept, sizes, line, plan, width)
    if plan.zeros == Zeros.EXCLUDE:
        for m in range(taus.shape[0]):
            tau, keep = taus[m], kept[m]
            for i in range(width):
                keep[i] = 0.0 if tau[i] == 0 else keep[i]


@kernel
def _vote(taus: Tile, kept: Tile, votes: Tile, width: int) -> None:
    """Sum of the retained task vectors, whose sign is the elected one."""
    votes[:] = 0.0
    for m in range(taus.shape[0]):
        tau, keep = taus[m], kept[m]
        for i in range(width):
            votes[i] += tau[i] * keep[i]


@kernel
def _retain(taus: Tile, kept: Tile, sizes: Tile, cut: Tile, plan: Plan, width: int) -> None:
    """Mark the experts whose |tau| reaches the coordinate's threshold."""
    count = taus.shape[0]
    if plan.select == Select.ALL:
        return
    for m in range(count):
        tau, size = taus[m], sizes[m]
        for i in range(width):
            size[i] = abs(tau[i])
    if plan.select == Select.TOP_K:
        _largest_first(sizes, plan.top_k, width)
        cut[:] = sizes[plan.top_k - 1]
    elif plan.select == Select.ABOVE_MEAN:
        _mean_size(sizes, cut, plan.survivors, width)
    else:
        _largest_first(sizes, count, width)
        _median_size(sizes, cut, plan.survivors, width)
    for m in range(count):
        tau, keep = taus[m], kept[m]
        for i in range(width):
            size = abs(tau[i])
            keep[i] = 1.0 if size > cut[i] or (size == cut[i] and not plan.above) else 0.0
    if plan.zeros == Zeros.STRICT:
        _drop_surplus(taus, kept, cut, sizes, plan.top_k, width)


@kernel
def _largest_first(sizes: Tile, ranks: int, width: int) -> None:
    """Bring the `ranks` largest to the front, largest first."""
    count = sizes.shape[0]
    for rank in range(min(ranks, count - 1)):
        for j in range(count - 1, rank, -1):
            upper, lower = sizes[j - 1], sizes[j]
            for i in range(width):
                a, b = upper[i], lower[i]
                upper[i] = b if b > a else a
                lower[i] = a if b > a else b


@kernel
def _mean_size(sizes: Tile, cut: Tile, survivors: bool, width: int) -> None:
    count = sizes.shape[0]
    alive = np.zeros(WIDTH, np.float64)
    cut[:] = 0.0
    for m in range(count):
        size = sizes[m]
        for i in range(width):
            cut[i] += size[i]
            alive[i] += 1.0 if size[i] > 0 else 0.0
    for i in range(width):
        divisor = max(alive[i], 1.0) if survivors else float(count)
        cut[i] /= divisor


@kernel
def _median_size(sizes: Tile, cut: Tile, survivors: bool, width: int) -> None:
    """Middle of sizes sorted largest first, mean of the two middle ones of an even number."""
    count = sizes.shape[0]
    for i in range(width):
        alive = count
        if survivors:
            alive = 0
            for m in range(count):
                alive += sizes[m, i] > 0
            alive = max(alive, 1)
        cut[i] = (sizes[(alive - 1) // 2, i] + sizes[alive // 2, i]) / 2


@kernel
def _drop_surplus(taus: Tile, kept: Tile, cut: Tile, sizes: Tile, top_k: int, width: int) -> None:
    """Of the experts at the threshold keep the first, so that exactly `top_k` remain."""
    left = sizes[0]  # its content has served
    left[:] = float(top_k)
    for m in range(taus.shape[0]):
        tau = taus[m]
        for i in range(width):
            left[i] -= 1.0 if abs(tau[i]) > cut[i] else 0.0
    for m in range(taus.shape[0]):
        tau, keep = taus[m], kept[m]
        for i in range(width):
            at_cut = abs(tau[i]) == cut[i]
            keep[i] = 0.0 if at_cut and left[i] <= 0 else keep[i]
            left[i] -= 1.0 if at_cut else 0.0


@kernel
def _weigh(
    weights: Floats, factors: Tile, begin: int, kept: Tile, mass: Tile, totals: Tile, plain: bool, width: int
) -> None:
    """Weights of the retained experts, 0 for the others; 1 where all retained ones have weight 0."""
    totals[:] = 0.0
    for m in range(kept.shape[0]):
        factor, weight, keep, own = factors[m], weights[m], kept[m], mass[m]
        for i in range(width):
            own[i] = keep[i] * (factor * np.float64(weight[begin + i]))
            totals[i] += own[i]
    if plain:
        for m in range(kept.shape[0]):
            keep, own = kept[m], mass[m]
            for i in range(width):
                own[i] = keep[i] if totals[i] == 0 else own[i]


@kernel
def _mean(taus: Tile, mass: Tile, totals: Tile, found: Tile, width: int) -> None:
    """sum_m w_m tau_m / sum_m w_m, 0 where all weights are 0."""
    totals[:] = 0.0
    found[:] = 0.0
    for m in range(taus.shape[0]):
        tau, own = taus[m], mass[m]
        for i in range(width):
            totals[i] += own[i]
            found[i] += own[i] * tau[i]
    for i in range(width):
        found[i] = found[i] / totals[i] if totals[i] > 0 else 0.0


@kernel
def _sort(taus: Tile, mass: Tile, width: int) -> None:
    """Order every coordinate's experts by tau, smallest first, their weights with them."""
    count = taus.shape[0]
    for rank in range(count - 1):
        for j in range(count - 1, rank, -1):
            upper, lower, own, other = taus[j - 1], taus[j], mass[j - 1], mass[j]
            for i in range(width):
                a, b, v, w = upper[i], lower[i], own[i], other[i]
                swap = b < a
                upper[i] = b if swap else a
                lower[i] = a if swap else b
                own[i] = w if swap else v
                other[i] = v if swap else w


@kernel
def _median(
    taus: Tile, mass: Tile, low_share: float, nearest: bool, low: Tile, high: Tile, width: int
) -> None:
    """Weighted median of sorted values into `high`; it is 0 where all weights are 0.

    Every point of [low, high] minimises sum_m w_m |tau_m - x|: low is the first value whose cumulative weight
    reaches half of the whole, high the first whose cumulative weight exceeds it.
    """
    count = taus.shape[0]
    for m in range(1, count):
        before, own = mass[m - 1], mass[m]
        for i in range(width):
            own[i] += before[i]
    whole = mass[count - 1]
    for m in range(count - 1, -1, -1):
        tau, own = taus[m], mass[m]
        for i in range(width):
            low[i] = tau[i] if 2 * own[i] >= whole[i] else low[i]
            high[i] = tau[i] if 2 * own[i] > whole[i] else high[i]
    for i in range(width):
        mixed = low_share * low[i] + (1 - low_share) * high[i]
        inner = low[i] if low[i] > 0 else (high[i] if high[i] < 0 else 0.0)
        middle = inner if nearest else mixed
        high[i] = middle if whole[i] > 0 else 0.0
