"""Say how far a computation is: item i of n, and how many a second."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


def counted(items: Iterable[T], count: int, title: str, unit: str, say: Callable[[str], None]) -> Iterator[T]:
    """Hand out items; before each, say its number of `count` and the rate so far."""
    started = time.perf_counter()
    for done, item in enumerate(items):
        seconds = time.perf_counter() - started
        rate = f", {done / seconds:.3g} a second" if done and seconds > 0 else ""
        say(f"{title}: {unit} {done + 1} of {count}{rate}")
        yield item
