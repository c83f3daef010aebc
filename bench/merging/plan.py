"""What a merge would do, from configs and headers alone: no weight is read and nothing is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from bench.alignment.align import Alignment, Target, examine
from bench.merging.costs import Cost, cost_of
from bench.models.roles import architecture
from bench.needs import title
from bench.recipe import Recipe


@dataclass(frozen=True)
class PlannedTensor:
    """One tensor of the result. `rows_differ` counts the models whose rows are not the result's."""

    name: str
    role: str
    shape: list[int]
    dtype: str
    action: str
    lacking: int
    rows_differ: int


@dataclass(frozen=True)
class Plan:
    """A recipe lined up and what it would cost. With `mismatches` the merge is refused; they are all here."""

    label: str
    method: str
    reconstructed: str | None
    parameters: dict[str, Any]
    base: str
    experts: list[str]
    weights: list[float]
    n_parameters: int
    groups: list[dict[str, Any]]
    tensors: list[PlannedTensor]
    needs: list[str]
    cost: Cost
    tied: bool
    config: dict[str, Any]
    mismatches: list[str]
    skipped: int
    notes: list[str]


def plan(recipe: Recipe) -> Plan:
    """Line the models up and add up what would be read, held and written."""
    architecture(recipe.base.model_type)
    alignment = examine(recipe)
    return Plan(
        label=recipe.label,
        method=recipe.name,
        reconstructed=recipe.method.card.reconstructed,
        parameters=recipe.parameters,
        base=recipe.base.name,
        experts=[expert.name for expert in recipe.experts],
        weights=list(recipe.weights),
        n_parameters=recipe.base.n_parameters,
        groups=_groups(alignment),
        tensors=[_planned(target) for target in alignment.targets],
        needs=[f"{title(need.kind)} of the {need.of}" for need in recipe.method.needs()],
        cost=cost_of(recipe, alignment),
        tied=alignment.tied,
        config=dict(alignment.config),
        mismatches=list(alignment.problems),
        skipped=alignment.skipped,
        notes=list(alignment.notes),
    )


def _groups(alignment: Alignment) -> list[dict[str, Any]]:
    """Tensors, elements and bytes by role and action, in the order in which they first appear."""
    tensors: Counter[tuple[str, str]] = Counter()
    elements: Counter[tuple[str, str]] = Counter()
    nbytes: Counter[tuple[str, str]] = Counter()
    for target in alignment.targets:
        key = (target.info.role.value, target.action)
        tensors[key] += 1
        elements[key] += target.info.n
        nbytes[key] += target.nbytes
    return [
        {"role": key[0], "action": key[1], "tensors": n, "elements": elements[key], "bytes": nbytes[key]}
        for key, n in tensors.items()
    ]


def _planned(target: Target) -> PlannedTensor:
    return PlannedTensor(
        name=target.info.name,
        role=target.info.role.value,
        shape=list(target.info.shape),
        dtype=target.dtype,
        action=target.action,
        lacking=sum(source.name is None for source in target.sources),
        rows_differ=sum(source.rows is not None for source in target.sources),
    )
