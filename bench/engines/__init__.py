"""Engines by name. Asking what an engine is costs nothing; loading one imports what it needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from bench.engines.contract import Engine
from bench.errors import unknown

ENGINES = ("hf",)


def engine_identity(name: str, path: Path, **options: Any) -> tuple[str, str]:
    """(family, dtype) that the engine would have: what of it changes a text, known before anything is loaded.

    Raises BadInput for an unknown engine.
    """
    _check(name)
    from bench.engines.hf import FAMILY, planned_dtype

    return FAMILY, planned_dtype(path, device=options.get("device"), dtype=options.get("dtype"))


def load(name: str, path: Path, **options: Any) -> Engine:
    """Load the checkpoint at `path` into the engine called `name`. Raises BadInput for an unknown one.

    `answers="labels"` loads the body alone: such an engine classifies and does not write.
    """
    _check(name)
    from bench.engines.hf import HFEngine

    return HFEngine(path, **options)


def _check(name: str) -> None:
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
