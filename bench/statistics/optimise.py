"""Coefficients that minimise a method's objective (AdaMerging): the loop is here, the objective is the method's.

theta(Lambda)_l = theta0_l + sum_m Lambda_m,l tau_m,l for every merged tensor l (scope tensor: layer-wise, scope
model: one Lambda_m, task-wise). Each step draws a batch of every expert's unlabelled examples, runs the merged body
with that expert's own frozen head, and sums the objective over the experts; Adam moves Lambda, in float32. With
`clamp`, coefficients enter the merge clamped to [0, 1], as in the original code.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.alignment.align import Target
from bench.models.clip import is_tower
from bench.statistics.fisher import class_logits
from bench.statistics.images import ImageReader
from bench.statistics.points import Point, load, names_of, read_all, unmerged
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject
from bench.statistics.text import Reader, Shown

if TYPE_CHECKING:
    from torch import Tensor

Loss = Callable[[Mapping[str, "Tensor"]], "Tensor"]


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """[M] coefficients per group."""
    import torch

    options = subject.options
    objective = subject.need.objective
    assert objective is not None
    scope = subject.need.scope or "tensor"
    every = {**options, "examples": max(len(data.examples) for data in subject.data)}
    tasks = []
    for expert, data in zip(subject.experts, subject.data, strict=True):
        reader = ImageReader(subject.base) if is_tower(expert) else Reader(expert, classifier=True)
        texts = reader.read(data, every, answered=False)
        tasks.append(Task(_point(expert, subject), texts.shown, int(options["batch"]), int(options["seed"])))
    layers = [_layer(subject, target, scope) for target in subject.targets if _is_parameter(target)]
    keys = {layer.key for layer in layers if layer.deltas is not None}
    start = {key: torch.full((len(subject.experts),), float(options["initial"])) for key in sorted(keys)}

    def loss(coefficients: Mapping[str, Tensor]) -> Tensor:
        merged = {layer.name: layer.merged(coefficients) for layer in layers}
        return torch.stack([objective(task.logits(merged)) for task in tasks]).sum()

    steps = counted(range(int(options["steps"])), int(options["steps"]), subject.title, "step", say)
    found = minimise(loss, start, options, steps)
    return Computed(found, counts={"inputs": [len(task.rows) for task in tasks]})


def minimise(
    loss: Loss, start: Mapping[str, Tensor], options: Mapping[str, Any], steps: Iterator[int]
) -> dict[str, Tensor]:
    """Adam on `loss(coefficients)` from `start`, one update a step, no weight decay."""
    import torch

    raw = {key: value.clone().requires_grad_() for key, value in start.items()}
    betas = (float(options["beta1"]), float(options["beta2"]))
    adam = torch.optim.Adam(list(raw.values()), lr=float(options["learning_rate"]), betas=betas)

    def used() -> dict[str, Tensor]:
        return {key: value.clamp(0, 1) if options["clamp"] else value for key, value in raw.items()}

    for _ in steps:
        adam.zero_grad()
        loss(used()).backward()
        adam.step()
    return {key: value.detach() for key, value in used().items()}


@dataclass(frozen=True)
class Layer:
    """One tensor of the result: its value without task vectors, and the task vectors [M, *shape] if it is merged."""

    name: str
    key: str
    start: Tensor
    deltas: Tensor | None

    def merged(self, coefficients: Mapping[str, Tensor]) -> Tensor:
        """theta_0 + sum_m Lambda_m tau_m; what the result has anyway where the method does not decide."""
        import torch

        if self.deltas is None:
            return self.start
        return self.start + torch.tensordot(coefficients[self.key], self.deltas, dims=1)


def _is_parameter(target: Target) -> bool:
    from methods.common.contract import Role

    return target.info.role not in (Role.BUFFER, Role.TASK_HEAD)


def _layer(subject: Subject, target: Target, scope: Any) -> Layer:
    values = read_all(subject.models, target, 0, target.info.n).view(-1, *target.info.shape)
    info = target.info
    if target.action != "merge":
        return Layer(info.name, info.key(scope), unmerged(target.action, values), None)
    return Layer(info.name, info.key(scope), values[0], values[1:] - values[0])


def _point(expert: Any, subject: Subject) -> Point:
    """An expert's classifier in float32, everything frozen."""
    model = load(expert, "float32", subject)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return Point(model, names_of(model, subject.targets), True, None)


class Task:
    """One expert's inputs, in batches that never end, and its classifier with another body."""

    def __init__(self, point: Point, rows: Sequence[Shown], size: int, seed: int) -> None:
        self.point = point
        self.rows = rows
        self._batches = self._forever(size, random.Random(seed))

    def _forever(self, size: int, draw: random.Random) -> Iterator[list[Shown]]:
        """Batches of `size` (all inputs when there are fewer), shuffled anew each time round."""
        size = min(size, len(self.rows))
        while True:
            order = draw.sample(list(self.rows), len(self.rows))
            for start in range(0, len(order) - size + 1, size):
                yield order[start : start + size]

    def logits(self, merged: Mapping[str, Tensor]) -> Tensor:
        """[batch, classes] of the next batch, with the merged tensors (by the result's name) in the body."""
        prefix = f"{self.point.model.base_model_prefix}."
        weights = {
            name.removeprefix(prefix): merged[target.info.name]
            for name, target in self.point.targets.items()
            if target.info.name in merged
        }
        return class_logits(self.point, next(self._batches), weights)
