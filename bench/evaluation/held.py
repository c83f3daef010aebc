"""One engine of one checkpoint for everything that asks it: loaded when the first answer is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench import engines

if TYPE_CHECKING:
    from pathlib import Path

    from bench.engines.contract import Answers, Engine
    from bench.suites import EvalOptions


class HeldEngine:
    """The engine that `options` mean for the checkpoint at `path`. Whoever made it closes it.

    `reader` is the folder of its tokenizer, where that is another.
    """

    def __init__(self, path: Path, options: EvalOptions, reader: Path | None = None) -> None:
        self.path = path
        self.tokenizer = reader if reader != path else None
        self.options = options
        self.loaded: Engine | None = None

    def get(self, answers: Answers = "text") -> Engine:
        """The loaded engine; `answers` says what it will be asked for when this is what loads it."""
        if self.loaded is None:
            options = self.options.engine_options()
            if self.tokenizer is not None:
                options["tokenizer"] = self.tokenizer
            self.loaded = engines.load(self.options.engine, self.path, answers=answers, **options)
        return self.loaded

    def close(self) -> None:
        """Free the engine; `get` would load it again."""
        loaded, self.loaded = self.loaded, None
        if loaded is not None:
            loaded.close()
