"""The executor: walk the tensors in file order, hand the method float32 pieces, write the result in place.

Only the pieces at hand are in memory: runs of at most BLOCK elements for element-wise methods, one tensor or
one module for the others. Worker threads read, compute and write units, each single-threaded; what passes learn
is combined in file order, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.alignment.align import Target
from bench.alignment.reading import fill
from bench.merging.job import Job, Note
from bench.merging.refusals import guarded, refusing
from bench.merging.slots import Slot, groups_of, refuse_nonfinite, runs_of
from bench.merging.workers import Workers
from bench.merging.writer import CheckpointWriter
from bench.models.stored import read_stored
from bench.statistics import Statistic
from methods.common.contract import Pass, Seen, Unit, expert_of

if TYPE_CHECKING:
    from torch import Tensor

Say = Callable[[str], None]


def execute(job: Job, writer: CheckpointWriter, say: Say, *, threads: int | None = None) -> Seen:
    """Write every tensor of the result; returns what the passes have learnt."""
    with Workers(threads) as workers:
        _copy_rest(job, writer, workers)
        return _merge_all(job, writer, workers, say)


def _copy_rest(job: Job, writer: CheckpointWriter, workers: Workers) -> None:
    """Tensors that the method does not decide: the base's, an expert's, or the experts' mean."""

    def copy(target: Target, start: int, stop: int) -> None:
        writer.write(target.info.name, _copied(job, target, start, stop), start)

    copies = [
        partial(copy, target, start, stop)
        for target in job.alignment.targets
        if target.action != "merge"
        for start, stop in runs_of(target.info.n, job.block)
    ]
    for _ in workers.ordered(copies):
        pass


def _copied(job: Job, target: Target, start: int, stop: int) -> Tensor:
    import torch

    models = (job.recipe.base, *job.recipe.experts)
    if target.action == "mean":
        values = torch.empty((len(models), stop - start))
        for m in range(len(models)):
            fill(values[m], models, target, m, start, stop)
        refuse_nonfinite(job, values, target)
        return values[1:].mean(0)
    expert = expert_of(target.action)
    m = 0 if expert is None else expert + 1
    source = target.sources[m]
    if source.name is not None and source.rows is None:
        run = models[m].read(source.name, start, stop)  # as stored: a buffer of integers is never a float
    else:
        run = torch.empty(stop - start)
        fill(run, models, target, m, start, stop)
    if run.is_floating_point():
        refuse_nonfinite(job, run.unsqueeze(0), target, first=m)
    return run


def _merge_all(job: Job, writer: CheckpointWriter, workers: Workers, say: Say) -> Seen:
    """Whole-model sweeps first; passes that end within a tensor or block run just before it is merged."""
    passes = [guarded(pass_, job.recipe) for pass_ in job.recipe.method.passes()]
    last = max((i for i, p in enumerate(passes) if p.scope == "model"), default=-1)
    seen = Seen()
    _give_group_statistics(job, seen)
    groups = groups_of(job, by_block=any(p.scope == "block" for p in passes[last + 1 :]))
    for number, pass_ in enumerate(passes[: last + 1], 1):
        say(f"pass {number} of {last + 1}: {pass_.name}")
        _observe([slot for group in groups for slot in group], job, pass_, seen, workers)
    walk = _Walk(job, writer, workers, seen, passes[last + 1 :])
    alone: list[Slot] = []
    for done, group in enumerate(groups):
        if len(group) == 1:
            alone += group
            continue
        walk.alone(alone, say)
        alone = []
        say(f"merging {done} of {len(groups)}: {group[0].name}")
        walk.together(group)
    walk.alone(alone, say)
    return seen


@dataclass
class _Walk:
    """The last walk over the model: the passes that end before a group is merged, then its units."""

    job: Job
    writer: CheckpointWriter
    workers: Workers
    seen: Seen
    passes: Sequence[Pass]

    def together(self, group: list[Slot]) -> None:
        """One group of several units: pass by pass, its units at the same time."""
        for pass_ in self.passes:
            _observe(group, self.job, pass_, self.seen, self.workers)
        merges = [partial(self._merge, slot) for slot in group]
        for notes in self.workers.ordered(merges):
            self.job.notes.extend(notes)

    def alone(self, slots: list[Slot], say: Say) -> None:
        """Groups of one unit each, at the same time: a unit is read once for its passes and its merge."""
        tasks = [partial(self._pass_and_merge, slot) for slot in slots]
        for slot, notes in zip(slots, self.workers.ordered(tasks), strict=True):
            say(f"merged {slot.name}")
            self.job.notes.extend(notes)

    def _pass_and_merge(self, slot: Slot) -> list[Note]:
        unit = slot.load(self.job)
        for pass_ in self.passes:
            if slot.wanted(pass_, self.seen, self.job):
                _learn(_look(unit, pass_, self.seen), pass_, self.seen)
        return self._write(unit)

    def _merge(self, slot: Slot) -> list[Note]:
        return self._write(slot.load(self.job))

    def _write(self, unit: Unit) -> list[Note]:
        recipe = self.job.recipe
        with refusing(recipe, f"merging {unit.name}"):
            merged = recipe.method.merge(unit, self.seen)
        for part, values in merged.pieces.items():
            piece = unit.pieces[part]
            self.writer.write(piece.info.name, values, piece.start)
        return [(unit.name, metric, value) for metric, value in merged.notes.items()]


def _observe(slots: list[Slot], job: Job, pass_: Pass, seen: Seen, workers: Workers) -> None:
    """Run one pass over some units and store the result of each of its groups."""

    def observe(slot: Slot) -> list[tuple[str, Any]]:
        return _look(slot.load(job), pass_, seen)

    tasks = [partial(observe, slot) for slot in slots if slot.wanted(pass_, seen, job)]
    _learn((found for many in workers.ordered(tasks) for found in many), pass_, seen)


def _look(unit: Unit, pass_: Pass, seen: Seen) -> list[tuple[str, Any]]:
    """What a pass observes of a unit, by group: one tensor at a time when its results belong to tensors."""
    views = [unit]
    if pass_.scope == "tensor":
        views = [Unit(unit.name, {part: piece}) for part, piece in unit.pieces.items()]
    seen_here = [
        (next(iter(view.pieces.values())).info.key(pass_.scope), pass_.observe(view, seen)) for view in views
    ]
    return [(key, observed) for key, observed in seen_here if observed is not None]


def _learn(observed: Iterable[tuple[str, Any]], pass_: Pass, seen: Seen) -> None:
    """Combine in file order and store the result of each group."""
    totals: dict[str, Any] = {}
    for key, value in observed:
        totals[key] = pass_.combine(totals[key], value) if key in totals else value
    for key, total in totals.items():
        seen.put(pass_, key, pass_.finish(total, seen, key))


def _give_group_statistics(job: Job, seen: Seen) -> None:
    """Statistics of groups are small: methods have them beside what passes learn."""
    for need in job.recipe.method.needs():
        if need.scope is not None:
            subjects = job.statistics[need.name]
            keys = dict.fromkeys(key for statistic in subjects for key in statistic.tensors)
            seen.give(
                need.name,
                need.scope,
                {key: tuple(_small(statistic, key) for statistic in subjects) for key in keys},
            )


def _small(statistic: Statistic, key: str) -> Tensor:
    stored = statistic.tensors[key]
    return read_stored(stored).view(stored.shape)
