"""Which method, settings and models a command means: names of configs, or folders and Hub ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.config import ModelSet, choose, model_set, model_set_names, suite_defaults
from bench.errors import BadInput
from bench.identity import digest


def settings_of(text: str, settings: Mapping[str, Any], suite: str = "") -> tuple[str, dict[str, Any]]:
    """Method name and settings of `METHOD` or `METHOD@PRESET`, with `settings` over the preset's."""
    from bench.recipe import method_class

    method_class(text.partition("@")[0])
    choice = choose(text, suite)
    return choice.method, {**choice.settings, **settings}


def chosen_models(models: str | None, base: str | None, experts: list[str], *, suite: str) -> ModelSet:
    """The model set asked for: by name, by --base and --expert, or the suite's own."""
    if models and (base or experts):
        raise BadInput("give either --models or --base and --expert, not both")
    if base or experts:
        if not base or not experts:
            raise BadInput("--base and --expert go together: one base and at least one expert")
        return ad_hoc(base, experts)
    name = models or suite_defaults(suite).models
    if name is None:
        raise BadInput(
            f"suite {suite} has no model set of its own: give --models ({', '.join(model_set_names())}) "
            "or --base and --expert"
        )
    return model_set(name)


def short(spec: str) -> str:
    """The last part of a folder, a Hub id or zoo:NAME."""
    return Path(spec.removeprefix("zoo:")).name


def recorded_name(found: ModelSet, fingerprints: list[str]) -> str:
    """The name that rows are stored under: a configured set's own, else one that its models' contents make unique."""
    if found.name in model_set_names():
        return found.name
    return f"{found.name}@{digest(fingerprints, 3)}"


def ad_hoc(base: str, experts: list[str]) -> ModelSet:
    """A model set of models that no config names; its name and its experts' come from their folders."""
    from bench.recipe import parse_expert

    names = [short(parse_expert(expert)[0]) for expert in experts]
    labels = [name if names.count(name) == 1 else f"{name}-{i}" for i, name in enumerate(names, 1)]
    title = "+".join([short(base), *labels])
    return ModelSet(name=title, base=base, experts=dict(zip(labels, experts, strict=True)))


def specs_of(found: ModelSet) -> list[str]:
    """Base and experts of a set, as they are named there."""
    return [found.base, *found.experts.values()]


def set_with(base: str, experts: list[str]) -> ModelSet:
    """The configured set of these models, or one made of their names."""
    every = (model_set(name) for name in model_set_names())
    same = (found for found in every if specs_of(found) == [base, *experts])
    return next(same, ad_hoc(base, experts))


def set_of(spec: str) -> ModelSet | None:
    """The configured set that a model belongs to."""
    every = (model_set(name) for name in model_set_names())
    return next((found for found in every if spec in specs_of(found)), None)
