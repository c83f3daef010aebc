"""Fisher averaging and DRIFT-MEDIAN once more, coordinate by coordinate in plain Python and NumPy.

Written from their definitions; nothing is shared with `methods/`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.methods.oracle import Array, Model, kept, task_vectors

DRIFT_DEFAULTS: dict[str, Any] = {
    "sign": True,
    "select": "keep",
    "keep": 0.6,
    "top_k": 3,
    "aggregate": "median",
    "zeros": "literal",
    "zero_sign": "zero",
    "threshold_over": "all",
    "strict_threshold": False,
    "median_rule": "midpoint",
    "zero_weight": "plain_median",
    "order": "sign_then_select",
    "normalize_fisher": "none",
    "normalize_scope": "model",
    "lam": 1.45,
}


def normalised(fishers: Sequence[Model], how: str, scope: str) -> list[dict[str, Array]]:
    """Every expert's Fisher over its L2 norm or mean, per tensor or over the model; all-zero ones as they are."""
    found = []
    for fisher in fishers:
        wide = {name: values.astype(np.float64) for name, values in fisher.items()}
        whole = np.concatenate([values.ravel() for values in wide.values()])
        sized = {}
        for name, values in wide.items():
            seen = whole if scope == "model" else values.ravel()
            size = {"none": 1.0, "l2": math.sqrt(float((seen**2).sum())), "mean": float(seen.mean())}[how]
            sized[name] = values / (size or 1.0)
        found.append(sized)
    return found


def fisher_average(
    experts: Sequence[Model],
    fishers: Sequence[Model],
    weights: Sequence[float],
    *,
    floor: float = 1e-10,
    floor_rule: str = "relative",
    normalize_fisher: str = "none",
    normalize_scope: str = "model",
) -> dict[str, Array]:
    """sum c (F + eps) theta / sum c (F + eps); plain weighted mean where every weight is 0."""
    sized = normalised(fishers, normalize_fisher, normalize_scope)
    if floor_rule == "relative":
        every = np.concatenate([values.ravel() for fisher in sized for values in fisher.values()])
        floor = floor * float(every.mean())
    merged = {}
    for name in experts[0]:
        shares = [
            c * (np.maximum(f[name], floor) if floor_rule == "max" else f[name] + floor)
            for c, f in zip(weights, sized, strict=True)
        ]
        mass = np.sum(shares, axis=0)
        shares = [np.where(mass > 0, s, c) for s, c in zip(shares, weights, strict=True)]
        values = [e[name].astype(np.float64) for e in experts]
        merged[name] = np.sum([s * v for s, v in zip(shares, values, strict=True)], axis=0) / np.sum(
            shares, axis=0
        )
    return merged


def weighted_median(values: Sequence[float], weights: Sequence[float], rule: str = "midpoint") -> float:
    """The point of [lo, hi] that the rule names; plain median when all weights are 0."""
    if not any(weights):
        weights = [1.0] * len(values)
    order = sorted(range(len(values)), key=lambda j: values[j])
    reached = np.cumsum([weights[j] for j in order])
    low = next(values[j] for j, c in zip(order, reached, strict=True) if 2 * c >= reached[-1])
    high = next(values[j] for j, c in zip(order, reached, strict=True) if 2 * c > reached[-1])
    nearest = min((low, high, 0.0 if low <= 0 <= high else low), key=abs)
    return {"midpoint": (low + high) / 2, "lower": low, "upper": high, "min_magnitude": nearest}[rule]


def retained(taus: Sequence[float], o: Mapping[str, Any]) -> list[int]:
    """Step C: which experts a coordinate keeps, pruned zeros as `zeros` says (not yet `exclude`)."""
    sizes, experts = [abs(t) for t in taus], range(len(taus))
    if o["select"] in ("all", "intra_topk"):
        return list(experts)
    if o["select"] in ("keep", "top_k"):
        k = o["top_k"] if o["select"] == "top_k" else max(1, math.floor(o["keep"] * len(taus) + 1e-9))
        ranked = sorted(experts, key=lambda m: (-sizes[m], m))[:k]
        return ranked if o["zeros"] == "strict" else [m for m in experts if sizes[m] >= sizes[ranked[-1]]]
    pool = [s for s in sizes if s > 0] if o["threshold_over"] == "survivors" else sizes
    pool = pool or [0.0]
    cut = float(np.mean(pool) if o["select"] == "above_mean" else np.median(pool))
    return [m for m in experts if sizes[m] > cut or (sizes[m] == cut and not o["strict_threshold"])]


def elect(taus: Sequence[float], among: Sequence[int]) -> float:
    """Step A: the sign of the sum, which is exact here."""
    return float(np.sign(math.fsum(taus[m] for m in among)))


def drift_coordinate(
    taus: Sequence[float], fisher: Sequence[float], fill: float, o: Mapping[str, Any]
) -> float:
    """Steps A, C and D at one coordinate; `fill` is the sign of a sum of 0."""
    everyone = list(range(len(taus)))
    first = o["order"] == "select_then_sign"
    among = retained(taus, o) if first else everyone
    if o["sign"]:
        sign = elect(taus, among) or fill
        taus = [t if t * sign > 0 else 0.0 for t in taus]
    if not first:
        among = retained(taus, o)
    if o["zeros"] == "exclude":
        among = [m for m in among if taus[m] != 0]
    weights = [fisher[m] for m in among]
    if not among or (not any(weights) and o["zero_weight"] == "base"):
        return 0.0
    values = [taus[m] for m in among]
    if o["aggregate"] == "fisher_mean":
        return float(np.average(values, weights=weights if any(weights) else None))
    return weighted_median(values, weights, o["median_rule"])


def drift_median(
    base: Model, experts: Sequence[Model], fishers: Sequence[Model] | None, **options: Any
) -> dict[str, Array]:
    """DRIFT-MEDIAN; without Fishers all weights are equal."""
    o = {**DRIFT_DEFAULTS, **options}
    deltas = task_vectors(base, experts)
    ones = [{name: np.ones(base[name].shape) for name in base} for _ in experts]
    sized = normalised(fishers or ones, o["normalize_fisher"], o["normalize_scope"])
    names = list(base)
    if o["select"] == "intra_topk":
        deltas = [_trim(delta, o["keep"], names) for delta in deltas]
    rows = np.stack([np.concatenate([d[n].ravel() for n in names]) for d in deltas], axis=1).astype(
        np.float64
    )
    mass = np.stack([np.concatenate([f[n].ravel() for n in names]) for f in sized], axis=1)
    fill = {"zero": 0.0, "positive": 1.0, "majority": 0.0}[o["zero_sign"]]
    if o["zero_sign"] == "majority":
        first = o["order"] == "select_then_sign"
        signs = [elect(row, retained(row, o) if first else range(len(row))) for row in rows.tolist()]
        fill = float(np.sign(sum(signs)))
    moved = [drift_coordinate(t, f, fill, o) for t, f in zip(rows.tolist(), mass.tolist(), strict=True)]
    ends = np.cumsum([base[n].size for n in names])[:-1]
    parts = np.split(np.array(moved), ends)
    return {n: base[n] + o["lam"] * p.reshape(base[n].shape) for n, p in zip(names, parts, strict=True)}


def _trim(delta: Model, keep: float, names: Sequence[str]) -> dict[str, Array]:
    flat = np.concatenate([delta[n].ravel() for n in names])
    parts = np.split(flat * kept(np.abs(flat), keep, "exact"), np.cumsum([delta[n].size for n in names])[:-1])
    return {n: p.reshape(delta[n].shape) for n, p in zip(names, parts, strict=True)}
