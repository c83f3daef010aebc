"""Methods that work on another method's result: the inner method is named, with its parameters, in one text.

The text is the form in which methods are shown everywhere: `ties keep=0.3 lambda=0.7`. What every method shares
(embeddings, norms, dtypes) is set on the outer method and holds for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

from pydantic import model_validator

from methods.common.catalogue import SHARED, build, method_class
from methods.common.contract import Method, Need, Pass, Role, Seen, TensorInfo, parameter


class OfInner:
    """A class attribute that an instance takes from its inner method; the class itself answers `otherwise`."""

    def __init__(self, name: str, otherwise: Any) -> None:
        self.name, self.otherwise = name, otherwise

    def __get__(self, instance: Wrapper | None, owner: type) -> Any:
        return self.otherwise if instance is None else getattr(instance.wrapped, self.name)


class Wrapper(Method):
    """A method around another: its units, experts, needs and passes are the inner's; a subclass adds its own."""

    unit: ClassVar[Any] = OfInner("unit", "element")
    min_experts: ClassVar[Any] = OfInner("min_experts", 1)
    max_experts: ClassVar[Any] = OfInner("max_experts", None)
    weights: ClassVar[Any] = OfInner("weights", "signed")

    inner: str = parameter(
        "ties",
        "the method whose result is worked on, with its parameters: `ties keep=0.3 lambda=0.7`",
        "L2S repository: on top of TIES",
    )

    @model_validator(mode="before")
    @classmethod
    def _follow_inner(cls, given: Any) -> Any:
        """Check the inner method; shared parameters that were not given take the inner's defaults."""
        if not isinstance(given, Mapping):
            return given
        text = given.get("inner", cls.model_fields["inner"].default)
        shared = {key: value for key, value in given.items() if key in SHARED}
        found = build_inner(str(text), shared)
        return {**{key: getattr(found, key) for key in SHARED}, **given}

    @cached_property
    def wrapped(self) -> Method:
        """The inner method."""
        return build_inner(self.inner, {key: getattr(self, key) for key in SHARED})

    def wraps(self) -> tuple[str, ...]:
        """The inner method's name."""
        return (self.inner.split()[0], *self.wrapped.wraps())

    def leaves(self, role: Role, block: int | None) -> bool:
        """What the inner method leaves."""
        return self.wrapped.leaves(role, block)

    def whole(self, info: TensorInfo) -> bool:
        """What the inner method wants whole."""
        return self.wrapped.whole(info)

    def needs(self) -> tuple[Need, ...]:
        """What the inner method needs."""
        return self.wrapped.needs()

    def passes(self) -> tuple[Pass, ...]:
        """The inner method's passes."""
        return self.wrapped.passes()

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """What the inner method has learnt."""
        return self.wrapped.layers(seen)


def build_inner(text: str, shared: Mapping[str, Any]) -> Method:
    """The method that `text` names; ValueError says which name, parameter or value is wrong, and the nearest."""
    name, *pairs = text.split() or [""]
    if issubclass(method_class(name), Wrapper):
        raise ValueError(f"{name} works on another method's result itself and cannot be the inner method")
    settings = dict(_setting(pair) for pair in pairs)
    if len(settings) < len(pairs):
        raise ValueError(f"{text!r} gives a parameter twice")
    return build(name, settings, shared=shared)


def _setting(pair: str) -> tuple[str, str]:
    """One `key=value` of the inner method's own parameters."""
    key, equals, value = pair.partition("=")
    if not equals or not value:
        raise ValueError(f"{pair!r} is not name=value")
    if key in SHARED:
        raise ValueError(f"{key} holds for the whole merge: set it beside inner, not within it")
    return key, value
