"""Have a statistic: from disk when it was computed before, else compute it once under a lock."""

from __future__ import annotations

import gc
import importlib
import time
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path

from bench.alignment.align import Target
from bench.disk import check_disk
from bench.errors import BadInput
from bench.recipe import Recipe
from bench.statistics.kinds import KINDS, options_of
from bench.statistics.store import Computed, Statistic, load, save
from bench.statistics.subject import Subject, statistic_id, subjects, wanted
from methods.common.contract import Need


def gather(
    recipe: Recipe, targets: tuple[Target, ...], *, folder: Path, memory: Path, say: Callable[[str], None]
) -> dict[str, tuple[Statistic, ...]]:
    """Every statistic that a recipe's method needs, by the need's name: one per subject.

    `folder` holds statistics, `memory` is the file of remembered fingerprints.
    """
    return {
        need.name: tuple(
            provide(subject, folder=folder, memory=memory, say=say)
            for subject in subjects(need, recipe, targets)
        )
        for need in recipe.method.needs()
    }


def provide(subject: Subject, *, folder: Path, memory: Path, say: Callable[[str], None]) -> Statistic:
    """The statistic of one subject. Two processes that want the same one compute it once."""
    from filelock import FileLock

    identity = statistic_id(subject, memory)
    final = folder / identity
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f".{identity}.lock"):
        if (found := load(final, identity, reused=True)) is not None:
            return found
        if not subject.wanted:
            roles = ", ".join(subject.need.roles)
            raise BadInput(
                f"{subject.model.name} has no merged {roles} tensors to take {subject.need.kind} of"
            )
        check_disk(folder, size_of(subject.need, list(subject.wanted)), f"the statistic {subject.need.kind}")
        shown = ", ".join(f"{key} {value}" for key, value in subject.options.items())
        say(f"computing {subject.title} ({shown})")
        started = time.perf_counter()
        computed = _compute(subject, say)
        _check_finite(subject, computed)
        seconds = time.perf_counter() - started
        save(final, computed, _record(subject, identity, seconds))
    made = load(final, identity, reused=False)
    assert made is not None
    return made


def _compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    module = importlib.import_module(f"bench.statistics.{KINDS[subject.need.kind].module}")
    found: Computed = module.compute(subject, say)
    gc.collect()  # hooks and modules refer to each other: the model goes before the merge begins
    return found


def _check_finite(subject: Subject, computed: Computed) -> None:
    """Refuse numbers that are none, naming the tensor: every merge with them would be none either."""
    for name, tensor in computed.tensors.items():
        if tensor.numel() and not all(bool(bound.isfinite()) for bound in tensor.aminmax()):
            raise BadInput(
                f"{subject.title} has NaN or infinity at {name}: a model or an activation overflows; "
                "take float32 for the pass, and look at the model's own tensors"
            )


def _record(subject: Subject, identity: str, seconds: float) -> dict[str, object]:
    return {
        "id": identity,
        "need": subject.need.name,
        "kind": subject.need.kind,
        "of": subject.need.of,
        "options": subject.options,
        "models": [model.name for model in subject.reads],
        "data": [{"name": s.name, "digest": s.digest, "examples": len(s.examples)} for s in subject.data],
        "seconds": seconds,
    }


def size_of(need: Need, wanted: Sequence[Target]) -> int:
    """Bytes of one subject's statistic: `wanted` are the targets that it is taken of."""
    options = options_of(need)
    if need.scope is not None:
        return 4 * 64 * (len(wanted) + 1)  # a few numbers a group
    if need.kind == "inputs_random_tokens":
        rows = int(options["samples"]) * int(options["length"])
        return 4 * rows * sum(target.info.features for target in wanted)
    if need.kind == "gram_data":  # q, k, v and gate, up share one: this is what they need when they do not
        return 4 * sum(target.info.features**2 for target in wanted)
    if need.kind == "channels_data":
        return 4 * sum(target.info.features for target in wanted)
    return 4 * sum(prod(target.info.shape) for target in wanted)


def disk_of(recipe: Recipe, targets: tuple[Target, ...]) -> int:
    """Bytes of all statistics that a recipe's method needs."""
    return sum(
        size_of(need, wanted(need, targets)) * (len(recipe.experts) if need.per_expert else 1)
        for need in recipe.method.needs()
    )
