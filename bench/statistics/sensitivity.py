"""Layer sensitivity (Sens-Merging): S_l = mean over examples of the sum over layer l of |theta * dL/dtheta|.

L is the negative log-likelihood of one example's answer (a language model's response and end token, the prompt
masked; a classifier's label), one example a backward pass. `product=tau` multiplies with the task vector instead
of the parameter. A layer is a group of the scope: a transformer block, or a module outside blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.alignment.align import Target
from bench.statistics.fisher import terms_of
from bench.statistics.points import Point, load_point, read_one, reader_of, runs
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject
from bench.statistics.text import together

if TYPE_CHECKING:
    from torch import Tensor

RUN = 1 << 18


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """One number per group."""
    import torch

    options = subject.options
    texts = reader_of(subject).read(together(subject.data), options, answered=True)
    point = load_point(subject)
    asked = point.wanted(subject)
    sums = {target.info.key(subject.need.scope or "tensor"): 0.0 for target in asked.values()}
    hooks = _listen(subject, point, asked, sums)
    generator = torch.Generator()
    try:
        for row in counted(texts.shown, len(texts.shown), subject.title, "example", say):
            ((likelihood, _),) = terms_of(point, [row], {**options, "estimator": "empirical"}, generator)
            likelihood.backward()  # |theta * g| has no sign: that of the loss does not matter
    finally:
        for hook in hooks:
            hook.remove()
    found = {key: torch.tensor(value / len(texts.shown)) for key, value in sums.items()}
    return Computed(found, counts=texts.counts)


def _listen(subject: Subject, point: Point, asked: Mapping[str, Target], sums: dict[str, float]) -> list[Any]:
    """A hook on every wanted parameter that adds to its group's sum and frees the gradient."""
    hooks = []
    for name, parameter in point.model.named_parameters():
        parameter.requires_grad_(name in asked)
        if (target := asked.get(name)) is not None:
            start = (
                _base_of(subject, point, target, parameter) if subject.options["product"] == "tau" else None
            )
            key = target.info.key(subject.need.scope or "tensor")
            hooks.append(parameter.register_post_accumulate_grad_hook(_add(sums, key, start)))
    return hooks


def _add(sums: dict[str, float], key: str, start: Tensor | None) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        import torch

        assert parameter.grad is not None
        gradient, values = parameter.grad.reshape(-1), parameter.detach().reshape(-1)
        parameter.grad = None
        for low in range(0, values.numel(), RUN):
            run = slice(low, low + RUN)
            part = values[run].float() if start is None else values[run].float() - start[run].float()
            sums[key] += float((part * gradient[run].float()).abs().sum(dtype=torch.float64))

    return hook


def _base_of(subject: Subject, point: Point, target: Target, parameter: Tensor) -> Tensor:
    """The base's values where the parameter has its own, flat, in its dtype; its own where the base has none."""
    own = parameter.detach().clone()
    rows = None if point.source is None else target.sources[point.source].rows
    width = own.numel() // max(1, own.shape[0])
    placed = [(0, 0, own.shape[0])] if rows is None else list(rows.runs)
    flat = own.view(-1)
    for first, there, count in placed:
        for start, stop in runs(count * width):
            found = read_one(subject.models, target, 0, first * width + start, first * width + stop)
            flat[there * width + start : there * width + stop] = found
    return flat
