"""Rows that say what a checkpoint is, where it came from and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.evaluation.experts import Expert
from bench.evaluation.target import EvalTarget
from bench.merging.merge import MergeResult
from bench.models.checkpoint import Checkpoint, locate
from bench.recipe import Recipe, method_class
from methods.common.contract import Method
from results.schema import TABLES
from results.spool import Spool
from results.store import Store
from tasks.contract import Benchmark, Composite, LmEvalTask, Part, Suite

EXPERT = "expert:"


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
        "name": f"{EXPERT}{label}",
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
        "statistics_seconds": manifest["statistics_seconds"],
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


def method_rows(recipe: Recipe) -> list[dict[str, Any]]:
    """What a reader must know about the method, and about those that it works on."""
    inner = [(name, method_class(name)()) for name in recipe.method.wraps()]
    return [_method_row(name, method) for name, method in ((recipe.name, recipe.method), *inner)]


def _method_row(name: str, method: Method) -> dict[str, Any]:
    return {
        "method": name,
        "title": method.card.title,
        "source": method.card.source,
        "reconstructed": method.card.reconstructed,
        "needs": [need.kind for need in method.needs()],
    }


def composite_rows(suite: Suite) -> list[dict[str, Any]]:
    """The columns of a suite's table: what each is made of."""
    columns: dict[str, Benchmark | LmEvalTask | Composite] = {b.name: b for b in suite.benchmarks}
    columns |= {task.name: task for task in suite.lm_eval}
    columns |= {composite.name: composite for composite in suite.composites}
    return [_composite_row(suite.name, columns[name]) for name in suite.reported]


def _composite_row(suite: str, column: Benchmark | LmEvalTask | Composite) -> dict[str, Any]:
    parts = column.parts if isinstance(column, Composite) else (Part(column.name),)
    return {
        "suite": suite,
        "benchmark": column.name,
        "title": column.title,
        "domain": column.domain,
        "how": column.how if isinstance(column, Composite) else "mean",
        "parts": [{"benchmark": part.benchmark, "grader": part.grader} for part in parts],
    }


def target(
    row: Mapping[str, Any], *, base: str | None, experts: Mapping[str, Expert], base_name: str | None = None
) -> EvalTarget:
    """The model of a checkpoint row, to be evaluated against `base` (its fingerprint; `base_name` says where it is)
    and experts by domain."""
    return EvalTarget(
        path=locate(row["path"]),
        fingerprint=row["checkpoint"],
        name=row["name"],
        model_set=row["model_set"],
        base=base,
        experts=experts,
        base_name=base_name,
    )


def stored_targets(store: Store, benchmarks: list[str], model_set: str | None) -> list[EvalTarget]:
    """Every recorded model that has stored responses to one of `benchmarks`; its folder may be gone."""
    rows = store.rows(
        "SELECT * FROM current_checkpoints WHERE checkpoint IN "
        "(SELECT DISTINCT checkpoint FROM responses WHERE list_contains($benchmarks, benchmark)) "
        "AND ($model_set IS NULL OR model_set = $model_set) ORDER BY created_at",
        {"benchmarks": benchmarks, "model_set": model_set},
    )
    sets = {name: _stored_set(store, name) for name in {row["model_set"] for row in rows}}
    return [
        EvalTarget(
            Path(row["path"]), row["checkpoint"], row["name"], row["model_set"], *sets[row["model_set"]](row)
        )
        for row in rows
    ]


def _stored_set(
    store: Store, model_set: str
) -> Callable[[Mapping[str, Any]], tuple[str | None, dict[str, Expert]]]:
    """Gives base and experts of a checkpoint row: those that it was scored against, else those of its set."""
    checkpoints = store.rows(
        "SELECT * FROM current_checkpoints WHERE model_set = ? AND kind <> 'merged' ORDER BY created_at",
        [model_set],
    )
    names = {row["checkpoint"]: row["path"] for row in checkpoints}
    labels = {
        row["name"].removeprefix(EXPERT): row["checkpoint"] for row in checkpoints if row["kind"] == "expert"
    }
    scored: dict[str, tuple[str | None, dict[str, str]]] = {}
    for row in store.rows(
        "SELECT checkpoint, base, domain, expert FROM scores WHERE model_set = ? ORDER BY created_at",
        [model_set],
    ):
        _, domains = scored.get(row["checkpoint"], (None, {}))
        if row["expert"]:
            domains[row["domain"]] = row["expert"]
        scored[row["checkpoint"]] = row["base"], domains

    def of(row: Mapping[str, Any]) -> tuple[str | None, dict[str, Expert]]:
        base, domains = scored.get(row["checkpoint"], (row["base"], {}))
        parents = row["experts"]
        mine = {label: mark for label, mark in labels.items() if parents is None or mark in parents}
        known = {**mine, **domains}
        return base, {label: Expert(mark, names.get(mark, mark)) for label, mark in known.items()}

    return of


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
