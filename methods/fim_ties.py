"""FIM-TIES: Fisher-weighted trimming and layer-adaptive coefficients without data (arXiv 2603.21705).

theta_l = theta0_l + alpha_l * trim(tau_l), gate projections damped, output norms calibrated: Algorithm 1,
steps 1 to 5. No code was released; readings that the paper leaves open are parameters.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from methods.common.calibration import NormStatistic, normal_probes, output_norm
from methods.common.contract import Card, Merged, Need, Pass, Piece, Role, Scope, Seen, Unit, parameter
from methods.common.election import agreeing
from methods.common.fim import Coefficients, FimMethod, is_layer_matrix
from methods.common.selection import Selection

RESIDUAL_WRITERS = ("o_proj", "down_proj")


class FimTies(FimMethod):
    """Keeps the entries with the largest F |tau|, scales them by their layer's alpha in [0.5, 0.731]."""

    card: ClassVar[Card] = Card(
        title="FIM-TIES",
        source="FIM-Merging, arXiv 2603.21705, Algorithm 1",
        summary="random-token Fisher of the base weights a per-layer coefficient and the trim",
        aliases={"r": "keep", "N": "samples", "L": "length", "theta_s": "sharpness"},
        reconstructed="layer granularity, excluded tensors and calibration are our reading; several experts are "
        "our extension",
    )
    unit: ClassVar[Literal["element", "tensor", "module"]] = "module"

    keep: float = parameter(
        0.2, "fraction of each matrix kept (r)", "FIM paper: 0.2 at 1.5B, 0.4 at 7B", gt=0, le=1
    )
    gate: float = parameter(0.7, "extra factor on alpha for gate projections", "FIM paper", ge=0, le=1)
    gate_module: str = parameter(
        "gate_proj", "last name part of a gate projection (`w1` in some schemes)", "our choice"
    )
    scope: Scope = parameter("tensor", "where the largest F |tau| are counted", "our choice")
    trim_rule: Literal["exact", "quantile"] = parameter(
        "exact", "exact count, or >= the quantile", "our choice"
    )
    zero_weight: Literal["by_delta", "drop"] = parameter(
        "by_delta",
        "entries with F |tau| = 0: ranked by |tau| so that exactly k survive, or never kept",
        "our choice",
    )
    calibration: Literal["module", "residual", "block", "off"] = parameter(
        "module",
        "where output norms are calibrated: every merged matrix, o_proj and down_proj, whole blocks, nowhere",
        "our choice",
    )
    tolerance: float = parameter(
        0.05, "relative deviation of the output norm that triggers rescaling", "FIM paper", ge=0
    )
    probe: Literal["normal", "tokens"] = parameter(
        "normal",
        "calibration inputs: standard normal, or the base's own on the random sequences",
        "our choice",
    )
    probes: int = parameter(64, "number of standard-normal probes", "our choice", ge=1)
    norm_statistic: NormStatistic = parameter("l2", "how output norms are averaged over probes", "our choice")
    rescale: Literal["weight", "alpha"] = parameter(
        "weight",
        "calibrate the whole weight and bias, or shrink only the task vector until within tolerance",
        "our choice",
    )

    @model_validator(mode="after")
    def _alpha_is_rescaled_by_module(self) -> FimTies:
        if self.rescale == "alpha" and self.calibration == "block":
            raise ValueError(
                "rescale=alpha solves for each module: use calibration=module or residual with it"
            )
        return self

    def layers(self, seen: Seen) -> list[tuple[str, str, float]]:
        """Those of the coefficients, and how many gate projections were found (0: the gate did nothing)."""
        found: Coefficients = seen.group("coefficients", "model")
        gates = sum(module.endswith(self.gate_module) for module in found.modules)
        return [*super().layers(seen), ("model", "gate_projections", float(gates))]

    def needs(self) -> tuple[Need, ...]:
        """The Fisher, and the modules' inputs when the probes are tokens."""
        (fisher,) = super().needs()
        wants_inputs = self.probe == "tokens" and self.calibration != "off"
        return (
            (fisher, Need("inputs", "inputs_random_tokens", "base", fisher.options))
            if wants_inputs
            else (fisher,)
        )

    @property
    def trim(self) -> Selection:
        """The entries with the largest w = F |tau|; equal w ranked by |tau|."""
        return Selection(
            "trim",
            self.scope,
            self.keep,
            self.trim_rule,
            score=_saliency,
            tie=lambda piece, m: piece.delta(m),
            takes=lambda piece: is_layer_matrix(piece.info),
        )

    def passes(self) -> tuple[Pass, ...]:
        """Coefficients, trimming thresholds, and block norms where blocks are calibrated."""
        passes = (self.coefficients_pass, *self.trim.passes())
        if self.calibration != "block":
            return passes
        add = Pass(
            "norms", "block", self._norms, lambda a, b: (a[0] + b[0], a[1] + b[1]), lambda t, seen, key: t
        )
        return (*passes, add)

    def merge(self, unit: Unit, seen: Seen) -> Merged:
        """One module: trim, gate, merge, calibrate."""
        matrix = self._matrix(unit)
        if matrix is None:
            return Merged({part: self._outside(piece, seen) for part, piece in unit.pieces.items()})
        changes = self._changes(unit, seen)
        kept = float((changes["weight"] != 0).sum()) / matrix.base.numel()
        scale, ratio = self._calibrate(unit, changes, seen)
        notes = {"kept": kept, "calibrated": float(scale != 1.0)}
        if ratio is not None:
            notes["calibration_ratio"] = ratio
        if self.rescale == "alpha":
            return Merged({p: unit.pieces[p].base + scale * change for p, change in changes.items()}, notes)
        return Merged({p: scale * (unit.pieces[p].base + change) for p, change in changes.items()}, notes)

    def _matrix(self, unit: Unit) -> Piece | None:
        piece = unit.pieces.get("weight")
        return piece if piece is not None and is_layer_matrix(piece.info) else None

    def _outside(self, piece: Piece, seen: Seen) -> Tensor:
        """Embeddings, norms and head."""
        scale = self.outside_scale(seen)
        return piece.base + scale * piece.deltas.mean(0) if scale else piece.base

    def _changes(self, unit: Unit, seen: Seen) -> dict[str, Tensor]:
        """What is added to each piece of a module, before calibration."""
        changes = {}
        for part, piece in unit.pieces.items():
            if is_layer_matrix(piece.info):
                changes[part] = self._trimmed(piece, seen)
            elif piece.info.role is Role.BIAS and self.biases == "base":
                changes[part] = torch.zeros_like(piece.base)
            else:
                scaled = [a * d for a, d in zip(self.alphas(piece.info, seen), piece.deltas, strict=True)]
                changes[part] = torch.stack(scaled).mean(0)
        return changes

    def _trimmed(self, piece: Piece, seen: Seen) -> Tensor:
        """alpha_l times the trimmed task vector (several experts: sign election and disjoint mean)."""
        gate = self.gate if piece.info.module.endswith(self.gate_module) else 1.0
        trimmed = []
        for m, delta in enumerate(piece.deltas):
            mask = self.trim.mask(piece, m, seen)
            if self.zero_weight == "drop":
                mask &= _saliency(piece, m) > 0
            trimmed.append(delta * mask)
        scaled = [
            alpha * gate * delta for alpha, delta in zip(self.alphas(piece.info, seen), trimmed, strict=True)
        ]
        if len(scaled) == 1:
            return scaled[0]
        # The trimmed vectors vote, before scaling: sums that cancel must stay exactly 0.
        return agreeing(
            torch.stack(scaled), piece.weights, "mean", zero_sign=0.0, voters=torch.stack(trimmed)
        )

    def _norms_of(self, unit: Unit, changes: dict[str, Tensor], scale: float = 1.0) -> tuple[float, float]:
        """Output norms of the base's module and of the merged one, its change scaled by `scale`."""
        matrix, bias = unit.pieces["weight"], unit.pieces.get("bias")
        axis = matrix.info.input_axis
        probes = self._probes(matrix)
        base = output_norm(
            matrix.base, bias.base if bias else None, probes, statistic=self.norm_statistic, input_axis=axis
        )
        merged = output_norm(
            matrix.base + scale * changes["weight"],
            bias.base + scale * changes["bias"] if bias else None,
            probes,
            statistic=self.norm_statistic,
            input_axis=axis,
        )
        return base, merged

    def _probes(self, matrix: Piece) -> Tensor:
        if self.probe == "tokens":
            return matrix.statistics["inputs"][0]
        features = matrix.info.shape[matrix.info.input_axis]
        return normal_probes(count=self.probes, features=features, seed=self.seed, name=matrix.info.name)

    def _norms(self, unit: Unit, seen: Seen) -> tuple[float, float] | None:
        return None if self._matrix(unit) is None else self._norms_of(unit, self._changes(unit, seen))

    def _calibrate(self, unit: Unit, changes: dict[str, Tensor], seen: Seen) -> tuple[float, float | None]:
        """Factor that restores the base's output norm (1 where it need not), and merged norm over base norm."""
        info = unit.pieces["weight"].info
        if self.calibration == "off" or (
            self.calibration == "residual" and not info.module.endswith(RESIDUAL_WRITERS)
        ):
            return 1.0, None
        norms = seen.of("norms", info) if self.calibration == "block" else self._norms_of(unit, changes)
        ratio = self._ratio(*norms)
        if abs(ratio - 1) <= self.tolerance:
            return 1.0, ratio
        return (self._shrink(unit, changes) if self.rescale == "alpha" else 1 / ratio), ratio

    def _ratio(self, base: float, merged: float) -> float:
        return merged / base if base > 0 and merged > 0 else 1.0

    def _shrink(self, unit: Unit, changes: dict[str, Tensor]) -> float:
        """Largest factor in [0, 1] on the task vector that brings the norm within tolerance, by bisection."""
        low, high = 0.0, 1.0
        for _ in range(40):
            middle = (low + high) / 2
            within = abs(self._ratio(*self._norms_of(unit, changes, middle)) - 1) <= self.tolerance
            low, high = (middle, high) if within else (low, middle)
        return low


def _saliency(piece: Piece, expert: int) -> Tensor:
    """w = F |tau|, elementwise (Algorithm 1, step 4)."""
    return piece.statistics["fisher"][0] * piece.delta(expert).abs()


METHOD = FimTies
