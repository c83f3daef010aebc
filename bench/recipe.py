"""What to merge: a method with its parameters, a base, and weighted experts, all checked on entry."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import BadInput
from bench.examples import ExampleSet
from bench.models.checkpoint import Checkpoint, open_checkpoint
from bench.models.clip import as_tower
from bench.models.context import AS_MODELS, Context
from methods.common import catalogue
from methods.common.catalogue import Refused, Renamed, Wrong
from methods.common.catalogue import method_names as method_names
from methods.common.contract import Method, expert_of

METHODS = Path(__file__).parent.parent / "methods"


@dataclass(frozen=True)
class Recipe:
    """A merge to do. `weights` belong to the experts in order; `data` holds examples, one set per expert, for methods
    that need them; `context` says what the merge has where its models' context limits or rotary settings differ."""

    name: str
    method: Method
    base: Checkpoint
    experts: tuple[Checkpoint, ...]
    weights: tuple[float, ...]
    data: tuple[ExampleSet, ...] = ()
    context: Context = AS_MODELS

    @property
    def parameters(self) -> dict[str, Any]:
        """Every resolved parameter by its public name."""
        return self.method.model_dump(by_alias=True)

    @property
    def label(self) -> str:
        """Short name: the method, the parameters that are not at their default, unequal expert weights, and the
        context that was said."""
        weights = ",".join(f"{weight:g}" for weight in self.weights)
        plain = all(weight == 1 for weight in self.weights)
        said = "".join(f" {name}={value}" for name, value in self.context.said().items())
        return label(self.name, self.method) + ("" if plain else f" weights={weights}") + said


def method_class(name: str) -> type[Method]:
    """The class that a method's file calls METHOD; an unknown name is BadInput."""
    try:
        return catalogue.method_class(name)
    except Wrong as error:
        raise BadInput(str(error)) from error


def build_method(name: str, settings: Mapping[str, Any]) -> Method:
    """A method with `settings` over its defaults; a typo, a wrong type or a value out of range is BadInput."""
    try:
        return catalogue.build(name, settings)
    except Renamed as error:
        raise BadInput(f"{error}: use --set {error.own}=...") from error
    except Refused as error:
        raise BadInput(_refusal(name, error)) from error
    except Wrong as error:
        raise BadInput(str(error)) from error


def _refusal(name: str, error: Refused) -> str:
    if error.parameter is None:
        return f"{name}: {error.rule}"
    return (
        f"{name}: parameter {error.parameter}={error.value!r} is not allowed: {error.rule}. "
        f"It means: {error.field.description} (default {error.field.default!r})."
    )


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
    context: Context = AS_MODELS,
) -> Recipe:
    """Check the method, its parameters and the models' headers; nothing heavy is read."""
    method = build_method(name, settings)
    parsed = [parse_expert(text) for text in experts]
    _check_experts(name, method, parsed)
    opened = tuple(as_tower(opener(spec)) for spec, _ in parsed)
    weights = tuple(weight for _, weight in parsed)
    return Recipe(name, method, as_tower(opener(base)), opened, weights, context=context)


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
        if (expert_of(chosen) or 0) >= count:
            raise BadInput(f"{key}={chosen}: there are {count} experts, counted from 0")
