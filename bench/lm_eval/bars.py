"""What lm-eval, datasets and the Hub's client put on the screen: bars beside ours, and remarks on our settings."""

from __future__ import annotations

import logging
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


@contextmanager
def few_words() -> Iterator[None]:
    """While it lasts, lm-eval says only what went wrong."""
    logger = logging.getLogger("lm_eval")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
