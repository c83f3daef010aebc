"""Splits of generated benchmarks: an item belongs to the split that a hash of its canonical form names.

Splits are therefore disjoint by construction, for an endless training stream as well. Only `random.Random`
seeded with integers and `hashlib` are used: the items are the same on every machine and Python version.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

SPLITS = ("train", "validation", "test")
_TEST_SHARE, _VALIDATION_SHARE = 10, 10  # per cent of all canonical items


def split_of(canonical: str) -> str:
    """The split to which an item with this canonical form (ASCII text) belongs."""
    bucket = int.from_bytes(hashlib.sha256(canonical.encode("ascii")).digest()[:8], "big") % 100
    if bucket < _TEST_SHARE:
        return "test"
    return "validation" if bucket < _TEST_SHARE + _VALIDATION_SHARE else "train"


def stream_seed(suite: str, benchmark: str, split: str, seed: int) -> int:
    """An integer seed of its own for every suite, benchmark, split and user seed."""
    digest = hashlib.sha256(f"{suite}|{benchmark}|{split}|{seed}".encode("ascii")).digest()
    return int.from_bytes(digest[:8], "big")


def stream(
    draw: Callable[[random.Random], tuple[str, Item] | None], split: str, seed: int
) -> Iterator[tuple[str, Item]]:
    """Endless (canonical form, item) pairs of one split; repetitions are possible.

    `draw` makes one candidate from a generator, or None when what it drew does not work out.
    """
    rng = random.Random(seed)
    while True:
        drawn = draw(rng)
        if drawn is not None and split_of(drawn[0]) == split:
            yield drawn


def distinct(drawn: Iterator[tuple[str, Item]]) -> Iterator[Item]:
    """The items of a stream without repetitions, in the order of their first appearance."""
    seen: set[str] = set()
    for canonical, item in drawn:
        if canonical not in seen:
            seen.add(canonical)
            yield item


def refuse_test(split: str) -> None:
    """Raises ValueError for a split that may not serve statistics, calibration or selection."""
    if split not in ("train", "validation"):
        raise ValueError(
            f"no examples of split {split!r}: statistics and selection may use 'train' or 'validation'; "
            "test items are only ever scored"
        )
