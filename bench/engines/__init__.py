"""Engines by name. Asking what an engine is costs nothing; loading one imports what it needs.

An engine is one file here and one entry in `FILES`. The file defines

* `TAKES`: the options of `EngineOptions` that it heeds; others are refused, none is ignored;
* `CLASSIFIES`: whether it chooses labels under a classifier's head, beside writing texts;
* `identity(path, options)`: (family, dtype), what of it changes a text, known before anything is loaded;
* `load(path, options)`: the loaded `Engine`; BadInput when it is not installed or the model does not suit it.

`auto` has the first two, and `pick(path, options)`, which says which of the others is meant and why.
"""

from __future__ import annotations

from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.engines.contract import Engine, EngineOptions
from bench.errors import BadInput, unknown

FILES = {
    "auto": "bench.engines.auto",
    "hf": "bench.engines.hf",
    "vllm": "bench.engines.vllm",
    "server": "bench.engines.server",
}
ENGINES = tuple(FILES)
_COMMON = {"dtype", "answers", "labels"}


def engine_identity(name: str, path: Path, **options: Any) -> tuple[str, str]:
    """(family, dtype) that the engine would have: what of it changes a text, known before anything is loaded.

    Raises BadInput for an unknown engine, and for options that it does not take.
    """
    taken, _ = chosen(name, path, **options)
    family, dtype = _file(taken).identity(Path(path), _options(taken, options))
    return family, dtype


def chosen(name: str, path: Path, **options: Any) -> tuple[str, str | None]:
    """The engine that is meant, and why: `auto` takes one of the others; for those the reason is None.

    Raises BadInput as `engine_identity` does, also for options that the one taken would ignore.
    """
    asked = _options(name, options)
    if name != "auto":
        return name, None
    from bench.engines.auto import pick

    taken = pick(Path(path), asked)
    try:
        _options(taken.name, options)
    except BadInput as error:
        raise BadInput(f"--engine auto takes {taken.name} for {path} ({taken.why}), and {error}") from error
    return taken.name, taken.why


def load(name: str, path: Path, **options: Any) -> Engine:
    """Load the checkpoint at `path` into the engine called `name`. Raises BadInput as `engine_identity` does.

    `answers="labels"` loads the body alone: such an engine classifies and does not write.
    """
    taken, _ = chosen(name, path, **options)
    engine: Engine = _file(taken).load(Path(path), _options(taken, options))
    return engine


def check_engine(name: str, *, labels: bool = False, **options: Any) -> None:
    """Refuse, before any work, an unknown engine, options that it would ignore, and labels it cannot choose."""
    _options(name, options)
    if labels and not _file(name).CLASSIFIES:
        able = " or ".join(other for other in ENGINES if _file(other).CLASSIFIES)
        raise BadInput(f"engine {name} writes texts and chooses no labels: take --engine {able}")


def takes(name: str) -> set[str]:
    """The options that the engine called `name` heeds, beside dtype. Raises BadInput for an unknown engine."""
    return set(_file(name).TAKES)


def _file(name: str) -> Any:
    """The file of an engine; heavy imports happen in its functions only."""
    if name not in FILES:
        raise unknown("engine", name, ENGINES)
    return import_module(FILES[name])


def _options(name: str, given: dict[str, Any]) -> EngineOptions:
    options = EngineOptions(**given)
    takes = _COMMON | set(_file(name).TAKES)
    for field in fields(options):
        value = getattr(options, field.name)
        if value not in (None, False) and field.name not in takes:
            raise BadInput(
                f"engine {name} does not take --{field.name.replace('_', '-')} (given: {value}): leave it out"
            )
    return options
