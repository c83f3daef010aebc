"""Units not yet read: which tensors they hold, in which order they are visited, and how they are loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.alignment.align import Target
from bench.alignment.reading import fill, stored_as
from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from bench.models.stored import Stored, read_stored
from bench.statistics import Statistic
from methods.common.contract import Pass, Piece, Seen, Unit
from methods.common.sums import CHUNK

if TYPE_CHECKING:
    from torch import Tensor

    from bench.merging.job import Job


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

    def wanted(self, pass_: Pass, seen: Seen, job: Job) -> bool:
        """Whether a pass has any use for the unit."""
        return any(pass_.needed(seen, target.info, len(job.recipe.experts)) for target in self.targets)


def groups_of(job: Job, *, by_block: bool) -> list[list[Slot]]:
    """Units in file order, gathered into the groups whose passes must end before their first unit is merged."""
    groups: dict[str, list[Slot]] = {}
    for targets in _units(job):
        key = targets[0].info.key("block" if by_block else "tensor")
        groups.setdefault(key, []).extend(_slots(job, targets))
    return list(groups.values())


def runs_of(n: int, block: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of runs of at most `block` elements, a multiple of the CHUNK that sums are grouped by."""
    if block % CHUNK:
        raise ValueError(f"a block of {block} elements is no multiple of {CHUNK}")
    for start in range(0, n, block):
        yield start, min(n, start + block)


def _units(job: Job) -> Iterator[tuple[Target, ...]]:
    """Targets one by one, or together by module, in file order of the first."""
    if job.recipe.method.unit != "module":
        yield from ((target,) for target in job.merged_targets)
        return
    modules: dict[str, list[Target]] = {}
    for target in job.merged_targets:
        modules.setdefault(target.info.module, []).append(target)
    yield from (tuple(targets) for targets in modules.values())


def _slots(job: Job, targets: tuple[Target, ...]) -> list[Slot]:
    if any(job.recipe.method.whole(target.info) for target in targets):
        return [Slot(targets[0].info.module, targets)]
    (target,) = targets
    return [Slot(target.info.name, targets, start, stop) for start, stop in runs_of(target.info.n, job.block)]


def _piece(job: Job, target: Target, start: int, stop: int) -> Piece:
    whole = start == 0 and stop == target.info.n
    shape = (target.info.shape if whole else ()) or (stop - start,)
    statistics = {
        name: tuple(_statistic_run(stored, target, start, stop, whole) for stored in found)
        for name, group in job.statistics.items()
        if (found := _stored(group, target))
    }
    values = _values(job, target, start, stop)
    values = values.view(len(values), *shape)
    return Piece(target.info, values[0], values[1:], job.recipe.weights, start, statistics, job.ids)


def _values(job: Job, target: Target, start: int, stop: int) -> Tensor:
    """Elements of base and experts, known to be finite."""
    place = (target.info.order, start)
    values = _read(job, target, start, stop)
    if place not in job.checked:
        refuse_nonfinite(job, values, target)
        job.checked.add(place)
    return values


def _read(job: Job, target: Target, start: int, stop: int) -> Tensor:
    """[1 + M, stop - start] of base and experts: bfloat16 where all of them are stored so, else float32."""
    import torch

    models: tuple[Checkpoint, ...] = (job.recipe.base, *job.recipe.experts)
    same = all(
        stored_as(model, source) == "BF16" for model, source in zip(models, target.sources, strict=True)
    )
    values = torch.empty((len(models), stop - start), dtype=torch.bfloat16 if same else torch.float32)
    for m in range(len(models)):
        fill(values[m], models, target, m, start, stop)
    return values


def refuse_nonfinite(job: Job, values: Tensor, target: Target, *, first: int = 0) -> None:
    """Name the first model with an element that is not finite. `values` is [models, n], from model `first` on."""
    import torch

    if job.recipe.method.nonfinite == "allow":
        return
    if bool(torch.isfinite(values.sum())):  # NaN and infinity survive a sum: one sweep for almost every run
        return
    models = (job.recipe.base, *job.recipe.experts)
    for m, row in enumerate(values, first):
        if not bool(torch.isfinite(row).all()):
            name = target.sources[m].name or target.info.name
            what = "NaN" if bool(torch.isnan(row).any()) else "infinity"
            raise BadInput(
                f"{models[m].name}: tensor {name!r} contains {what}. Repair the checkpoint, or merge it as it is "
                "with --set nonfinite=allow"
            )


def _stored(group: tuple[Statistic, ...], target: Target) -> list[Stored]:
    name = target.info.name
    return [statistic.tensors[name] for statistic in group if name in statistic.tensors]


def _statistic_run(stored: Stored, target: Target, start: int, stop: int, whole: bool) -> Tensor:
    """The same elements of a parameter's statistic, or all of one that has a shape of its own."""
    if stored.shape != target.info.shape:
        return read_stored(stored).view(stored.shape)
    return read_stored(stored, start, stop).view(target.info.shape if whole else (stop - start,))
