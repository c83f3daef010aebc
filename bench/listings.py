"""Rows of the listing commands: methods, parameters, model sets."""

from __future__ import annotations

from typing import Any

from bench.config import model_set, model_set_names, presets
from bench.needs import title
from bench.recipe import method_class, method_names
from methods.common.catalogue import parameter_names
from methods.common.contract import Method
from results import text


def method_listing() -> list[dict[str, Any]]:
    """One row a method."""
    return [_method_row(name) for name in method_names()]


def _method_row(name: str) -> dict[str, Any]:
    cls = method_class(name)
    needs = sorted({title(need.kind) for need in cls().needs()})
    return {
        "method": name,
        "what it does": f"{cls.card.title}: {cls.card.summary}",
        "needs": ", ".join(needs) or "nothing",
        "experts": _experts(cls),
        "presets": ", ".join(presets(name)) or "–",
        "reconstructed": cls.card.reconstructed or "no",
    }


def _experts(cls: type[Method]) -> str:
    """`2+`, `2`, or `2-4`."""
    if cls.max_experts is None:
        return f"{cls.min_experts}+"
    return (
        str(cls.max_experts) if cls.max_experts == cls.min_experts else f"{cls.min_experts}-{cls.max_experts}"
    )


def method_entries() -> list[tuple[str, list[str]]]:
    """The same for a person: name (with a mark where it had to be reconstructed), what it does, what it needs."""
    return [
        (
            row["method"] + (f" {text.RECONSTRUCTED}" if row["reconstructed"] != "no" else ""),
            [f"{row['what it does']}.", f"experts {row['experts']}; needs {row['needs']}"],
        )
        for row in method_listing()
    ]


METHOD_LEGEND = (
    f"{text.RECONSTRUCTED} its definition had to be reconstructed: `bench methods NAME` says what was left open, and "
    "lists parameters and presets."
)


def parameter_entries(details: dict[str, Any]) -> dict[str, list[tuple[str, list[str]]]]:
    """A method's parameters for a person: its own, then those that every method has, by title."""
    headings = {f"parameters of {details['method']}": False, "what every method lets you choose": True}
    return {
        heading: [
            (
                row["parameter"],
                [
                    f"{row['meaning']}.",
                    f"default {row['default']} ({row['default from']}); allowed {row['allowed']}",
                ],
            )
            for row in details["parameters"]
            if row["shared"] == shared
        ]
        for heading, shared in headings.items()
    }


def method_details(name: str) -> dict[str, Any]:
    """A method's card and its parameters with type, default, source and meaning: its own first."""
    cls = method_class(name)
    card = cls.card
    about = [f"{card.title}: {card.summary}.", f"Source: {card.source}."]
    about += [f"{text.RECONSTRUCTED} Reconstructed: {card.reconstructed}."] if card.reconstructed else []
    needs = ", ".join(sorted({title(need.kind) for need in cls().needs()}))
    about.append(
        f"Experts: {_experts(cls)}. Needs{' by default' if needs else ''}: {needs or 'no statistics'}."
    )
    if card.aliases:
        letters = ", ".join(f"{letter} = {own}" for letter, own in card.aliases.items())
        about.append(f"Papers' names (not accepted): {letters}.")
    for preset, settings in presets(name).items():
        chosen = ", ".join(f"{key}={value}" for key, value in settings.items())
        about.append(f"Preset {name}@{preset}: {chosen}.")
    rows = [
        {
            "parameter": key,
            "default": str(field.default),
            "allowed": _allowed(field),
            "meaning": field.description,
            "default from": (field.json_schema_extra or {}).get("source", ""),
            "shared": key in Method.model_fields,
        }
        for key, field in parameter_names(cls).items()
    ]
    rows.sort(key=lambda row: row["shared"])
    return {"method": name, "about": "\n".join(about), "parameters": rows, "presets": presets(name)}


def _allowed(field: Any) -> str:
    from typing import get_args

    choices = get_args(field.annotation)
    flat = [inner for choice in choices for inner in (get_args(choice) or (choice,))] or [field.annotation]
    kind = " | ".join(getattr(choice, "__name__", str(choice)) for choice in flat)
    rules = [rule for rule in map(_rule, field.metadata) if rule]
    return ", ".join(rules if any("|" in rule for rule in rules) else [kind, *rules])


def _rule(constraint: Any) -> str:
    for key, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
        if (bound := getattr(constraint, key, None)) is not None:
            return f"{sign} {bound}"
    pattern = getattr(constraint, "pattern", None)
    return _readable(pattern) if pattern else ""


def _readable(pattern: str) -> str:
    """A pattern of alternatives as people write it: `base | expert:<i>`."""
    inner = pattern.removeprefix("^").removesuffix("$").removeprefix("(").removesuffix(")")
    return inner.replace(r"\d+", "<i>").replace("|", " | ")


def model_listing() -> list[dict[str, Any]]:
    """One row a model set, with the state of its checkpoints on this machine."""
    return [
        {
            "models": name,
            "title": found.title,
            "base": _state(found.base),
            "experts": {domain: _state(spec) for domain, spec in found.experts.items()},
        }
        for name in model_set_names()
        for found in [model_set(name)]
    ]


def model_entries() -> list[tuple[str, list[str]]]:
    """The same for a person."""
    return [
        (
            row["models"],
            [
                row["title"],
                f"base {row['base']}",
                "\n".join(f"expert {domain}: {state}" for domain, state in row["experts"].items()),
            ],
        )
        for row in model_listing()
    ]


def _state(spec: str) -> str:
    """`zoo:l2s-base (0.9 M parameters)`, or what is wrong with it; a Hub id is not asked."""
    from pathlib import Path

    from bench.errors import BadInput
    from bench.models.checkpoint import Checkpoint, locate

    if not spec.startswith("zoo:") and not Path(spec).is_dir():
        return f"{spec} (on the Hub)"
    try:
        return f"{spec} ({Checkpoint(locate(spec)).n_parameters / 1e6:.2f} M parameters)"
    except BadInput as error:
        return f"{spec}: {str(error).partition('. ')[0]}"
