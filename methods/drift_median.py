"""DRIFT-MEDIAN: sign-aligned task vectors, the largest experts per coordinate, and their Fisher-weighted median."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import model_validator
from torch import Tensor

from methods.common.contract import Card, Need, Pass, Piece, Seen, Unit, parameter
from methods.common.data_fisher import FISHER, DataFisherMethod
from methods.common.election import ZeroSign, majority_pass, sign_of_zero
from methods.common.selection import Selection, kept_count

if TYPE_CHECKING:
    from methods.common.median import Plan

LOW_SHARE = {"midpoint": 0.5, "lower": 1.0, "upper": 0.0, "min_magnitude": 0.5}


class DriftMedian(DataFisherMethod):
    """Steps A to E of the paper; every switch of its ablation (Table 6) is a parameter.

    The Fisher depends on none of the parameters of selection, aggregation and scaling: a sweep over them
    computes it once. Experts of weight 0 at a coordinate never move its median.
    """

    card: ClassVar[Card] = Card(
        title="DRIFT-MEDIAN",
        source="Task-Aware Model Merging via Fisher-Weighted Median, ICLR 2026 submission (withdrawn)",
        summary="per coordinate, the Fisher-weighted median of the largest task vectors of the elected sign",
        aliases={"K": "top_k", "kappa": "keep", "keep_ratio": "keep"},
        reconstructed="pruned zeros in the selection, sums of 0, even splits, the Fisher's scale across experts and "
        "the treatment of embeddings are our reading",
    )
    weights: ClassVar[Literal["none", "positive", "signed"]] = "none"
    min_experts: ClassVar[int] = 2

    sign: bool = parameter(
        True, "prune the entries that disagree with the sign of the summed task vectors", "paper"
    )
    select: Literal["keep", "top_k", "above_mean", "above_median", "all", "intra_topk"] = parameter(
        "keep",
        "experts per coordinate: the largest floor(keep M), the largest top_k, those at or above the mean or the "
        "median |tau|, all; or the largest `keep` of every expert's own entries, as TIES trims",
        "paper: Top-3 of five experts",
    )
    keep: float = parameter(
        0.6,
        "fraction of the experts (of the model's entries for intra_topk): K = max(1, floor(keep M))",
        "paper: 0.6, Top-3 of five experts",
        gt=0,
        le=1,
    )
    top_k: int = parameter(
        3,
        "experts kept with select=top_k; all of them when there are fewer",
        "paper: Llama, five experts",
        ge=1,
    )
    lambda_: float = parameter(
        1.45, "scale on the aggregated task vector", "paper: Llama-3.1-8B", alias="lambda", ge=-10, le=10
    )
    aggregate: Literal["median", "fisher_mean"] = parameter(
        "median", "weighted median, or weighted mean (ablation)", "paper"
    )
    zeros: Literal["literal", "exclude", "strict"] = parameter(
        "literal",
        "pruned zeros: take part as printed (all experts are retained where fewer than K survive), are left out, "
        "or fill up to exactly K experts in the experts' order",
        "paper, read literally",
    )
    zero_sign: ZeroSign = parameter(
        "zero",
        "sign of a sum of exactly 0: none, positive, or that of all elected signs together",
        "our choice",
    )
    threshold_over: Literal["all", "survivors"] = parameter(
        "all", "experts whose mean or median is the threshold: all, or those not pruned", "our choice"
    )
    strict_threshold: bool = parameter(
        False,
        "entries must exceed the mean or median (none may do: such coordinates do not move)",
        "our choice",
    )
    median_rule: Literal["midpoint", "lower", "upper", "min_magnitude"] = parameter(
        "midpoint",
        "which point when the weights split evenly and a whole interval is the median",
        "our choice",
    )
    zero_weight: Literal["plain_median", "base"] = parameter(
        "plain_median",
        "where all retained experts have weight 0: equal weights, or the base's value",
        "our choice",
    )
    order: Literal["sign_then_select", "select_then_sign"] = parameter(
        "sign_then_select", "select among aligned entries, or elect the sign among the selected ones", "paper"
    )
    weights_by: Literal["fisher", "uniform"] = parameter(
        "fisher",
        "weights of the median: Fisher, or all equal (no Fisher is computed)",
        "paper",
        alias="weights",
    )
    fisher_at: Literal["auto", "aligned", "expert", "base"] = parameter(
        "auto",
        "where the Fisher is taken: at the sign-aligned weights, the experts' or the base's; auto: aligned, or the "
        "experts' with sign off",
        "paper: aligned",
    )

    @model_validator(mode="after")
    def _strict_counts_experts(self) -> DriftMedian:
        if self.zeros == "strict" and self.select not in ("keep", "top_k"):
            raise ValueError(
                f"zeros=strict keeps exactly K experts: use it with select=keep or top_k, not {self.select}"
            )
        return self

    def needs(self) -> tuple[Need, ...]:
        """The Fisher; none with uniform weights."""
        if self.weights_by == "uniform":
            return ()
        at = self.fisher_at if self.fisher_at != "auto" else "aligned" if self.sign else "expert"
        if at == "aligned":
            return (self.fisher_need("aligned", zero_sign=self.zero_sign),)
        return (self.fisher_need("base" if at == "base" else "experts"),)

    @property
    def trim(self) -> Selection:
        """The largest entries of each task vector (select=intra_topk)."""
        return Selection("trim", "model", self.keep, "exact", score=lambda piece, m: piece.delta(m))

    def passes(self) -> tuple[Pass, ...]:
        """TIES's thresholds, the majority sign, sizes of the Fishers: each where it is asked for."""
        trims = self.trim.passes() if self.select == "intra_topk" else ()
        votes = (majority_pass("model", self._count_signs),) if self._votes else ()
        return (*trims, *votes, *(self.size_passes if self.weights_by == "fisher" else ()))

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32."""
        from methods.common import median

        rows, factors = None, (1.0,) * len(piece.experts)
        if self.weights_by == "fisher":
            rows = [fisher.flatten().numpy() for fisher in piece.statistics[FISHER]]
            factors = self.factors(piece, seen)
        plan = self._plan(len(piece.experts), self._zero_sign(seen))
        experts = self._trimmed(piece, seen).flatten(1).numpy()
        merged = median.aggregate(experts, piece.base.flatten().numpy(), rows, factors, plan)
        return torch.from_numpy(merged).view(piece.base.shape)

    def kept_experts(self, count: int) -> int:
        """K of `count` experts."""
        return min(count, self.top_k) if self.select == "top_k" else kept_count(self.keep, count)

    def _trimmed(self, piece: Piece, seen: Seen) -> Tensor:
        """The experts [M, *shape], what is trimmed set back to the base."""
        if self.select != "intra_topk":
            return piece.experts
        kept = self.trim.largest(piece, seen, piece.deltas) != 0
        return torch.where(kept, piece.experts, piece.base)

    def _count_signs(self, unit: Unit, seen: Seen) -> int:
        from methods.common import median

        (piece,) = unit.pieces.values()
        experts = self._trimmed(piece, seen).flatten(1).numpy()
        return median.sign_balance(experts, piece.base.flatten().numpy(), self._plan(len(experts), 0.0))

    def _zero_sign(self, seen: Seen) -> float:
        return sign_of_zero(self.zero_sign, seen.group("majority", "model") if self._votes else 0)

    @property
    def _votes(self) -> bool:
        return self.sign and self.zero_sign == "majority"

    def _plan(self, count: int, zero_sign: float) -> Plan:
        """The parameters in the kernel's numbers, for `count` experts."""
        from methods.common.median import Plan, Select, Zeros

        select = {"keep": "top_k", "intra_topk": "all"}.get(self.select, self.select)
        return Plan(
            sign=self.sign,
            select_first=self.order == "select_then_sign",
            select=Select[select.upper()],
            top_k=self.kept_experts(count),
            zeros=Zeros[self.zeros.upper()],
            survivors=self.threshold_over == "survivors",
            above=self.strict_threshold and self.select in ("above_mean", "above_median"),
            mean=self.aggregate == "fisher_mean",
            low_share=LOW_SHARE[self.median_rule],
            nearest=self.median_rule == "min_magnitude",
            plain=self.zero_weight == "plain_median",
            zero_sign=zero_sign,
            scale=self.lambda_,
        )


METHOD = DriftMedian
