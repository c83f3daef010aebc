"""Squared gradients of single examples, summed as they appear: never the gradients of a whole model at once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

RUN = 1 << 18  # elements squared at a time: their float32 copy stays in a processor's cache
Term = tuple["Tensor", float]  # a scalar to differentiate, and the weight of its squared gradient


def squared_gradients(
    model: PreTrainedModel, wanted: Iterable[str], examples: Iterable[Iterable[Term]], count: int
) -> dict[str, Tensor]:
    """Sum over the terms of all examples of weight * gradient^2 / count, float32, by parameter name.

    Each term is one backward pass; several of one example share a graph. Squares are taken in a hook on each
    parameter, which frees the gradient at once. A tied parameter's gradient is complete (both uses summed) before
    the hook sees it.
    """
    import torch

    totals: dict[str, Tensor] = {}
    weight = [1.0]
    hooks = []
    names = set(wanted)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
        if name in names:
            totals[name] = torch.zeros(parameter.shape, dtype=torch.float32)
            hooks.append(parameter.register_post_accumulate_grad_hook(_hook(totals[name], weight)))
    try:
        for terms in examples:
            several = list(terms)
            for k, (value, share) in enumerate(several, 1):
                weight[0] = share / count
                value.backward(retain_graph=k < len(several))
    finally:
        for hook in hooks:
            hook.remove()
    return totals


def _hook(total: Tensor, weight: list[float]):  # type: ignore[no-untyped-def]
    flat = total.view(-1)

    def hook(parameter: Tensor) -> None:
        assert parameter.grad is not None
        gradient = parameter.grad.reshape(-1)
        parameter.grad = None
        for start in range(0, flat.numel(), RUN):
            part = gradient[start : start + RUN].float()
            flat[start : start + RUN].addcmul_(part, part, value=weight[0])

    return hook
