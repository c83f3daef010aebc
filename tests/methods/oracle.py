"""The methods once more, in plain NumPy, written from their definitions: what the program is compared with.

Models are dicts of float32 arrays by Hugging Face name, in file order. Whole-vector work is done on
concatenated vectors with a sort; nothing here streams, and nothing is shared with `methods/`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Model = Mapping[str, Array]
Probes = Callable[[str], Array]

DEAD_ALPHA = 1 - 1 / (1 + math.e)
FIM_DEFAULTS: dict[str, Any] = {
    "granularity": "block",
    "pooling": "elements",
    "reduction": "mean",
    "signal": "fim_x_delta",
    "shift": "max",
    "sharpness": "adaptive",
    "expert_alpha": "shared",
    "outside": "base",
    "biases": "alpha",
    "keep": 0.2,
    "gate": 0.7,
    "scope": "tensor",
    "trim_rule": "exact",
    "zero_weight": "by_delta",
    "calibration": "module",
    "tolerance": 0.05,
    "norm_statistic": "l2",
}


def is_matrix(name: str) -> bool:
    """A matrix inside a transformer block."""
    return name.endswith("_proj.weight")


def is_bias(name: str) -> bool:
    """A bias inside a transformer block."""
    return name.endswith("_proj.bias")


def block_of(name: str) -> str | None:
    """`layers.3` for a tensor of block 3, None outside blocks."""
    found = re.search(r"layers\.\d+", name)
    return found.group() if found else None


def module_of(name: str) -> str:
    """The module that owns a tensor."""
    return name[: name.rindex(".")]


def group_of(name: str, scope: str) -> str:
    """The group in which a tensor's elements are counted."""
    if scope == "tensor":
        return name
    return "model" if scope == "model" else block_of(name) or module_of(name)


def groups_of(names: Sequence[str], scope: str) -> list[list[str]]:
    """Names by group, in file order."""
    found: dict[str, list[str]] = {}
    for name in names:
        found.setdefault(group_of(name, scope), []).append(name)
    return list(found.values())


def task_vectors(base: Model, experts: Sequence[Model]) -> list[dict[str, Array]]:
    """theta_m - theta0 in float32."""
    return [{name: expert[name].astype(np.float32) - base[name] for name in base} for expert in experts]


def task_arithmetic(
    base: Model, experts: Sequence[Model], weights: Sequence[float], *, lam: float, normalize: bool = False
) -> dict[str, Array]:
    """theta0 + lambda * sum_m w_m tau_m."""
    scale = lam / sum(weights) if normalize else lam
    deltas = task_vectors(base, experts)
    return {
        name: base[name]
        + scale * sum(w * d[name].astype(np.float64) for w, d in zip(weights, deltas, strict=True))
        for name in base
    }


def kept(scores: Array, keep: float, rule: str, second: Array | None = None) -> NDArray[np.bool_]:
    """Which entries of a flat, non-negative score vector survive."""
    n = scores.size
    mask = np.zeros(n, dtype=bool)
    if rule == "exact":
        second = np.zeros(n) if second is None else second
        order = np.lexsort((np.arange(n), -second.astype(np.float64), -scores.astype(np.float64)))
        mask[order[: max(1, math.floor(keep * n + 1e-9))]] = True
        return mask
    if rule == "kth_inclusive":
        smallest = n - math.floor(keep * n)
        return scores >= np.sort(scores)[smallest - 1] if smallest else ~mask
    return scores >= np.float32(np.quantile(scores.astype(np.float64), 1 - keep))


def elected_sum(trimmed: Sequence[Array], weights: Sequence[float]) -> Array:
    """sum_m w_m tau_m, added up in float32 in the order of the experts."""
    total: Array = np.zeros_like(trimmed[0], dtype=np.float32)
    for delta, weight in zip(trimmed, weights, strict=True):
        total = total + np.float32(weight) * delta
    return total


def ties_vector(
    deltas: Sequence[Array],
    weights: Sequence[float],
    *,
    keep: float,
    aggregate: str,
    rule: str,
    zero_sign: str,
) -> Array:
    """TIES on one flat vector: trim, elect, merge."""
    trimmed = [d * kept(np.abs(d), keep, rule) for d in deltas]
    sign = np.sign(elected_sum(trimmed, weights))
    fill = {"zero": 0.0, "positive": 1.0, "majority": float(np.sign(sign.sum(dtype=np.float64)))}[zero_sign]
    return disjoint(trimmed, weights, np.where(sign == 0, fill, sign), aggregate)


def disjoint(values: Sequence[Array], weights: Sequence[float], sign: Array, aggregate: str) -> Array:
    """Weighted mean or sum of the non-zero values whose sign is `sign`."""
    total = np.zeros(sign.shape, dtype=np.float64)
    mass = np.zeros(sign.shape, dtype=np.float64)
    for value, weight in zip(values, weights, strict=True):
        agrees = (np.sign(value) == sign) & (value != 0)
        total[agrees] += weight * value[agrees].astype(np.float64)
        mass[agrees] += weight
    return total if aggregate == "sum" else np.divide(total, mass, out=np.zeros_like(total), where=mass > 0)


def ties(
    base: Model,
    experts: Sequence[Model],
    weights: Sequence[float],
    *,
    keep: float = 0.2,
    aggregate: str = "mean",
    lam: float = 1.0,
    scope: str = "model",
    rule: str = "exact",
    zero_sign: str = "majority",
) -> dict[str, Array]:
    """TIES on a model; within a group all tensors are one flat vector."""
    deltas = task_vectors(base, experts)
    merged = {}
    for names in groups_of(list(base), scope):
        flat = [np.concatenate([d[name].ravel() for name in names]) for d in deltas]
        found = ties_vector(flat, weights, keep=keep, aggregate=aggregate, rule=rule, zero_sign=zero_sign)
        ends = np.cumsum([base[name].size for name in names])[:-1]
        for name, part in zip(names, np.split(found, ends), strict=True):
            merged[name] = base[name] + lam * part.reshape(base[name].shape)
    return {name: merged[name] for name in base}


def alphas_of(
    scores: Sequence[float], *, shift: str = "max", sharpness: float | str = "adaptive"
) -> list[float]:
    """1 - sigmoid(theta_s (s - median - shift)) over the living layers; minus infinity marks a dead one."""
    alive = np.array([s for s in scores if s > -math.inf])
    if alive.size == 0:
        return [DEAD_ALPHA] * len(scores)
    centred = alive - np.median(alive)
    spread = centred.max() - centred.min()
    theta = (1 / spread if spread else 0.0) if sharpness == "adaptive" else float(sharpness)
    found = iter(1 - 1 / (1 + np.exp(-theta * (centred - (centred.max() if shift == "max" else 0.0)))))
    return [float(next(found)) if s > -math.inf else DEAD_ALPHA for s in scores]


def pooled(values: Mapping[str, Array], names: Sequence[str], *, pooling: str, reduction: str) -> float:
    """One number for a layer's matrices."""
    sums = [values[name].sum(dtype=np.float64) for name in names]
    sizes = [values[name].size for name in names]
    if pooling == "modules":
        return float(np.mean([s if reduction == "sum" else s / n for s, n in zip(sums, sizes, strict=True)]))
    return float(sum(sums)) if reduction == "sum" else float(sum(sums) / sum(sizes))


def layer_score(fisher: float, square: float, signal: str) -> float:
    """log of the signal, floored at 1e-30; minus infinity for a dead layer."""
    factors = {"fim_x_delta": (fisher, square), "fim": (fisher,), "delta": (square,)}[signal]
    return -math.inf if 0.0 in factors else math.log(max(math.prod(factors), 1e-30))


@dataclass(frozen=True)
class Coefficients:
    """Alpha by layer and expert; `layer` names the layer of a tensor."""

    by_layer: Mapping[str, tuple[float, ...]]
    granularity: str

    def of(self, name: str) -> tuple[float, ...]:
        """One alpha per expert for a tensor inside a block."""
        return self.by_layer[layer_of(name, self.granularity)]

    def mean(self) -> float:
        """Mean over layers and experts."""
        return float(np.mean([alpha for row in self.by_layer.values() for alpha in row]))


def layer_of(name: str, granularity: str) -> str:
    """A layer is a block, or one matrix (with its bias)."""
    return module_of(name) if granularity == "module" else str(block_of(name))


def coefficients(base: Model, experts: Sequence[Model], fisher: Model, **options: Any) -> Coefficients:
    """Layer coefficients from the Fisher of the base and the task vectors."""
    o = {**FIM_DEFAULTS, **options}
    layers: dict[str, list[str]] = {}
    for name in filter(is_matrix, base):
        layers.setdefault(layer_of(name, o["granularity"]), []).append(name)
    pool = {"pooling": o["pooling"], "reduction": o["reduction"]}
    weight = [pooled(fisher, names, **pool) for names in layers.values()]
    squares = [
        [pooled({n: d[n].astype(np.float64) ** 2 for n in names}, names, **pool) for names in layers.values()]
        for d in task_vectors(base, experts)
    ]
    rows = squares if o["expert_alpha"] == "own" else [list(np.mean(squares, axis=0))]
    found = [
        alphas_of(
            [layer_score(f, s, o["signal"]) for f, s in zip(weight, row, strict=True)],
            shift=o["shift"],
            sharpness=o["sharpness"],
        )
        for row in rows
    ]
    if o["expert_alpha"] == "shared":
        found = found * len(experts)
    return Coefficients(dict(zip(layers, zip(*found, strict=True), strict=True)), o["granularity"])


def fim_masks(
    base: Model, experts: Sequence[Model], fisher: Model, o: Mapping[str, Any]
) -> list[dict[str, Array]]:
    """Which entries of every matrix survive, per expert: the largest F |tau|."""
    matrices = [name for name in base if is_matrix(name)]
    found = []
    for delta in task_vectors(base, experts):
        masks: dict[str, Array] = {}
        for names in groups_of(matrices, o["scope"]):
            size = np.concatenate([np.abs(delta[n]).ravel() for n in names])
            score = np.concatenate([fisher[n].ravel() for n in names]) * size
            mask = kept(score, o["keep"], o["trim_rule"], size)
            if o["zero_weight"] == "drop":
                mask &= score > 0
            for name, part in zip(
                names, np.split(mask, np.cumsum([base[n].size for n in names])[:-1]), strict=True
            ):
                masks[name] = part.reshape(base[name].shape)
        found.append(masks)
    return found


def fim_change(
    name: str, deltas: Sequence[Model], masks: Sequence[Model], alpha: Coefficients, o: Mapping[str, Any]
) -> Array:
    """What is added to one tensor inside a block, before calibration."""
    row = alpha.of(name)
    if is_bias(name):
        if o["biases"] == "base":
            return np.zeros(deltas[0][name].shape)
        return np.mean([a * d[name].astype(np.float64) for a, d in zip(row, deltas, strict=True)], axis=0)
    gate = o["gate"] if module_of(name).endswith("gate_proj") else 1.0
    trimmed = [d[name] * m[name] for d, m in zip(deltas, masks, strict=True)]
    ones = [1.0] * len(trimmed)
    sign = np.sign(elected_sum(trimmed, ones))
    return disjoint(
        [a * gate * t.astype(np.float64) for a, t in zip(row, trimmed, strict=True)], ones, sign, "mean"
    )


def output_norm(weight: Array, bias: Array | None, probes: Array, statistic: str) -> float:
    """Size of W x + b over the probes."""
    shift = np.zeros(weight.shape[0]) if bias is None else bias.astype(np.float64)
    if statistic == "frobenius":
        return math.sqrt(float((weight.astype(np.float64) ** 2).sum() + (shift**2).sum()))
    norms = np.linalg.norm(probes.astype(np.float64) @ weight.astype(np.float64).T + shift, axis=1)
    return float(norms.mean() if statistic == "l2" else math.sqrt((norms**2).mean()))


def fim_ties(
    base: Model, experts: Sequence[Model], fisher: Model, probes: Probes | None = None, **options: Any
) -> dict[str, Array]:
    """FIM-TIES with calibration of weights: Algorithm 1, steps 2 to 5."""
    o = {**FIM_DEFAULTS, **options}
    deltas = task_vectors(base, experts)
    alpha = coefficients(base, experts, fisher, **options)
    masks = fim_masks(base, experts, fisher, o)
    outside = {"base": 0.0, "mean_alpha": alpha.mean(), "expert": 1.0}.get(o["outside"])
    scale = float(o["outside"]) if outside is None else outside
    merged = {}
    for name in base:
        if is_matrix(name) or is_bias(name):
            merged[name] = base[name] + fim_change(name, deltas, masks, alpha, o)
        else:
            merged[name] = base[name] + scale * np.mean([d[name].astype(np.float64) for d in deltas], axis=0)
    if o["calibration"] != "off":
        assert probes is not None
        _calibrate(base, merged, probes, o)
    return merged


def _calibrate(base: Model, merged: dict[str, Array], probes: Probes, o: Mapping[str, Any]) -> None:
    """Rescale modules (or blocks) whose output norm left the tolerance, weight and bias."""
    wanted = ("o_proj", "down_proj") if o["calibration"] == "residual" else ("_proj",)
    modules = [module_of(name) for name in base if is_matrix(name) and module_of(name).endswith(wanted)]
    groups: dict[str, list[str]] = {}
    for module in modules:
        groups.setdefault(str(block_of(module)) if o["calibration"] == "block" else module, []).append(module)
    for group in groups.values():
        before, after = (
            sum(
                output_norm(m[f"{x}.weight"], m.get(f"{x}.bias"), probes(f"{x}.weight"), o["norm_statistic"])
                for x in group
            )
            for m in (base, merged)
        )
        if before and after and abs(after / before - 1) > o["tolerance"]:
            for name in [f"{x}.{part}" for x in group for part in ("weight", "bias")]:
                if name in merged:
                    merged[name] = merged[name] * (before / after)
