"""What a merge would do, from configs and headers alone: nothing is read or written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bench.alignment import align
from bench.recipe import Recipe
from bench.statistics import size_of

READ_BYTES_PER_SECOND = 1.0e9
MERGE_BYTES_PER_SECOND = 5.0e7


@dataclass(frozen=True)
class Plan:
    """A checked recipe and what it would cost. Times are rough: they say minutes or hours."""

    label: str
    method: str
    parameters: dict[str, Any]
    base: str
    experts: list[str]
    n_parameters: int
    actions: dict[str, int]
    roles: dict[str, int]
    needs: list[str]
    read_bytes: int
    write_bytes: int
    statistics_bytes: int
    seconds: float
    tied: bool
    notes: list[str]


def plan(recipe: Recipe) -> Plan:
    """Align the models (raises BadInput on any mismatch) and add up what would be read and written."""
    alignment = align(recipe)
    roles: dict[str, int] = {}
    for target in alignment.targets:
        roles[target.info.role.value] = roles.get(target.info.role.value, 0) + 1
    needs = recipe.method.needs()
    statistics = sum(
        size_of(
            need, [t for t in alignment.targets if t.info.role in need.roles and t.info.block is not None]
        )
        for need in needs
    )
    read = recipe.base.nbytes + sum(expert.nbytes for expert in recipe.experts)
    sweeps = 1 + sum(p.scope == "model" for p in recipe.method.passes())
    return Plan(
        label=recipe.label,
        method=recipe.name,
        parameters=recipe.parameters,
        base=recipe.base.name,
        experts=[expert.name for expert in recipe.experts],
        n_parameters=recipe.base.n_parameters,
        actions=dict(alignment.actions),
        roles=roles,
        needs=[f"{need.kind} of the {need.of}" for need in needs],
        read_bytes=read * sweeps,
        write_bytes=alignment.nbytes,
        statistics_bytes=statistics,
        seconds=read * sweeps / READ_BYTES_PER_SECOND + alignment.nbytes / MERGE_BYTES_PER_SECOND,
        tied=alignment.tied,
        notes=list(alignment.notes),
    )
