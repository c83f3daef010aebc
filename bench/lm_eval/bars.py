"""One progress bar on the screen, ours: lm-eval, datasets and the Hub's client draw a dozen of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def no_foreign_bars() -> Iterator[None]:
    """While it lasts, no bar of tqdm is drawn, nor of a class made from it."""
    from tqdm import tqdm

    original = tqdm.__init__

    def hidden(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **{**kwargs, "disable": True})

    tqdm.__init__ = hidden
    try:
        yield
    finally:
        tqdm.__init__ = original
