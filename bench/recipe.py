"""What to merge: a method with its parameters, a base, and weighted experts, all checked on entry."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bench.errors import BadInput, unknown
from bench.examples import ExampleSet
from bench.models.checkpoint import Checkpoint, open_checkpoint
from methods.common.contract import Method

METHODS = Path(__file__).parent.parent / "methods"


@dataclass(frozen=True)
class Recipe:
    """A merge to do. `weights` belong to the experts in order; `data` holds examples, one set per expert, for methods
    that need them."""

    name: str
    method: Method
    base: Checkpoint
    experts: tuple[Checkpoint, ...]
    weights: tuple[float, ...]
    data: tuple[ExampleSet, ...] = ()

    @property
    def parameters(self) -> dict[str, Any]:
        """Every resolved parameter by its public name."""
        return self.method.model_dump(by_alias=True)

    @property
    def label(self) -> str:
        """Short name: the method, the parameters that are not at their default, and unequal expert weights."""
        weights = ",".join(f"{weight:g}" for weight in self.weights)
        plain = all(weight == 1 for weight in self.weights)
        return label(self.name, self.method) + ("" if plain else f" weights={weights}")


def method_names() -> list[str]:
    """Every file of `methods/` is a method; the folder `common` is not."""
    return sorted(file.stem for file in METHODS.glob("*.py") if file.stem != "__init__")


def method_class(name: str) -> type[Method]:
    """The class that a method's file calls METHOD."""
    if name not in method_names():
        raise unknown("method", name, method_names())
    found = importlib.import_module(f"methods.{name}").METHOD
    assert issubclass(found, Method)
    return found


def parameter_names(cls: type[Method]) -> dict[str, Any]:
    """Public name of every parameter to its pydantic field."""
    return {field.alias or name: field for name, field in cls.model_fields.items()}


def build_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method with `settings` over its defaults; a typo, a wrong type or a value out of range is BadInput."""
    cls = method_class(name)
    names = parameter_names(cls)
    for key in settings:
        if key in cls.card.aliases:
            raise BadInput(
                f"{name} calls {key!r} {cls.card.aliases[key]!r}: use --set {cls.card.aliases[key]}=..."
            )
        if key not in names:
            raise unknown(f"parameter of {name}", key, names)
    try:
        return cls(**dict(settings))
    except ValidationError as error:
        first = error.errors()[0]
        if not first["loc"]:
            raise BadInput(f"{name}: {first['msg'].removeprefix('Value error, ')}") from error
        key = str(first["loc"][0])
        raise BadInput(
            f"{name}: parameter {key}={settings[key]!r} is not allowed: {first['msg']}. "
            f"It means: {names[key].description} (default {names[key].default!r})."
        ) from error


def label(name: str, method: Method) -> str:
    """`ties keep=0.3`: the method and what differs from its defaults."""
    changed = [
        f"{field.alias or key}={getattr(method, key)}"
        for key, field in type(method).model_fields.items()
        if getattr(method, key) != field.default
    ]
    return " ".join([name, *changed])


def parse_expert(text: str) -> tuple[str, float]:
    """`PATH` or `PATH:weight`; `zoo:NAME` and Windows-like colons are not weights."""
    head, colon, tail = text.rpartition(":")
    if not colon or Path(text).exists():
        return text, 1.0
    try:
        weight = float(tail)
    except ValueError:
        return text, 1.0
    if not math.isfinite(weight):
        raise BadInput(f"expert {text!r}: weight {tail} is not a finite number")
    return head, weight


def parse_settings(pairs: list[str]) -> dict[str, str]:
    """`name=value` pairs, as given on the command line."""
    settings = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key.strip():
            raise BadInput(f"--set {pair!r} is not name=value")
        if key.strip() in settings:
            raise BadInput(f"--set gives {key.strip()!r} twice")
        settings[key.strip()] = value.strip()
    return settings


def build_recipe(
    name: str,
    settings: Mapping[str, Any],
    base: str,
    experts: list[str],
    *,
    opener: Callable[[str], Checkpoint] = open_checkpoint,
) -> Recipe:
    """Check the method, its parameters and the models' headers; nothing heavy is read."""
    method = build_method(name, settings)
    parsed = [parse_expert(text) for text in experts]
    _check_experts(name, method, parsed)
    opened = tuple(opener(spec) for spec, _ in parsed)
    return Recipe(name, method, opener(base), opened, tuple(weight for _, weight in parsed))


def _check_experts(name: str, method: Method, experts: list[tuple[str, float]]) -> None:
    count, most = len(experts), method.max_experts
    if count < method.min_experts or (most is not None and count > most):
        least = method.min_experts
        if most is None:
            wanted = f"at least {least}"
        else:
            wanted = f"exactly {least}" if most == least else f"{least} to {most}"
        raise BadInput(
            f"{name} takes {wanted} {'expert' if wanted.endswith(' 1') else 'experts'}, not {count}"
        )
    for spec, weight in experts:
        if method.weights == "none" and weight != 1.0:
            raise BadInput(f"{name} takes no expert weights, but {spec!r} has weight {weight}")
        if method.weights == "positive" and weight <= 0:
            raise BadInput(f"{name} takes positive expert weights, but {spec!r} has weight {weight}")
    if getattr(method, "normalize", False) and abs(sum(weight for _, weight in experts)) < 1e-9:
        raise BadInput(f"{name}: the experts' weights sum to 0 and cannot be normalised")
    for key in ("embeddings", "files_from"):
        chosen = getattr(method, key)
        if chosen.startswith("expert:") and int(chosen[7:]) >= count:
            raise BadInput(f"{key}={chosen}: there are {count} experts, counted from 0")
