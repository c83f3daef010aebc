"""PCB-Merging once more in plain NumPy: whole vectors, sorted, in float64."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def norm01(x: Array) -> Array:
    """Min-max scaling of each row to [0, 1]; 0 where a row is constant."""
    low, high = x.min(-1, keepdims=True), x.max(-1, keepdims=True)
    return np.divide(x - low, high - low, out=np.zeros_like(x), where=high > low)


def clampq(x: Array, below: float, above: float) -> Array:
    """Rows clipped to their sorted values at int(n below) and int(n (1 - above) - 1)."""
    n = x.shape[-1]
    rows = np.sort(x, axis=-1)
    return np.minimum(np.maximum(x, rows[:, [int(n * below)]]), rows[:, [int(n * (1 - above) - 1)]])


def softmax(x: Array) -> Array:
    """Over the last axis."""
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def pcb(tau: Array, *, variant: str, keep: float, clip: float, lam: Sequence[float]) -> Array:
    """The merged delta [n] of task vectors [M, n]; `lam` is one factor per expert."""
    tau = tau.astype(np.float64)
    experts, n = tau.shape
    scales = np.asarray(lam)[:, None]
    if variant == "paper":
        intra = softmax(experts * norm01(tau**2))
        inter = np.stack([sum(softmax(norm01((own * other)[None]))[0] for other in tau) for own in tau])
        b = intra * inter
        score = b * (b >= np.sort(b, axis=-1)[:, [int(n * (1 - keep))]])
        mass = score.sum(0)
        return np.divide((scales * tau * score).sum(0), mass, out=np.zeros(n), where=mass > 0)
    size = clampq(np.abs(tau), clip, clip)
    signed = np.sign(tau) * norm01(size)
    inter = {
        "main": np.tanh(tau * tau.sum(0)),
        "vision": np.tanh(tau * signed.sum(0)),
        "paired": np.stack([np.tanh(own * signed).sum(0) for own in signed]),
    }[variant]
    score = norm01(clampq(np.exp(experts * norm01(size) ** 2) * inter, 1 - keep, 0))
    return (scales * np.sign(tau) * size * score).sum(0) / np.maximum(score.sum(0), 1e-12)


def pcb_model(
    base: Mapping[str, Array], experts: Sequence[Mapping[str, Array]], **options: Any
) -> dict[str, Array]:
    """PCB on a model: all tensors as one vector."""
    tau = np.stack([np.concatenate([(e[name] - base[name]).ravel() for name in base]) for e in experts])
    ends = np.cumsum([base[name].size for name in base])[:-1]
    parts = np.split(pcb(tau, **options), ends)
    return {name: base[name] + part.reshape(base[name].shape) for name, part in zip(base, parts, strict=True)}
