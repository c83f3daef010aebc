"""Localize-and-Stitch, SCE, SLERP and Model Stock once more, in plain NumPy on whole tensors.

Written from their definitions; nothing is shared with `methods/`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from tests.methods.oracle import Array, Model, groups_of, kept, task_vectors


def localize_and_stitch(
    base: Model,
    experts: Sequence[Model],
    *,
    keep: float = 0.1,
    scope: str = "model",
    trim_rule: str = "exact",
    overlap: str = "mean",
) -> dict[str, Array]:
    """theta0 + sum_m mask_m tau_m / n, or with MergeBench's weights."""
    deltas = task_vectors(base, experts)
    merged = {}
    for names in groups_of(list(base), scope):
        flat = [np.concatenate([d[name].ravel() for name in names]).astype(np.float64) for d in deltas]
        masks = [kept(np.abs(f).astype(np.float32), keep, trim_rule) for f in flat]
        found = np.zeros(flat[0].size)
        for m in range(len(flat)):
            for i in np.flatnonzero(masks[m]):
                if overlap == "mean":
                    share = 1 / sum(mask[i] for mask in masks)
                else:
                    others = [j for j in range(len(flat)) if j != m]
                    share = 1 / (1 + bool(others and masks[others[-1]][i]))
                found[i] += share * flat[m][i]
        parts = np.split(found, np.cumsum([base[name].size for name in names])[:-1])
        for name, part in zip(names, parts, strict=True):
            merged[name] = base[name] + part.reshape(base[name].shape)
    return merged


def sce_tensor(taus: Array, keep: float) -> Array:
    """The merged task vector of one tensor from its experts' [M, n]."""
    if keep < 1:
        variance = taus.std(axis=0).astype(np.float32)  # ranks as the variance does
        count = math.floor(keep * int((variance != 0).sum()) + 1e-9)
        chosen = sorted(range(taus.shape[1]), key=lambda i: (-variance[i], i))[:count]
        mask = np.zeros(taus.shape[1])
        mask[chosen] = 1
        taus = taus * mask
    energy = (taus**2).mean(axis=1)
    share = energy / energy.sum() if energy.sum() > 0 else np.full(len(taus), 1 / len(taus))
    sign = np.where(taus.sum(axis=0) >= 0, 1.0, -1.0)
    agrees = np.sign(taus) == sign
    mass = (share[:, None] * agrees).sum(axis=0)
    whole = (share[:, None] * agrees * taus).sum(axis=0)
    return np.divide(whole, mass, out=np.zeros_like(whole), where=mass > 0)


def sce(base: Model, experts: Sequence[Model], *, keep: float = 1.0) -> dict[str, Array]:
    """SCE on every tensor."""
    deltas = task_vectors(base, experts)
    return {
        name: base[name]
        + sce_tensor(np.stack([d[name].ravel().astype(np.float64) for d in deltas]), keep).reshape(
            values.shape
        )
        for name, values in base.items()
    }


def slerp_vector(a: Array, b: Array, t: float, threshold: float = 0.9995) -> Array:
    """Spherical interpolation of two vectors, linear where they are nearly parallel or opposite."""
    a, b = a.astype(np.float64), b.astype(np.float64)
    left, right = (v / np.linalg.norm(v) if np.linalg.norm(v) > 1e-8 else v for v in (a, b))
    cosine = float(left @ right)
    if abs(cosine) > threshold:
        return np.asarray((1 - t) * a + t * b)
    angle = np.arccos(cosine)
    return np.asarray((np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle))


def slerp(
    first: Model,
    second: Model,
    *,
    position: float = 0.5,
    granularity: str = "tensor",
    threshold: float = 0.9995,
) -> dict[str, Array]:
    """SLERP of two models, per tensor or per row of a matrix."""
    merged = {}
    for name, a in first.items():
        wide = a.ndim > 1 and granularity == "row"
        rows = zip(a, second[name], strict=True) if wide else [(a.ravel(), second[name].ravel())]
        found = [slerp_vector(x.ravel(), y.ravel(), position, threshold) for x, y in rows]
        merged[name] = np.concatenate(found).reshape(a.shape)
    return merged


def stock_ratio(taus: Sequence[Array], average: str, clamp: bool) -> float:
    """t from the task vectors of one tensor or row."""
    cosines = []
    for a, b in itertools.combinations(taus, 2):
        size = np.linalg.norm(a) * np.linalg.norm(b)
        cosines.append(float(np.clip(a @ b / size, -1, 1)) if size > 0 else 0.0)
    cosine = float(np.cos(np.arccos(cosines).mean())) if average == "angle" else float(np.mean(cosines))
    cosine = min(1.0, max(0.0, cosine)) if clamp else cosine
    return len(taus) * cosine / (1 + (len(taus) - 1) * cosine)


def model_stock(
    base: Model,
    experts: Sequence[Model],
    *,
    granularity: str = "tensor",
    average: str = "cosine",
    clamp: bool = True,
) -> dict[str, Array]:
    """t mean(theta) + (1 - t) theta0."""
    merged = {}
    for name, start in base.items():
        wide = start.ndim > 1 and granularity == "row"
        origin = start.astype(np.float64).reshape(len(start) if wide else 1, -1)
        rows = [e[name].astype(np.float64).reshape(origin.shape) for e in experts]
        found = []
        for i, row in enumerate(origin):
            ratio = stock_ratio([r[i] - row for r in rows], average, clamp)
            found.append(ratio * np.mean([r[i] for r in rows], axis=0) + (1 - ratio) * row)
        merged[name] = np.stack(found).reshape(start.shape)
    return merged
