"""Merge methods by name, and one built from settings. Whatever is wrong with them is a `Wrong`."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

import methods
from methods.common.contract import Method
from methods.common.nearest import unknown_name


class Wrong(ValueError):
    """A name that is not known, or a value that is not allowed."""


class Renamed(Wrong):
    """A parameter by the name that a paper or another tool gives it; `own` is its name here."""

    def __init__(self, method: str, given: str, own: str) -> None:
        super().__init__(f"{method} calls {given!r} {own!r}")
        self.own = own


class Refused(Wrong):
    """A value that `rule` forbids. `parameter` is its name and `field` its declaration; both are None where values
    do not go together."""

    def __init__(self, method: str, rule: str, parameter: str | None, value: Any, field: Any) -> None:
        where = "" if parameter is None else f" {parameter}={value!r}"
        meaning = "" if field is None else f" It means: {field.description}."
        super().__init__(f"{method}{where}: {rule}.{meaning}")
        self.rule, self.parameter, self.value, self.field = rule, parameter, value, field


def method_names() -> list[str]:
    """Every file of `methods/` is a method; the folder `common` is not."""
    return sorted(found.name for found in pkgutil.iter_modules(methods.__path__) if not found.ispkg)


def method_class(name: str) -> type[Method]:
    """The class that a method's file calls METHOD."""
    if name not in method_names():
        raise Wrong(unknown_name("method", name, method_names()))
    found = importlib.import_module(f"methods.{name}").METHOD
    assert issubclass(found, Method)
    return found


def parameter_names(cls: type[Method]) -> dict[str, Any]:
    """Public name of every parameter to its pydantic field."""
    return {field.alias or name: field for name, field in cls.model_fields.items()}


SHARED = frozenset(parameter_names(Method))


def build(name: str, settings: Mapping[str, Any], *, shared: Mapping[str, Any] | None = None) -> Method:
    """A method with `settings` over its defaults.

    With `shared`, the parameters that every method has are given there, and `settings` holds only its own.
    """
    cls = method_class(name)
    fields = parameter_names(cls)
    known = fields if shared is None else fields.keys() - SHARED
    for key in settings:
        if key in cls.card.aliases:
            raise Renamed(name, key, cls.card.aliases[key])
        if key not in known:
            raise Wrong(unknown_name(f"parameter of {name}", key, known))
    try:
        return cls(**{**(shared or {}), **settings})
    except ValidationError as error:
        first = error.errors()[0]
        rule = first["msg"].removeprefix("Value error, ")
        parameter = str(first["loc"][0]) if first["loc"] else None
        raise Refused(name, rule, parameter, first["input"], fields.get(str(parameter))) from error
