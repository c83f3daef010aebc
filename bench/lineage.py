"""Rows that say what a checkpoint is, where it came from and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.checkpoint import Checkpoint, locate
from bench.evaluate import EvalTarget
from bench.merge import MergeResult
from bench.recipe import Recipe
from results.schema import TABLES
from results.spool import Spool
from results.store import Store


def base_row(model: Checkpoint, mark: str, model_set: str) -> dict[str, Any]:
    """The base of a model set. `mark` is its fingerprint."""
    return {
        "checkpoint": mark,
        "model_set": model_set,
        "name": "base",
        "kind": "base",
        "path": model.name,
        "n_parameters": model.n_parameters,
    }


def expert_row(label: str, model: Checkpoint, mark: str, base: str, model_set: str) -> dict[str, Any]:
    """An expert, named by its domain."""
    return {
        "checkpoint": mark,
        "model_set": model_set,
        "name": f"expert:{label}",
        "kind": "expert",
        "path": model.name,
        "base": base,
        "n_parameters": model.n_parameters,
    }


def merged_row(model: Checkpoint, manifest: Mapping[str, Any], model_set: str) -> dict[str, Any]:
    """A merge of ours, with its lineage and cost (seconds include its statistics, even when reused)."""
    return {
        "checkpoint": manifest["fingerprint"],
        "model_set": model_set,
        "name": manifest["label"],
        "kind": "merged",
        "path": model.name,
        "method": manifest["method"],
        "parameters": manifest["parameters"],
        "base": manifest["base"]["fingerprint"],
        "experts": [expert["fingerprint"] for expert in manifest["experts"]],
        "merge_id": manifest["merge_id"],
        "merge_seconds": manifest["seconds"] + manifest["statistics_seconds"],
        "peak_bytes": manifest["peak_bytes"],
        "n_parameters": model.n_parameters,
    }


def layer_rows(result: MergeResult) -> list[dict[str, Any]]:
    """Per-layer diagnostics of a new merge."""
    mark = result.manifest["merge_id"]
    return [
        {"merge_id": mark, "layer": layer, "metric": metric, "value": value}
        for layer, metric, value in result.manifest["layers"]
    ]


def method_row(recipe: Recipe) -> dict[str, Any]:
    """What a reader must know about the method."""
    card = recipe.method.card
    return {
        "method": recipe.name,
        "title": card.title,
        "source": card.source,
        "reconstructed": card.reconstructed,
        "needs": [need.kind for need in recipe.method.needs()],
    }


def target(row: Mapping[str, Any], *, base: str | None, expert: str | None) -> EvalTarget:
    """The model of a checkpoint row, to be evaluated against `base` and `expert` (fingerprints)."""
    return EvalTarget(
        path=locate(row["path"]),
        fingerprint=row["checkpoint"],
        name=row["name"],
        model_set=row["model_set"],
        base=base,
        expert=expert,
    )


def stored_targets(store: Store, benchmarks: list[str], model_set: str | None) -> list[EvalTarget]:
    """Every recorded model that has stored responses to one of `benchmarks`; its folder may be gone."""
    rows = store.rows(
        "SELECT * FROM current_checkpoints WHERE checkpoint IN "
        "(SELECT DISTINCT checkpoint FROM responses WHERE list_contains($benchmarks, benchmark)) "
        "AND ($model_set IS NULL OR model_set = $model_set) ORDER BY created_at",
        {"benchmarks": benchmarks, "model_set": model_set},
    )
    lineage = {
        row["checkpoint"]: (row["base"], row["expert"])
        for row in store.rows("SELECT DISTINCT checkpoint, base, expert FROM scores")
    }
    return [
        EvalTarget(
            Path(row["path"]),
            row["checkpoint"],
            row["name"],
            row["model_set"],
            *lineage.get(row["checkpoint"], (row["base"], None)),
        )
        for row in rows
    ]


def record(spool: Spool, store: Store, table: str, rows: list[dict[str, Any]]) -> None:
    """Append the rows that say something new: a row that equals the newest of its subject is not repeated.

    The subject of a checkpoint row is its name in its set, which may have meant another checkpoint meanwhile.
    """
    subject = ("model_set", "name") if table == "checkpoints" else TABLES[table].key
    condition = " AND ".join(f'"{column}" = ?' for column in subject)
    newest = f"SELECT * FROM current_{table} WHERE {condition} ORDER BY created_at DESC LIMIT 1"
    for row in rows:
        found = store.rows(newest, [row[column] for column in subject])
        if not found or any(found[0].get(name) != value for name, value in row.items()):
            spool.append(table, row)
