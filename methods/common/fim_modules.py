"""How FIM-Merging turns layer coefficients into merged modules: gate factor, biases, output-norm calibration.

Source: FIM-Merging, arXiv 2603.21705, Algorithm 1 steps 3 to 5. FIM-TA and FIM-TIES differ in what they add to
a matrix (`change`) and in which of these steps are on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from methods.common.calibration import NormStatistic, normal_probes, output_norm
from methods.common.contract import Merged, Need, Pass, Piece, Role, Seen, Unit, parameter
from methods.common.fim import Coefficients, FimMethod, ModuleSums, is_layer_matrix

# Ends of the names of modules whose output is added to the residual stream: decoders, GPT-2, CLIP.
RESIDUAL_WRITERS = (
    ".self_attn.o_proj",
    ".mlp.down_proj",
    ".attn.c_proj",
    ".mlp.c_proj",
    ".self_attn.out_proj",
    ".mlp.fc2",
)


class FimModules(FimMethod):
    """A FIM method that merges module by module, weight and bias together."""

    unit: ClassVar[Literal["element", "tensor", "module"]] = "module"

    gate: float = parameter(1.0, "extra factor on alpha for gate projections", "FIM paper", ge=0, le=1)
    gate_module: str = parameter(
        "gate_proj", "last name part of a gate projection (`w1` in some schemes)", "our choice"
    )
    calibration: Literal["module", "residual", "block", "off"] = parameter(
        "off",
        "where output norms are calibrated: every merged matrix, those that write to the residual stream (o_proj and "
        "down_proj; c_proj; out_proj and fc2), whole blocks, nowhere",
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
    def _alpha_is_rescaled_by_module(self) -> FimModules:
        if self.rescale == "alpha" and self.calibration == "block":
            raise ValueError(
                "rescale=alpha solves for each module: use calibration=module or residual with it"
            )
        return self

    def change(self, piece: Piece, seen: Seen) -> Tensor:
        """What is added to a matrix of a block, before calibration: same shape, float32."""
        raise TypeError(f"{type(self).__name__} does not define change")

    def notes(self, changes: dict[str, Tensor]) -> dict[str, float]:
        """Numbers worth keeping about the changes of a module."""
        return {}

    def selection_passes(self) -> tuple[Pass, ...]:
        """Passes that `change` relies on, after the coefficients."""
        return ()

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

    def passes(self) -> tuple[Pass, ...]:
        """Coefficients, what the change needs, and block norms where blocks are calibrated."""
        passes = (self.coefficients_pass, *self.selection_passes())
        if self.calibration != "block":
            return passes
        add = Pass(
            "norms", "block", self._norms, lambda a, b: (a[0] + b[0], a[1] + b[1]), lambda t, seen, key: t
        )
        return (*passes, add)

    def merge(self, unit: Unit, seen: Seen) -> Merged:
        """One module: change, gate, merge, calibrate."""
        if self._matrix(unit) is None:
            return Merged({part: self._outside(piece, seen) for part, piece in unit.pieces.items()})
        changes = self._changes(unit, seen)
        scale, ratio = self._calibrate(unit, changes, seen)
        notes = self.notes(changes)
        if self.calibration != "off":
            notes["calibrated"] = float(scale != 1.0)
        if ratio is not None:
            notes["calibration_ratio"] = ratio
        if self.rescale == "alpha":
            return Merged({p: unit.pieces[p].base + scale * change for p, change in changes.items()}, notes)
        return Merged({p: scale * (unit.pieces[p].base + change) for p, change in changes.items()}, notes)

    def scales(self, piece: Piece, seen: Seen) -> list[float]:
        """alpha_l of every expert, times the gate factor where the matrix is a gate projection."""
        gate = self.gate if piece.info.module.endswith(self.gate_module) else 1.0
        return [alpha * gate for alpha in self.alphas(piece.info, seen)]

    def _coefficients(self, total: dict[str, ModuleSums], seen: Seen, key: str) -> Coefficients:
        """Those of the layers; ValueError where calibration=residual has no module to work on."""
        if self.calibration == "residual" and not any(map(writes_residual, total)):
            raise ValueError(
                f"calibration=residual calibrates modules called {', '.join(RESIDUAL_WRITERS)}, and of the "
                f"{len(total)} merged ones none is (the first is {next(iter(total))}): take calibration=module or off"
            )
        return super()._coefficients(total, seen, key)

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
                changes[part] = self.change(piece, seen)
            elif piece.info.role is Role.BIAS and self.biases == "base":
                changes[part] = torch.zeros_like(piece.base)
            else:
                changes[part] = scaled_mean(piece, self.alphas(piece.info, seen))
        return changes

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
        if self.calibration == "off" or (self.calibration == "residual" and not writes_residual(info.module)):
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


def writes_residual(module: str) -> bool:
    """Whether a module's output is added to the residual stream, by its name."""
    return f".{module}".endswith(RESIDUAL_WRITERS)


def scaled_mean(piece: Piece, scales: Sequence[float]) -> Tensor:
    """Mean over experts of scale_m tau_m."""
    return torch.stack([scale * delta for scale, delta in zip(scales, piece.deltas, strict=True)]).mean(0)
