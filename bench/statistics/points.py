"""Models at the weights where a statistic is taken: as stored, or overwritten in place by virtual weights.

Virtual weights are never written to disk: the expert is loaded (with its own head), and its parameters are
replaced tensor by tensor by what base and experts give for the same elements, read piece by piece.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.alignment.align import Target
from bench.alignment.reading import fill
from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from bench.models.clip import is_tower
from bench.models.loading import load_body, load_model, reader_folder, with_head
from bench.statistics.images import ImageReader, load_classifier
from bench.statistics.subject import Subject, is_classifier
from bench.statistics.text import Reader
from methods.common.contract import Role, expert_of
from methods.common.election import sign_of_zero

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

RUN = 1 << 20  # elements read at a time
OF_GRADIENTS = ("fisher_random_tokens", "fisher_data", "sensitivity_data")


@dataclass
class Point:
    """A loaded model. `targets` maps the name of each of its parameters to the result's tensor that it is.

    `source` is the model's place in the targets' sources: its rows are those of that file, or the result's own
    (None) when its weights were replaced.
    """

    model: PreTrainedModel
    targets: dict[str, Target]
    classifier: bool
    source: int | None

    def wanted(self, subject: Subject) -> dict[str, Target]:
        """Parameters that the subject's need asks for, by their name in the loaded model."""
        asked = {target.info.name for target in subject.wanted}
        found = {name: target for name, target in self.targets.items() if target.info.name in asked}
        if missing := sorted(asked - {target.info.name for target in found.values()}):
            raise BadInput(
                f"the loaded model has no parameter {missing[0]!r} ({len(missing)} missing): "
                "its names differ from the checkpoint's"
            )
        return found

    def in_result(self, values: Tensor, target: Target) -> Tensor:
        """Values of a parameter in the result's rows: rows that the model lacks are 0."""
        if self.source is None or (rows := target.sources[self.source].rows) is None:
            return values
        placed = values.new_zeros(target.info.shape)
        for first, there, count in rows.runs:
            placed[first : first + count] = values[there : there + count]
        return placed


def load_point(subject: Subject) -> Point:
    """The subject's model at its need's weights, in evaluation mode, in the dtype asked for."""
    dtype = str(subject.options["dtype"]) if "dtype" in subject.options else "float32"
    model = load(subject.model, dtype, subject)
    if str(model.dtype) == "torch.float16" and subject.need.kind in OF_GRADIENTS:
        raise BadInput(
            f"{subject.model.name} is float16, whose gradients underflow: take float32 or bfloat16 for the pass "
            "(fisher_dtype=float32, or data_dtype=float32 where the method calls it so)"
        )
    point = Point(model, {}, is_classifier(subject.model), None if subject.moved else subject.source)
    if not is_tower(subject.model) and (
        subject.moved or {Role.EMBED, Role.LM_HEAD} & set(subject.need.roles)
    ):
        untie(model, subject.targets)
    point.targets = names_of(model, subject.targets)
    if subject.moved:
        overwrite(point, virtual_weights(subject))
    return point


def load(model: Checkpoint, dtype: str, subject: Subject | None = None) -> Any:
    """A language model, or a classifier with its own head, in evaluation mode; a vision tower's head is made of the
    classes that the subject's data name."""
    import torch

    asked = "auto" if dtype == "checkpoint" else getattr(torch, dtype)
    if subject is not None and is_tower(model):
        return load_classifier(model, subject.base, subject.data_of(model), asked)
    if is_classifier(model):
        return with_head(load_body(model.path, asked), model.path)
    return load_model(model.path, asked)


def reader_of(subject: Subject) -> Reader | ImageReader:
    """The tokenizer of the model that is loaded, or the base's where its rows are the base's; images have neither."""
    if is_tower(subject.model):
        return ImageReader(subject.base)
    own = subject.model
    embeddings = [t for t in subject.targets if t.info.role is Role.EMBED]
    if subject.moved and any(t.sources[subject.source].rows is not None for t in embeddings):
        own = subject.base
    if reader_folder(own.path, subject.base.path) != own.path:
        own = subject.base
    return Reader(
        own, classifier=is_classifier(subject.model), chat=str(subject.options.get("chat_template", "never"))
    )


def names_of(model: PreTrainedModel, targets: tuple[Target, ...]) -> dict[str, Target]:
    """Parameter name in the loaded model to the result's tensor; a bare body's names lack the prefix."""
    prefix = f"{model.base_model_prefix}."
    known = {target.info.name.removeprefix(prefix): target for target in targets}
    found = {name: known.get(name.removeprefix(prefix)) for name, _ in model.named_parameters()}
    return {name: target for name, target in found.items() if target is not None}


def untie(model: PreTrainedModel, targets: tuple[Target, ...]) -> None:
    """Give a tied model a head of its own where the result has one."""
    import torch

    head, embedding = model.get_output_embeddings(), model.get_input_embeddings()
    if not any(target.info.role is Role.LM_HEAD for target in targets) or head is None:
        return
    if head.weight is embedding.weight:
        head.weight = torch.nn.Parameter(embedding.weight.detach().clone())
        model.config.tie_word_embeddings = False


Weights = Callable[[Target, int, int], "Tensor"]


def overwrite(point: Point, weights: Weights) -> None:
    """Replace every parameter that the result has by `weights(target, start, stop)` (flat float32 runs)."""
    import torch

    for name, parameter in point.model.named_parameters():
        target = point.targets.get(name)
        if target is None or target.info.role is Role.TASK_HEAD:
            continue
        if tuple(parameter.shape) != target.info.shape:
            parameter.data = torch.empty(target.info.shape, dtype=parameter.dtype)
        flat = parameter.data.view(-1)
        for start, stop in runs(target.info.n):
            flat[start:stop] = weights(target, start, stop)


def runs(n: int) -> Iterator[tuple[int, int]]:
    """[start, stop) of runs of at most RUN elements."""
    for start in range(0, n, RUN):
        yield start, min(n, start + RUN)


def read_one(models: tuple[Checkpoint, ...], target: Target, m: int, start: int, stop: int) -> Tensor:
    """A run of one of the models: [stop - start] float32."""
    import torch

    values = torch.empty(stop - start)
    fill(values, models, target, m, start, stop)
    return values


def read_all(models: tuple[Checkpoint, ...], target: Target, start: int, stop: int) -> Tensor:
    """A run of base and experts: [1 + M, stop - start] float32."""
    import torch

    return torch.stack([read_one(models, target, m, start, stop) for m in range(len(models))])


def unmerged(action: str, values: Tensor) -> Tensor:
    """What the result has of a tensor that the method does not decide."""
    if (expert := expert_of(action)) is not None:
        return values[expert + 1]
    return values[1:].mean(0) if action == "mean" else values[0]


def virtual_weights(subject: Subject) -> Weights:
    """The base's weights, or an expert's sign-aligned ones, as a function of tensor and run."""
    models = subject.models
    if subject.need.of == "base":
        return lambda target, start, stop: read_one(models, target, 0, start, stop)
    assert subject.expert is not None
    expert, zero = subject.expert, _zero_sign(subject)

    def weights(target: Target, start: int, stop: int) -> Tensor:
        values = read_all(models, target, start, stop)
        if target.action != "merge":
            return unmerged(target.action, values)
        return aligned(values, expert, zero)

    return weights


def aligned(values: Tensor, expert: int, zero_sign: float) -> Tensor:
    """theta_0 + tau_m where sign(tau_m) is the sign of sum_j tau_j, else theta_0 (DRIFT-MEDIAN, step A).

    `values` [1 + M, n] holds base and experts; a sum of exactly 0 has the sign `zero_sign`.
    """
    import torch

    deltas = values[1:] - values[0]
    sign = _summed(deltas).sign()
    sign = torch.where(sign == 0, zero_sign, sign)
    kept = (deltas[expert].sign() == sign) & (deltas[expert] != 0)
    return torch.where(kept, values[expert + 1], values[0])


def _summed(deltas: Tensor) -> Tensor:
    """Sum in float64, as the sign election of the merge has it: the order of the experts does not decide."""
    total = deltas[0].double()
    for delta in deltas[1:]:
        total += delta
    return total


def _zero_sign(subject: Subject) -> float:
    """The sign of a sum that is exactly 0: none, positive, or that of the majority of the elected signs."""
    import torch

    rule = subject.options["zero_sign"]
    total = 0
    for target in subject.targets:
        if rule != "majority" or target.action != "merge":
            continue
        for start, stop in runs(target.info.n):
            values = read_all(subject.models, target, start, stop)
            total += int(_summed(values[1:] - values[0]).sign().sum(dtype=torch.float64))
    return sign_of_zero(rule, total)


def module_of(point: Point, name: str) -> Any:
    """The module that owns a parameter of the loaded model."""
    return point.model.get_submodule(name.rsplit(".", 1)[0])
