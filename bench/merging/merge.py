"""One merge from recipe to folder: identity, statistics, execution, manifest, and the final rename.

A killed merge leaves no checkpoint; the same recipe is never merged twice.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.alignment.align import Alignment, align
from bench.alignment.vocabulary import files_model
from bench.data import check_data
from bench.errors import BadInput
from bench.identity import (
    code_digest,
    digest,
    fingerprint,
    learn_fingerprints,
    remember_hashes,
    remember_rename,
)
from bench.machine import peak_bytes, reset_peak
from bench.merging import executor
from bench.merging.card import model_card
from bench.merging.executor import execute
from bench.merging.job import Job
from bench.merging.writer import (
    FULL,
    UNNAMED_CONFIG,
    CheckpointWriter,
    copy_companions,
    make_draft,
    publish,
    read_manifest,
)
from bench.models.context import context_record
from bench.recipe import METHODS, Recipe
from bench.statistics import gather, statistic_id, subjects


def quiet(text: str) -> None:
    """A `say` that says nothing."""


@dataclass(frozen=True)
class Place:
    """Where a merge may keep things: `runs` holds merges, statistics and remembered fingerprints."""

    runs: Path

    @property
    def statistics(self) -> Path:
        """Folder of Fishers and activations."""
        return self.runs / "statistics"

    def lock(self, out: Path) -> Path:
        """The lock of a merge into `out`: kept here, so that nothing is left beside it."""
        folder = self.runs / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        return folder / f"{digest(str(out.resolve()))}.lock"

    @property
    def fingerprints(self) -> Path:
        """File of remembered fingerprints."""
        return self.runs / "fingerprints.json"


@dataclass(frozen=True)
class MergeResult:
    """A merged checkpoint on disk and its manifest; `reused` when it was there already."""

    path: Path
    manifest: dict[str, Any]
    reused: bool


def merge_id(recipe: Recipe, place: Place, alignment: Alignment | None = None) -> str:
    """Identity of a merge, computable before the work. `alignment` is the recipe's, where it is known already."""
    check_data(recipe)
    targets = (alignment or align(recipe)).targets
    learn_fingerprints([model.path for model in (recipe.base, *recipe.experts)], place.fingerprints)
    base = fingerprint(recipe.base.path, place.fingerprints)
    experts = [fingerprint(expert.path, place.fingerprints) for expert in recipe.experts]
    return digest(
        {
            "code": code_digest([*method_files(recipe), Path(executor.__file__)]),
            "method": recipe.name,
            "parameters": recipe.parameters,
            "base": base,
            "experts": experts,
            "weights": recipe.weights,
            **recipe.context.said(),
            "statistics": [
                statistic_id(subject, place.fingerprints)
                for need in recipe.method.needs()
                for subject in subjects(need, recipe, targets)
            ],
        }
    )


def method_files(recipe: Recipe) -> list[Path]:
    """The files of a recipe's method and of those that it wraps."""
    return [METHODS / f"{name}.py" for name in (recipe.name, *recipe.method.wraps())]


def merge(recipe: Recipe, out: Path, place: Place, *, say: Callable[[str], None] = quiet) -> MergeResult:
    """Merge into `out`, or reuse what is there if it is the same merge. Raises BadInput before any work."""
    from filelock import FileLock

    alignment = align(recipe)
    identity = merge_id(recipe, place, alignment)
    with FileLock(place.lock(out)):
        found = _existing(out, identity, place)
        if found is not None:
            return MergeResult(out, found, True)
        draft = make_draft(out, alignment.nbytes, f"the merge {recipe.label}")
        try:
            manifest = _merge_into(
                Job(recipe, alignment, _expert_ids(recipe, place)), draft, identity, place, say
            )
            publish(draft, out, manifest)
        except BaseException as error:
            shutil.rmtree(draft, ignore_errors=True)
            if isinstance(error, OSError) and error.errno in FULL:
                raise BadInput(f"the disk of {out.parent} is full; nothing was left behind") from error
            raise
        remember_rename(draft, out, place.fingerprints)
    return MergeResult(out, manifest, False)


def _expert_ids(recipe: Recipe, place: Place) -> tuple[str, ...]:
    """An id per expert by its content; the second of two equal experts is another one."""
    marks = [fingerprint(expert.path, place.fingerprints) for expert in recipe.experts]
    return tuple(f"{mark}#{marks[:i].count(mark)}" for i, mark in enumerate(marks))


def _existing(out: Path, identity: str, place: Place) -> dict[str, Any] | None:
    """The manifest of the same merge at `out`; anything else there is not ours to replace."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    manifest = read_manifest(out) if out.is_dir() else None
    if manifest is None:
        raise BadInput(f"{out} exists and is not a merge of this tool: choose another --out or remove it")
    if manifest.get("merge_id") != identity:
        raise BadInput(
            f"{out} holds another merge ({manifest.get('label')}): choose another --out or remove it"
        )
    if manifest.get("fingerprint") != fingerprint(out, place.fingerprints):
        raise BadInput(f"{out} was changed after it was merged: remove it and merge again")
    return manifest


def _merge_into(
    job: Job, draft: Path, identity: str, place: Place, say: Callable[[str], None]
) -> dict[str, Any]:
    recipe = job.recipe
    _import_first(recipe)
    reset_peak()
    started = time.perf_counter()
    job.statistics = gather(
        recipe, job.alignment.targets, folder=place.statistics, memory=place.fingerprints, say=say
    )
    waited = sum(s.seconds for group in job.statistics.values() for s in group if not s.reused)
    spent = sum(s.seconds for group in job.statistics.values() for s in group)
    with CheckpointWriter(draft, job.alignment.targets) as writer:
        seen = execute(job, writer, say)
        remember_hashes(writer.close(), place.fingerprints)
    source = files_model((recipe.base, *recipe.experts), recipe.method)
    copy_companions(source, draft, config=job.alignment.config, dtype=_config_dtype(recipe))
    seconds = time.perf_counter() - started - waited
    layers = [*recipe.method.layers(seen), *job.notes]
    measured = {"seconds": seconds, "statistics_seconds": spent, "peak_bytes": peak_bytes()}
    manifest = _manifest(job, identity, place, layers=layers, **measured)
    manifest["fingerprint"] = fingerprint(draft, place.fingerprints, renamed={UNNAMED_CONFIG: "config.json"})
    (draft / "README.md").write_text(model_card(manifest, recipe.method.card), encoding="utf-8")
    return manifest


def _import_first(recipe: Recipe) -> None:
    """Libraries are loaded before time and memory are measured: what a merge costs does not depend on its turn."""
    import torch  # noqa: F401

    if recipe.method.needs():
        import transformers.modeling_utils  # noqa: F401


def _config_dtype(recipe: Recipe) -> Any:
    """The dtype that the result's config names: transformers casts to it on loading."""
    chosen = recipe.method.out_dtype
    return (
        recipe.base.config.get("dtype", recipe.base.config.get("torch_dtype")) if chosen == "base" else chosen
    )


def _manifest(job: Job, identity: str, place: Place, **measured: Any) -> dict[str, Any]:
    recipe = job.recipe
    return {
        "merge_id": identity,
        "method": recipe.name,
        "label": recipe.label,
        "parameters": recipe.parameters,
        "base": {"name": recipe.base.name, "fingerprint": fingerprint(recipe.base.path, place.fingerprints)},
        "experts": [
            {"name": e.name, "weight": w, "fingerprint": fingerprint(e.path, place.fingerprints)}
            for e, w in zip(recipe.experts, recipe.weights, strict=True)
        ],
        "statistics": {name: [s.id for s in group] for name, group in job.statistics.items()},
        "statistics_reused": {name: all(s.reused for s in group) for name, group in job.statistics.items()},
        "context": context_record((recipe.base, *recipe.experts), recipe.context),
        "data": [{"name": s.name, "digest": s.digest, "examples": len(s.examples)} for s in recipe.data],
        "tensors": dict(job.alignment.actions),
        "tied": job.alignment.tied,
        "skipped": job.alignment.skipped,
        "notes": list(job.alignment.notes),
        **measured,
    }
