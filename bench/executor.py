"""The executor: walk the tensors in file order, hand the method float32 pieces, write the result in place.

Only the pieces at hand are in memory: runs of at most BLOCK elements for element-wise methods, one tensor or
one module for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.alignment import Alignment, Target
from bench.checkpoint import Checkpoint, Stored, read_stored
from bench.recipe import Recipe
from bench.statistics import Statistic
from bench.writer import CheckpointWriter
from methods.common.contract import Merged, Pass, Piece, Seen, Unit

if TYPE_CHECKING:
    from torch import Tensor

BLOCK = 1 << 22


@dataclass
class Job:
    """One merge under way: the recipe, its alignment, and the statistics at hand by need name."""

    recipe: Recipe
    alignment: Alignment
    statistics: dict[str, tuple[Statistic, ...]] = field(default_factory=dict)
    notes: list[tuple[str, str, float]] = field(default_factory=list)

    @property
    def merged_targets(self) -> list[Target]:
        """Targets that the method decides."""
        return [target for target in self.alignment.targets if target.action == "merge"]


def execute(job: Job, writer: CheckpointWriter, say: Callable[[str], None]) -> Seen:
    """Write every tensor of the result; returns what the passes have learnt."""
    _copy_rest(job, writer)
    return _merge_all(job, writer, say)


def _copy_rest(job: Job, writer: CheckpointWriter) -> None:
    """Tensors that the method does not decide: the base's, an expert's, or the experts' mean."""
    for target in job.alignment.targets:
        if target.action == "merge":
            continue
        for start, stop in _runs(target.info.n):
            writer.write(target.info.name, _copied(job, target, start, stop), start)


def _copied(job: Job, target: Target, start: int, stop: int) -> Tensor:
    recipe = job.recipe
    if target.action == "base":
        return recipe.base.read(str(target.sources[0].name), start, stop)
    if target.action.startswith("expert:"):
        expert = int(target.action[7:])
        return recipe.experts[expert].read(str(target.sources[expert + 1].name), start, stop)
    runs = [
        expert.read(str(source.name), start, stop).float()
        for expert, source in zip(recipe.experts, target.sources[1:], strict=True)
    ]
    return sum(runs[1:], start=runs[0]) / len(runs)


def _merge_all(job: Job, writer: CheckpointWriter, say: Callable[[str], None]) -> Seen:
    """Whole-model sweeps first; passes that end within a tensor or block run just before it is merged."""
    passes = job.recipe.method.passes()
    last = max((i for i, p in enumerate(passes) if p.scope == "model"), default=-1)
    seen = Seen()
    groups = _groups(job, by_block=any(p.scope == "block" for p in passes[last + 1 :]))
    for number, pass_ in enumerate(passes[: last + 1], 1):
        say(f"pass {number} of {last + 1}: {pass_.name}")
        _observe([slot for group in groups for slot in group], job, pass_, seen)
    for done, group in enumerate(groups):
        say(f"merging {done} of {len(groups)} {group[0].name}")
        for pass_ in passes[last + 1 :]:
            _observe(group, job, pass_, seen)
        for slot in group:
            unit = slot.load(job)
            _write(unit, job.recipe.method.merge(unit, seen), job, writer)
    return seen


@dataclass(frozen=True)
class Slot:
    """A unit not yet read: its targets, and the run of elements (the whole tensors when `stop` is None)."""

    name: str
    targets: tuple[Target, ...]
    start: int = 0
    stop: int | None = None

    def load(self, job: Job) -> Unit:
        """Read the unit's pieces in float32."""
        parts = {}
        for target in self.targets:
            stop = target.info.n if self.stop is None else self.stop
            parts[target.info.name.rsplit(".", 1)[-1]] = _piece(job, target, self.start, stop)
        return Unit(self.name, parts)


def _piece(job: Job, target: Target, start: int, stop: int) -> Piece:
    import torch

    whole = start == 0 and stop == target.info.n
    shape = target.info.shape if whole else (stop - start,)
    models: tuple[Checkpoint, ...] = (job.recipe.base, *job.recipe.experts)
    base, *experts = (
        model.read(str(source.name), start, stop).float().view(shape)
        for model, source in zip(models, target.sources, strict=True)
    )
    stacked = torch.stack(experts)
    statistics = {
        name: found
        for name, group in job.statistics.items()
        if (found := _statistic_run(group, target, start, stop, whole))
    }
    return Piece(target.info, base, stacked, job.recipe.weights, start, statistics)


def _statistic_run(
    group: tuple[Statistic, ...], target: Target, start: int, stop: int, whole: bool
) -> tuple[Tensor, ...]:
    """The same elements of a parameter's statistic, or all of one that has a shape of its own."""
    name = target.info.name
    stored = [statistic.tensors[name] for statistic in group if name in statistic.tensors]
    return tuple(_read_run(s, target, start, stop, whole) for s in stored)


def _read_run(stored: Stored, target: Target, start: int, stop: int, whole: bool) -> Tensor:
    if stored.shape != target.info.shape:
        return read_stored(stored).view(stored.shape)
    return read_stored(stored, start, stop).view(target.info.shape if whole else (stop - start,))


def _groups(job: Job, *, by_block: bool) -> list[list[Slot]]:
    """Units in file order, gathered into the groups whose passes must end before their first unit is merged."""
    groups: dict[str, list[Slot]] = {}
    for target in _first_of_modules(job):
        key = target[0].info.key("block" if by_block else "tensor")
        groups.setdefault(key, []).extend(_slots(job, target))
    return list(groups.values())


def _first_of_modules(job: Job) -> Iterator[tuple[Target, ...]]:
    """Targets one by one, or together by module, in file order of the first."""
    if job.recipe.method.unit != "module":
        yield from ((target,) for target in job.merged_targets)
        return
    modules: dict[str, list[Target]] = {}
    for target in job.merged_targets:
        modules.setdefault(target.info.module, []).append(target)
    yield from (tuple(targets) for targets in modules.values())


def _slots(job: Job, targets: tuple[Target, ...]) -> list[Slot]:
    if job.recipe.method.unit != "element":
        return [Slot(targets[0].info.module, targets)]
    (target,) = targets
    return [Slot(target.info.name, targets, start, stop) for start, stop in _runs(target.info.n)]


def _runs(n: int) -> Iterator[tuple[int, int]]:
    for start in range(0, n, BLOCK):
        yield start, min(n, start + BLOCK)


def _observe(slots: list[Slot], job: Job, pass_: Pass, seen: Seen) -> None:
    """Run one pass over some units and store the result of each of its groups."""
    totals: dict[str, Any] = {}
    for slot in slots:
        for unit in _views(slot.load(job), pass_):
            observed = pass_.observe(unit, seen)
            if observed is None:
                continue
            key = next(iter(unit.pieces.values())).info.key(pass_.scope)
            totals[key] = pass_.combine(totals[key], observed) if key in totals else observed
    for key, total in totals.items():
        seen.put(pass_, key, pass_.finish(total, seen, key))


def _views(unit: Unit, pass_: Pass) -> list[Unit]:
    """What a pass sees of a unit: one tensor at a time when its results belong to tensors, else all of it."""
    if pass_.scope != "tensor":
        return [unit]
    return [Unit(unit.name, {part: piece}) for part, piece in unit.pieces.items()]


def _write(unit: Unit, merged: Merged, job: Job, writer: CheckpointWriter) -> None:
    for part, values in merged.pieces.items():
        piece = unit.pieces[part]
        writer.write(piece.info.name, values, piece.start)
    job.notes.extend((unit.name, metric, value) for metric, value in merged.notes.items())
