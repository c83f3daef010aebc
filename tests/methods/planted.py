"""Random statistics for whatever a method needs, one set per expert: they move with the experts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from bench.recipe import build_method
from methods.common.contract import Need
from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods.oracle import is_matrix

BLOCKS = ("block 0", "block 1")
GROUPS = (*BLOCKS, "model.embed_tokens", "model.norm", "lm_head")


def statistics(method: str, settings: dict[str, Any], order: Sequence[int], **config: Any) -> dict[str, Any]:
    """What `method` needs for the experts `order` on models of the tiny Qwen2 shape, changed by `config`, as the
    harness plants it."""
    needs = build_method(method, {key.rstrip("_"): value for key, value in settings.items()}).needs()
    return {need.name: _planted(need, order, config) for need in needs}


def _planted(need: Need, order: Sequence[int], config: dict[str, Any]) -> Any:
    if need.kind == "distance_data":
        table = _numbers(77, 9, 9)
        table = table + table.T - 2 * np.diag(np.diag(table))
        return [{"model": torch.from_numpy(table[m][list(order)])} for m in order]
    if need.kind == "optimised":
        shapes = {"model": ()} if need.scope == "model" else qwen2_tensors(0, **config)
        return {name: torch.from_numpy(_numbers(len(name), 9)[list(order)]) for name in shapes}
    if need.per_expert:
        return [_of_subject(need, 100 + m, config) for m in order]
    return _of_subject(need, 100, config)


def _of_subject(need: Need, seed: int, config: dict[str, Any]) -> Tensors:
    wild = qwen2_tensors(seed, **config)
    if need.kind == "fisher_random_tokens":
        return {name: t.square() for name, t in wild.items() if is_matrix(name)}
    if need.kind == "fisher_data":
        return {name: t.square() for name, t in wild.items()}
    if need.kind == "gram_data":
        return {name: t.T @ t + torch.eye(t.shape[1]) for name, t in wild.items() if is_matrix(name)}
    if need.kind == "channels_data":
        return {name: t.reshape(-1, t.shape[-1])[0].abs() for name, t in wild.items()}
    assert need.kind in ("information_data", "sensitivity_data"), f"nothing to plant for {need.kind}"
    return {key: torch.tensor(float(x)) for key, x in zip(GROUPS, _numbers(seed, len(GROUPS)), strict=True)}


def _numbers(seed: int, *shape: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).uniform(0.1, 1, shape).astype(np.float32)
