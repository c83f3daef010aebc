"""Rows of the listing commands: methods, parameters, suites, model sets, a plan."""

from __future__ import annotations

from typing import Any

from bench.config import model_set, model_set_names, presets
from bench.plan import Plan
from bench.recipe import method_class, method_names, parameter_names
from results import text


def method_listing() -> list[dict[str, Any]]:
    """One row a method."""
    return [_method_row(name) for name in method_names()]


def _method_row(name: str) -> dict[str, Any]:
    cls = method_class(name)
    needs = sorted({need.kind for need in cls().needs()})
    return {
        "method": name,
        "what it does": f"{cls.card.title}: {cls.card.summary}",
        "needs": ", ".join(needs).replace("_", " ") or "nothing",
        "experts": f"{cls.min_experts}+"
        if cls.max_experts is None
        else f"{cls.min_experts}-{cls.max_experts}",
        "presets": ", ".join(presets(name)) or "–",
        "reconstructed": cls.card.reconstructed or "no",
    }


def method_table() -> list[dict[str, Any]]:
    """The same for a person, in few columns."""
    return [
        {
            "method": row["method"],
            "what it does": row["what it does"]
            + (f". Reconstructed: {row['reconstructed']}" if row["reconstructed"] != "no" else ""),
            "needs": row["needs"],
            "experts": row["experts"],
            "presets": row["presets"],
        }
        for row in method_listing()
    ]


def parameter_table(details: dict[str, Any]) -> list[dict[str, Any]]:
    """A method's parameters for a person, in few columns."""
    return [
        {
            "parameter": row["parameter"],
            "default": row["default"],
            "allowed": row["allowed"],
            "meaning (where the default comes from)": f"{row['meaning']} ({row['default from']})",
        }
        for row in details["parameters"]
    ]


def method_details(name: str) -> dict[str, Any]:
    """A method's card and its parameters with type, default, source and meaning."""
    cls = method_class(name)
    card = cls.card
    about = [f"{card.title}: {card.summary}.", f"Source: {card.source}."]
    about += [f"Reconstructed: {card.reconstructed}."] if card.reconstructed else []
    if card.aliases:
        letters = ", ".join(f"{letter} = {own}" for letter, own in card.aliases.items())
        about.append(f"Papers' names (not accepted): {letters}.")
    rows = [
        {
            "parameter": key,
            "default": str(field.default),
            "allowed": _allowed(field),
            "meaning": field.description,
            "default from": (field.json_schema_extra or {}).get("source", ""),
        }
        for key, field in parameter_names(cls).items()
    ]
    return {"method": name, "about": "\n".join(about), "parameters": rows, "presets": presets(name)}


def _allowed(field: Any) -> str:
    from typing import get_args

    choices = get_args(field.annotation)
    flat = [inner for choice in choices for inner in (get_args(choice) or (choice,))] or [field.annotation]
    kind = " | ".join(getattr(choice, "__name__", str(choice)) for choice in flat)
    rules = [rule for rule in map(_rule, field.metadata) if rule]
    return ", ".join([kind, *rules])


def _rule(constraint: Any) -> str:
    for key, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
        if (bound := getattr(constraint, key, None)) is not None:
            return f"{sign} {bound}"
    pattern = getattr(constraint, "pattern", None)
    return f"matches {pattern}" if pattern else ""


def suite_listing() -> list[dict[str, Any]]:
    """One row a benchmark."""
    from tasks.catalogue import suites

    return [
        {
            "suite": suite.name,
            "benchmark": benchmark.name,
            "what": benchmark.title,
            "splits": ", ".join(benchmark.splits),
            "prompt modes": ", ".join(benchmark.prompts),
            "asked": ", ".join(f"{d.name} n={d.n} T={d.sampling.temperature:g}" for d in benchmark.protocols),
            "budget": benchmark.protocols[0].sampling.max_new_tokens,
            "version": benchmark.version,
        }
        for suite in suites().values()
        for benchmark in suite.benchmarks
    ]


def model_listing() -> list[dict[str, Any]]:
    """One row a model set, with the state of its checkpoints on this machine."""
    return [
        {
            "models": name,
            "title": found.title,
            "base": _state(found.base),
            "experts": ", ".join(f"{domain}: {_state(spec)}" for domain, spec in found.experts.items()),
        }
        for name in model_set_names()
        for found in [model_set(name)]
    ]


def _state(spec: str) -> str:
    """`zoo:l2s-base (0.9 M parameters)`, or what is wrong with it; a Hub id is not asked."""
    from pathlib import Path

    from bench.checkpoint import Checkpoint, locate
    from bench.errors import BadInput

    if not spec.startswith("zoo:") and not Path(spec).is_dir():
        return f"{spec} (on the Hub)"
    try:
        return f"{spec} ({Checkpoint(locate(spec)).n_parameters / 1e6:.2f} M parameters)"
    except BadInput as error:
        return f"{spec}: {error}"


def plan_listing(plan: Plan) -> list[dict[str, Any]]:
    """A plan as rows of what and how much."""
    rows = {
        "base": plan.base,
        "experts": ", ".join(plan.experts),
        "parameters": ", ".join(f"{key}={value}" for key, value in plan.parameters.items()),
        "weights": f"{plan.n_parameters:,}",
        "tensors by action": ", ".join(f"{n} {action}" for action, n in plan.actions.items()),
        "tensors by role": ", ".join(f"{n} {role}" for role, n in plan.roles.items()),
        "needs": ", ".join(plan.needs) or "nothing",
        "LM head": "tied to the embedding" if plan.tied else "its own",
        "to read": text.size(plan.read_bytes),
        "to write": text.size(plan.write_bytes),
        "statistics on disk": text.size(plan.statistics_bytes),
        "time, roughly": f"{plan.seconds:.0f} s and the statistics"
        if plan.needs
        else f"{plan.seconds:.0f} s",
        "notes": "\n".join(plan.notes) or "none",
    }
    return [{"what": key, "value": value} for key, value in rows.items()]
