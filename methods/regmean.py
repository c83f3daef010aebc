"""RegMean: the linear map that best reproduces every expert's outputs on its own inputs, in closed form."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from methods.common.contract import Card, Merged, Need, Piece, Role, Seen, TensorInfo, Unit, parameter
from methods.common.on_data import OnData

# Gram matrices are float32: what is smaller than this fraction of the largest eigenvalue is their rounding.
ILL_CONDITIONED = 1e8


class RegMean(OnData):
    """Matrices in blocks by regression, everything else by the weighted mean of the experts."""

    card: ClassVar[Card] = Card(
        title="RegMean",
        source="Jin et al. 2023, arXiv 2212.09849; MergeBench and fusion_bench",
        summary="per matrix, least squares on the experts' own inputs; the rest is averaged",
        aliases={"a": "off_diagonal", "alpha": "off_diagonal", "reduce_non_diagonal_ratio": "off_diagonal"},
    )
    unit: ClassVar[Literal["element", "tensor", "module"]] = "tensor"
    min_experts: ClassVar[int] = 2

    off_diagonal: float = parameter(
        0.5,
        "factor on the off-diagonal entries of the Gram matrices",
        "MergeBench script, Llama; fusion_bench: GPT-2 0.6, CLIP 0.95; the paper advises about 0.9",
        ge=0,
        le=1,
    )
    unexcited: Literal["mean", "zero"] = parameter(
        "mean",
        "input directions in which no expert has data: the experts' mean, or 0 as a bare pseudo-inverse gives",
        "our choice; MergeBench's pseudo-inverse gives 0",
    )
    batch: int = parameter(8, "examples of one forward pass", "our choice; no effect on the definition", ge=1)
    padding: Literal["exclude", "include"] = parameter(
        "exclude", "padding tokens in the Gram matrices", "our choice; the repositories include them"
    )
    accumulate: Literal["float32", "float64"] = parameter(
        "float32", "dtype in which the Gram matrices are summed", "our choice"
    )

    def whole(self, info: TensorInfo) -> bool:
        """Only matrices are solved for; a mean takes any run of elements."""
        return info.role is Role.LINEAR

    def needs(self) -> tuple[Need, ...]:
        """X^T X / tokens of every matrix's inputs, of each expert on its own examples."""
        own = {"batch": self.batch, "padding": self.padding, "accumulate": self.accumulate}
        return (Need("gram", "gram_data", "experts", {**self.data_options, **own}, data="own"),)

    def merge(self, unit: Unit, seen: Seen) -> Merged:
        """One tensor; notes where the sum of the Gram matrices had to be pseudo-inverted."""
        ((part, piece),) = unit.pieces.items()
        if piece.info.role is not Role.LINEAR:
            return Merged({part: _mean(piece.experts, piece.weights)})
        merged, inverted = self._regress(piece)
        return Merged({part: merged}, {"pseudo_inverse": 1.0} if inverted else {})

    def _regress(self, piece: Piece) -> tuple[Tensor, bool]:
        """(sum_m w_m G'_m)^-1 sum_m w_m G'_m W_m with W as [in, out], in float64; whether it was pseudo-inverted.

        Solved for the difference from the mean of the experts: the same solution where there is one, the mean
        where the data say nothing, and exactly the mean for equal Gram matrices.
        """
        turned = piece.info.input_axis == 1
        experts = [(w.T if turned else w).double() for w in piece.experts]
        start = _mean(torch.stack(experts), piece.weights)
        if self.unexcited == "zero":
            start = torch.zeros_like(start)
        grams = torch.zeros(len(start), len(start), dtype=torch.float64)
        pull = torch.zeros_like(start)
        for weight, gram, own in zip(piece.weights, piece.statistics["gram"], experts, strict=True):
            reduced = self._reduced(gram).mul_(weight)
            grams += reduced
            pull += reduced @ (own - start)
        step, inverted = _solve(grams, pull)
        merged = (start + step).float()
        return (merged.T.contiguous() if turned else merged), inverted

    def _reduced(self, gram: Tensor) -> Tensor:
        """G'_m in float64: the off-diagonal entries scaled. In place: these are a method's largest matrices."""
        reduced = gram.to(torch.float64, copy=True)
        diagonal = reduced.diagonal().clone()
        reduced.mul_(self.off_diagonal).diagonal().copy_(diagonal)
        return reduced


def _mean(values: Tensor, weights: tuple[float, ...]) -> Tensor:
    """Weighted mean over the first axis."""
    factors = torch.tensor(weights, dtype=values.dtype) / sum(weights)
    return torch.tensordot(factors, values, dims=1)


def _solve(grams: Tensor, pull: Tensor) -> tuple[Tensor, bool]:
    """grams^-1 pull by Cholesky; by pseudo-inverse (True) where grams is not positive definite to float32."""
    factor, failed = torch.linalg.cholesky_ex(grams)
    spread = factor.diagonal()
    if int(failed) == 0 and float(spread.max() / spread.min()) ** 2 <= ILL_CONDITIONED:
        return torch.cholesky_solve(pull, factor), False
    return torch.linalg.pinv(grams, hermitian=True, rtol=1 / ILL_CONDITIONED) @ pull, True


METHOD = RegMean
