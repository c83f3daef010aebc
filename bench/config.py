"""The YAML that a person edits: model sets, what a suite takes by default, and named presets of methods."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BadInput, unknown
from bench.models.context import Context

CONFIGS = Path(__file__).parent.parent / "configs"
Config = TypeVar("Config", bound=BaseModel)


class ModelSet(BaseModel):
    """A base and the experts fine-tuned from it: folders, Hub ids or zoo:NAME. Experts are named by domain.

    `context_length` and `rope_from` say what merges of them have where the models' configs differ.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str = ""
    base: str
    experts: dict[str, str]
    context_length: int | None = None
    rope_from: str | None = None

    @property
    def context(self) -> Context:
        """What merges have where the models' configs differ."""
        return Context(self.context_length, self.rope_from)

    def within(self, context: Context) -> ModelSet:
        """The set with what `context` says over its own."""
        return self.model_copy(update=context.said())


class SuiteDefaults(BaseModel):
    """The model set of a suite, the preset that each method uses on it, and whether its programs are run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: str | None = None
    presets: dict[str, str] = {}
    run_code: bool = False


class Experiment(BaseModel):
    """A whole experiment by name: what is merged, how, and what it is evaluated on.

    `methods` are METHOD or METHOD@PRESET. Those of `with_data` need examples that the suite does not have: they are
    planned with the others, and merged one by one with `bench merge --data`. `settings` are parameters of every one
    of its methods.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str = ""
    suite: str
    models: str
    methods: tuple[str, ...]
    with_data: tuple[str, ...] = ()
    settings: dict[str, str] = {}


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


def experiment_names() -> list[str]:
    """Every file of configs/experiments."""
    return _names("experiments")


def experiment(name: str) -> Experiment:
    """A configured experiment."""
    if name not in experiment_names():
        raise unknown("experiment", name, experiment_names())
    return _parse(
        Experiment, {**_load("experiments", name), "name": name}, f"configs/experiments/{name}.yaml"
    )


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


def from_file(kind: type[Config], file: Path, where: str, **values: Any) -> Config:
    """What a YAML file says, with `values` over it; `where` names the file in errors."""
    return _parse(kind, {**_mapping(file, where), **values}, where)


def _load(folder: str, name: str) -> dict[str, Any]:
    return _mapping(CONFIGS / folder / f"{name}.yaml", f"configs/{folder}/{name}.yaml")


def _mapping(file: Path, where: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise BadInput(f"{where} is not YAML: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{where} must be a mapping, not {type(found).__name__}")
    return found


def _parse(kind: type[Config], values: dict[str, Any], where: str) -> Config:
    try:
        return kind(**values)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error
