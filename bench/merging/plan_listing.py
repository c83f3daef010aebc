"""A plan for a person: one table of what and how much, one of tensors by role and action, one a tensor."""

from __future__ import annotations

from typing import Any

from bench.merging.plan import Plan
from results import text

ACTIONS = {"merge": "merged", "base": "left as the base's", "mean": "mean of the experts"}


def summary(plan: Plan) -> list[dict[str, Any]]:
    """Models, cost and notes as rows of what and value."""
    cost, first = plan.cost, bool(plan.needs)
    rows = {
        "base": plan.base,
        "experts": ", ".join(
            name if weight == 1 else f"{name} (weight {weight:g})"
            for name, weight in zip(plan.experts, plan.weights, strict=True)
        ),
        "parameters": ", ".join(f"{key}={value}" for key, value in plan.parameters.items()),
        "weights": f"{plan.n_parameters:,}",
        "LM head": "tied to the embedding" if plan.tied else "its own, or none",
        "reconstructed": plan.reconstructed or "no",
        "needs": ", ".join(plan.needs) or "nothing",
        "to read": text.size(cost.read_bytes),
        "to write": text.size(cost.write_bytes),
        "statistics on disk": text.size(cost.statistics_bytes),
        "time, roughly": f"{_time(cost.seconds)}"
        + (f", after {_time(cost.statistics_seconds)} for statistics (once)" if first else ""),
        "memory, roughly": text.size(cost.memory_bytes)
        + (f"; statistics {text.size(cost.statistics_memory_bytes)}" if first else ""),
        "mismatches": f"{len(plan.mismatches)}: the merge is refused" if plan.mismatches else "none",
        "notes": "\n".join(plan.notes) or "none",
    }
    return [{"what": key, "value": value} for key, value in rows.items()]


def groups(plan: Plan) -> list[dict[str, Any]]:
    """Tensors by role and what happens to them."""
    return [
        {
            "role": group["role"],
            "what happens": _action(group["action"]),
            "tensors": group["tensors"],
            "weights": f"{group['elements']:,}",
            "in the result": text.size(group["bytes"]),
        }
        for group in plan.groups
    ]


def tensors(plan: Plan) -> list[dict[str, Any]]:
    """Every tensor of the result."""
    return [
        {
            "tensor": tensor.name,
            "role": tensor.role,
            "shape": "x".join(map(str, tensor.shape)) or "scalar",
            "dtype": tensor.dtype,
            "what happens": _action(tensor.action)
            + (f"; {tensor.rows_differ} model(s) with other rows" if tensor.rows_differ else "")
            + (f"; {tensor.lacking} model(s) lack it" if tensor.lacking else ""),
        }
        for tensor in plan.tensors
    ]


def mismatches(plan: Plan) -> list[dict[str, Any]]:
    """Everything that forbids the merge."""
    return [{"mismatch": problem} for problem in plan.mismatches]


def _action(action: str) -> str:
    return ACTIONS.get(action, f"copied from {action.replace(':', ' ')}")


def _time(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
