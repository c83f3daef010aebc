"""Rows that say what a checkpoint is, where it came from and what it cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bench.checkpoint import Checkpoint
from bench.merge import MergeResult
from bench.recipe import Recipe

if TYPE_CHECKING:
    from bench.run import Road


def base_row(model: Checkpoint, mark: str, model_set: str) -> dict[str, Any]:
    """The base of a model set. `mark` is its fingerprint."""
    return {"checkpoint": mark, "model_set": model_set, "name": "base", "kind": "base", "path": model.name,
            "n_parameters": model.n_parameters}


def expert_row(label: str, model: Checkpoint, mark: str, base: str, model_set: str) -> dict[str, Any]:
    """An expert, named by its domain."""
    return {"checkpoint": mark, "model_set": model_set, "name": f"expert:{label}", "kind": "expert",
            "path": model.name, "base": base, "n_parameters": model.n_parameters}


def merged_row(recipe: Recipe, result: MergeResult, model_set: str) -> dict[str, Any]:
    """A merge, with its lineage and cost (seconds include its statistics, even when they were reused)."""
    manifest = result.manifest
    return {
        "checkpoint": manifest["fingerprint"],
        "model_set": model_set,
        "name": manifest["label"],
        "kind": "merged",
        "path": str(result.path),
        "method": manifest["method"],
        "parameters": manifest["parameters"],
        "base": manifest["base"]["fingerprint"],
        "experts": [expert["fingerprint"] for expert in manifest["experts"]],
        "merge_id": manifest["merge_id"],
        "merge_seconds": manifest["seconds"] + manifest["statistics_seconds"],
        "peak_bytes": manifest["peak_bytes"],
        "n_parameters": recipe.base.n_parameters,
    }


def layer_rows(result: MergeResult, run_id: str) -> list[dict[str, Any]]:
    """Per-layer diagnostics of a new merge."""
    from bench.run import now

    return [
        {"merge_id": result.manifest["merge_id"], "layer": layer, "metric": metric, "value": value, "run_id": run_id,
         "created_at": now()}
        for layer, metric, value in result.manifest["layers"]
    ]


def method_row(recipe: Recipe) -> dict[str, Any]:
    """What a reader must know about the method."""
    card = recipe.method.card
    return {"method": recipe.name, "title": card.title, "source": card.source, "reconstructed": card.reconstructed,
            "needs": [need.kind for need in recipe.method.needs()]}


def record(road: Road, table: str, rows: list[dict[str, Any]]) -> None:
    """Append the rows that say something new: a row equal to the current one of its key is not repeated."""
    from bench.run import now
    from results.schema import TABLES

    key = TABLES[table].key
    for row in rows:
        found = road.store.fetch(table, [row[key[0]]], **{name: row.get(name) for name in key[1:]})
        if not any(all(old.get(name) == value for name, value in row.items()) for old in found):
            road.spool.append(table, {**row, "run_id": road.run_id, "created_at": now()})
