"""Coefficients of ACM and Sens-Merging once more in plain NumPy, from their formulas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.methods.oracle import block_of, module_of

Array = NDArray[Any]


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x)."""
    return 1 / (1 + np.exp(-x))


def acm(information: Sequence[float], *, theta: float, form: str) -> Array:
    """One coefficient per layer."""
    values = np.asarray(information, np.float64)
    relative = values / values.max() if values.max() > 0 else values
    return {
        "mirror": 1 - sigmoid(theta * (relative - 1)),
        "plain": 1 - sigmoid(theta * relative),
        "linear": 1 - theta * relative,
    }[form]


def layer_key(name: str) -> str:
    """`block 3` inside blocks, the module's name outside."""
    block = block_of(name)
    return module_of(name) if block is None else f"block {block.split('.')[1]}"


def acm_alpha(name: str, alphas: Mapping[str, float]) -> float:
    """A tensor's coefficient: its block's, the head's own, the mean of the blocks elsewhere."""
    blocks = [alpha for layer, alpha in alphas.items() if layer.startswith("block")]
    return float(alphas.get(layer_key(name), np.mean(blocks)))


def sens(
    sensitivity: Array,
    distance: Array,
    *,
    lam: float,
    temperature: float,
    alignment: str = "distance",
    t_norm: str = "l1",
) -> Array:
    """Coefficients [experts, layers] from sensitivities [experts, layers] and distances [experts, experts]."""
    a = sensitivity / np.sqrt((sensitivity**2).sum(1, keepdims=True))
    t = distance.sum(1)
    if alignment == "similarity":
        t = np.array([np.mean(np.delete(t, m)) for m in range(len(t))])
    t = t / (t.sum() if t_norm == "l1" else np.sqrt((t**2).sum()))
    e = np.exp(a * t[:, None] / temperature)
    return lam * len(t) * e / e.sum(0)
