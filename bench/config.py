"""The YAML that a person edits: model sets, what a suite takes by default, and named presets of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BadInput, unknown

CONFIGS = Path(__file__).parent.parent / "configs"
Config = TypeVar("Config", bound=BaseModel)


class ModelSet(BaseModel):
    """A base and the experts fine-tuned from it: folders, Hub ids or zoo:NAME. Experts are named by domain."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str = ""
    base: str
    experts: dict[str, str]


class SuiteDefaults(BaseModel):
    """The model set of a suite and the preset that each method uses on it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: str | None = None
    presets: dict[str, str] = {}


@dataclass(frozen=True)
class Choice:
    """A method as it was asked for: its file's name and the settings of its preset."""

    method: str
    settings: Mapping[str, Any]


def model_set_names() -> list[str]:
    """Every file of configs/models."""
    return _names("models")


def model_set(name: str) -> ModelSet:
    """A configured model set."""
    if name not in model_set_names():
        raise unknown("model set", name, model_set_names())
    return _parse(ModelSet, {**_load("models", name), "name": name}, f"configs/models/{name}.yaml")


def suite_defaults(suite: str) -> SuiteDefaults:
    """Defaults of a suite; a suite without a file has none."""
    if suite not in _names("suites"):
        return SuiteDefaults()
    return _parse(SuiteDefaults, _load("suites", suite), f"configs/suites/{suite}.yaml")


def presets(method: str) -> dict[str, dict[str, Any]]:
    """Named presets of a method."""
    return _load("methods", method) if method in _names("methods") else {}


def choose(text: str, suite: str) -> Choice:
    """`ties` (with the suite's preset, if it has one), `ties@l2s`, or `ties@` for the signature's defaults."""
    method, at, preset = text.partition("@")
    if not at:
        preset = suite_defaults(suite).presets.get(method, "")
    if not preset:
        return Choice(method, {})
    known = presets(method)
    if preset not in known:
        raise unknown(f"preset of {method}", preset, known)
    return Choice(method, known[preset])


def _names(folder: str) -> list[str]:
    return sorted(path.stem for path in (CONFIGS / folder).glob("*.yaml"))


def _load(folder: str, name: str) -> dict[str, Any]:
    file = CONFIGS / folder / f"{name}.yaml"
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadInput(f"configs/{folder}/{name}.yaml is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"configs/{folder}/{name}.yaml must be a mapping, not {type(found).__name__}")
    return found


def _parse(kind: type[Config], values: dict[str, Any], where: str) -> Config:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
