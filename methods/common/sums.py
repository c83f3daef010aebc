"""Sums over any number of elements that do not depend on how the elements were cut into runs.

A floating-point sum depends on the order of its terms. Here the terms are grouped once and for all: float64
sums of runs of CHUNK elements counted from the tensor's start (every run that a method is handed starts at a
multiple of CHUNK), added up exactly rounded at the end.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

CHUNK = 1 << 16

Chunks = tuple[tuple[float, ...], ...]  # chunk sums of several quantities


def chunk_sums(values: Tensor) -> tuple[float, ...]:
    """float64 sums of each CHUNK elements of `values` in flat order; combine by concatenating, end with `total`."""
    flat = values.flatten()
    return tuple(float(run.sum(dtype=torch.float64)) for run in flat.split(CHUNK))


def concatenate(a: Chunks, b: Chunks) -> Chunks:
    """Chunk sums of two runs of elements that follow one another, quantity by quantity."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def total(sums: Iterable[float]) -> float:
    """The sum of chunk sums, correctly rounded whatever their order."""
    return math.fsum(sums)
