"""Coefficients of ACM: layers whose activations still tell those of the base keep less of their update."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, Self

from pydantic import model_validator

from methods.common.contract import Need, Role, Seen, TensorInfo, parameter
from methods.common.on_data import OnData

Form = Literal["mirror", "plain", "linear"]

RECONSTRUCTED = (
    "the formula could not be recovered: coefficients follow a description in words (mutual information between "
    "base and expert activations, more information meaning less weight); not comparable with published numbers"
)
HEAD = Role.LM_HEAD.value  # the key that `Need` states


class AcmCoefficients(OnData):
    """Parameters of ACM and what it needs: one mutual information per expert, block and LM head.

    Tensors outside blocks take the mean coefficient of the blocks; the LM head has its own.
    """

    examples: int = parameter(100, "examples of each expert's data", "FIM-Merging: 100 of s1K", ge=1)
    sharpness: float = parameter(
        0.7,
        "slope of the coefficients in the information",
        "our choice; FIM-Merging speaks of 0.5 to 0.9, a public script has 1.2",
        gt=0,
        le=10,
    )
    form: Form = parameter(
        "mirror",
        "with I relative to the largest: 1 - sigmoid(sharpness (I - 1)), 1 - sigmoid(sharpness I), or "
        "1 - sharpness I",
        "our choice: mirror is FIM-Merging's own mapping",
    )
    estimator: Literal["gaussian", "histogram"] = parameter(
        "gaussian", "mutual information per hidden unit: from the correlation, or from bins", "our choice"
    )
    bins: int = parameter(64, "bins per unit of the histogram estimator", "our choice", ge=2)
    head: Literal["hidden", "logits"] = parameter(
        "logits", "activations that stand for the LM head: its outputs, or its inputs (hidden)", "our choice"
    )

    @model_validator(mode="after")
    def _forward_only(self) -> Self:
        if self.form == "linear" and self.sharpness > 1:
            raise ValueError(
                f"form=linear with sharpness={self.sharpness} would turn the layer of most information "
                "backwards: take sharpness of at most 1, or form=mirror"
            )
        return self

    def needs(self) -> tuple[Need, ...]:
        """Mutual information between the base's and every expert's activations."""
        own = {"estimator": self.estimator, "bins": self.bins, "head": self.head}
        options = {**self.data_options, **own}
        return (Need("information", "information_data", "experts", options, data="all", scope="block"),)

    def alphas(self, info: TensorInfo, seen: Seen) -> tuple[float, ...]:
        """One coefficient per expert for a tensor."""
        groups = self._expert_alphas(seen)
        key = info.key("block")
        return groups[key] if key in groups else _mean_of_blocks(groups)

    def shared_alpha(self, info: TensorInfo, seen: Seen) -> float:
        """One coefficient for a tensor, from the experts' mean information."""
        groups = self._shared_alphas(seen)
        key = info.key("block")
        return (groups[key] if key in groups else _mean_of_blocks(groups))[0]

    def _expert_alphas(self, seen: Seen) -> dict[str, tuple[float, ...]]:
        return self._by_layer(_information(seen))

    def _shared_alphas(self, seen: Seen) -> dict[str, tuple[float, ...]]:
        found = _information(seen)
        return self._by_layer({layer: (math.fsum(row) / len(row),) for layer, row in found.items()})

    def _by_layer(self, information: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
        columns = zip(*information.values(), strict=True)
        rows = zip(*(alphas_of(c, sharpness=self.sharpness, form=self.form) for c in columns), strict=True)
        return dict(zip(information, rows, strict=True))


def alphas_of(information: Sequence[float], *, sharpness: float, form: Form) -> list[float]:
    """Coefficients of layers from their mutual information (nats, >= 0); no information at all counts as 0."""
    top = max(information)
    relative = [value / top if top > 0 else 0.0 for value in information]
    if form == "linear":
        return [1 - sharpness * value for value in relative]
    shift = 1.0 if form == "mirror" else 0.0
    return [1 / (1 + math.exp(sharpness * (value - shift))) for value in relative]


def _information(seen: Seen) -> dict[str, list[float]]:
    return {layer: [float(value) for value in row] for layer, row in seen.all("information").items()}


def _mean_of_blocks(groups: Mapping[str, tuple[float, ...]]) -> tuple[float, ...]:
    """Per expert, the mean coefficient over all layers but the head."""
    rows = [row for layer, row in groups.items() if layer != HEAD]
    return tuple(math.fsum(column) / len(rows) for column in zip(*rows, strict=True))
