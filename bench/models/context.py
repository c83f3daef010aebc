"""Context limit and rotary positions: a merge has one of each, so base and experts agree or somebody says which.

Qwen2.5-Math and its DeepSeek-R1 distills are such a case: their weights fit, and one config stops at 4,096 positions
where the other goes to 131,072. A merge that silently kept the base's limit would cut every long answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.models.checkpoint import Checkpoint
from bench.models.roles import ARCHITECTURES
from methods.common.contract import Role

LIMIT = "max_position_embeddings"
THETA = 10_000.0  # of every rotary architecture here, where a config leaves it out


@dataclass(frozen=True)
class Context:
    """What a merge shall have where its models differ: `length` in tokens, and the model whose rotary settings it
    takes (`base` or `expert:<i>`). None asks the models to agree."""

    length: int | None = None
    rope_from: str | None = None

    def said(self) -> dict[str, Any]:
        """What was said, by the names of the options."""
        said = {"context_length": self.length, "rope_from": self.rope_from}
        return {name: value for name, value in said.items() if value is not None}


AS_MODELS = Context()


def context_problems(models: Sequence[Checkpoint], context: Context) -> list[str]:
    """Why these models cannot be merged in this context; each says what to give."""
    if not all(map(_rotary, models)):
        given = ", ".join(f"{name}={value}" for name, value in context.said().items())
        return (
            [f"{given}: positions of {models[0].model_type} are weights, their number is fixed"]
            if given
            else []
        )
    return [*_limit_problems(models, context), *_rope_problems(models, context)]


def _limit_problems(models: Sequence[Checkpoint], context: Context) -> list[str]:
    if context.length is not None:
        return [] if context.length > 0 else [f"context_length={context.length}: give a number of tokens"]
    limits = {model.name: model.config[LIMIT] for model in models if LIMIT in model.config}
    if len(set(limits.values())) < 2:
        return []
    listed = ", ".join(f"{limit} in {name}" for name, limit in limits.items())
    return [
        f"the context limit differs ({LIMIT}: {listed}): say what the merge has with --context-length N "
        "(context_length in the model set): at least the budget of an answer and its prompt"
    ]


def _rope_problems(models: Sequence[Checkpoint], context: Context) -> list[str]:
    if context.rope_from is not None:
        known = _by_name(models)
        wrong = f"rope_from={context.rope_from}: known are {', '.join(known)}"
        return [] if context.rope_from in known else [wrong]
    found = {model.name: rope(model.config) for model in models}
    if all(one == rope(models[0].config) for one in found.values()):
        return []
    listed = "; ".join(f"{_listed(one)} in {name}" for name, one in found.items())
    return [
        f"the rotary settings differ ({listed}): say whose the merge has with --rope-from base or expert:0 "
        "(rope_from in the model set)"
    ]


def rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """The rotary settings of a config, the same for either spelling of transformers (since 5: `rope_parameters`)."""
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    settings = {key: value for key, value in said.items() if key != "type"}
    settings["rope_type"] = said.get("rope_type") or said.get("type") or "default"
    settings["rope_theta"] = float(said.get("rope_theta") or config.get("rope_theta") or THETA)
    if (part := config.get("partial_rotary_factor")) is not None:
        settings.setdefault("partial_rotary_factor", part)
    return settings


def saved_context(models: Sequence[Checkpoint], context: Context, files: Checkpoint) -> dict[str, Any]:
    """Lines of the merge's config, which is otherwise that of `files`."""
    lines: dict[str, Any] = {} if context.length is None else {LIMIT: context.length}
    model = _by_name(models).get(context.rope_from or "")
    if model is None or rope(model.config) == rope(files.config):
        return lines
    chosen = rope(model.config)
    if "rope_parameters" in files.config:
        return lines | {"rope_parameters": chosen}
    scaling = {key: value for key, value in chosen.items() if key != "rope_theta"}
    plain = set(scaling) == {"rope_type"} and scaling["rope_type"] == "default"
    return lines | {"rope_theta": chosen["rope_theta"], "rope_scaling": None if plain else scaling}


def context_notes(models: Sequence[Checkpoint], context: Context) -> list[str]:
    """What a reader should know of an override: whom it asks for more than its config promises."""
    if context.length is None:
        return []
    short = [m for m in models if isinstance(m.config.get(LIMIT), int) and m.config[LIMIT] < context.length]
    return [f"context_length={context.length} is more than the {m.config[LIMIT]} of {m.name}" for m in short]


def context_record(models: Sequence[Checkpoint], context: Context) -> dict[str, Any]:
    """What the manifest says: the override, and what each model had."""
    return {
        **asdict(context),
        "models": [
            {"name": model.name, LIMIT: model.config.get(LIMIT), "rope": rope(model.config)}
            for model in models
            if _rotary(model)
        ],
    }


def _by_name(models: Sequence[Checkpoint]) -> dict[str, Checkpoint]:
    """The models by the names that an option gives them."""
    return {"base": models[0], **{f"expert:{i}": model for i, model in enumerate(models[1:])}}


def _rotary(model: Checkpoint) -> bool:
    """Whether positions are rotations and not weights."""
    found = ARCHITECTURES.get(model.model_type)
    return found is not None and all(role is not Role.POS_EMBED for _, role in found.body)


def _listed(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
