"""What is merged for a verdict: every method with its defaults, and with each of its switches thrown.

A method without an entry here is found all the same and merged with its defaults. Four experts take part unless a
method takes fewer or a case says how many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.recipe import build_method
from bench.regress.models import EXPERTS
from methods.common.contract import Method

WEIGHTS = {"positive": (1.0, 2.0, 0.5, 1.25), "signed": (1.0, 2.0, -0.5, 1.0)}


@dataclass(frozen=True)
class Case:
    """One merge: settings over the method's defaults, a model family, the first experts of it, their weights.

    The default family is a Qwen2 language model in float32 with biases and a head of its own, or a classifier for
    methods that are defined on classifiers only.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    family: str = ""
    experts: int | None = None
    weights: tuple[float, ...] = ()

    @property
    def title(self) -> str:
        """What sets it apart."""
        words = [f"{key}={value}" for key, value in self.settings.items()]
        parts = [" ".join(words) or "defaults", *([self.family] if self.family else [])]
        parts += [f"{self.experts} expert{'s' if self.experts > 1 else ''}"] if self.experts else []
        parts += [f"weights {','.join(f'{w:g}' for w in self.weights)}"] if self.weights else []
        return ", ".join(parts)


def cases_of(name: str) -> list[Case]:
    """Defaults, defaults on a tied model in bfloat16, unequal weights where they are taken, and the method's own."""
    method = build_method(name, {})
    cases = [Case()] if on_classifiers(method) else [Case(), Case(family="tied bf16")]
    if method.weights in WEIGHTS:
        cases.append(Case(weights=WEIGHTS[method.weights][: experts_of(method)]))
    return [*cases, *CASES.get(name, ())]


def on_classifiers(method: Method) -> bool:
    """Whether a method is defined on classifiers only."""
    return any(need.kind == "optimised" for need in method.needs())


def experts_of(method: Method) -> int:
    """How many experts take part."""
    return min(EXPERTS, method.max_experts or EXPERTS)


def each(*settings: Mapping[str, Any], **where: Any) -> tuple[Case, ...]:
    """A case for each of `settings`, all of them on the same models."""
    return tuple(Case(one, **where) for one in settings)


GPT2 = Case(family="gpt2")
ONE, TWO = Case(experts=1), Case(experts=2)

TRIMMED = each(
    {"scope": "tensor"},
    {"scope": "block", "keep": 0.35},
    {"trim_rule": "kth_inclusive"},
    {"trim_rule": "quantile", "scope": "tensor"},
)
TIES = (
    *TRIMMED,
    *each(
        {"aggregate": "sum"},
        {"zero_sign": "zero"},
        {"zero_sign": "positive"},
        {"lambda": 0.5, "scope": "tensor"},
    ),
)
ON_FISHER = each(
    {"normalize_fisher": "l2"},
    {"normalize_fisher": "mean"},
    {"normalize_fisher": "l2", "normalize_scope": "tensor"},
)
FIM = (
    GPT2,
    ONE,
    *each(
        {"granularity": "module"},
        {"pooling": "modules"},
        {"reduction": "sum", "granularity": "module"},
        {"signal": "fim"},
        {"signal": "delta"},
        {"shift": "median"},
        {"sharpness": 2.0},
        {"expert_alpha": "own"},
        {"outside": "mean_alpha"},
        {"outside": "expert"},
        {"outside": 0.5},
        {"biases": "base"},
        {"gate": 0.5},
        {"calibration": "residual", "norm_statistic": "rms", "tolerance": 0.001},
        {"calibration": "block", "norm_statistic": "frobenius", "tolerance": 0.001},
        {"calibration": "module", "rescale": "alpha", "tolerance": 0.001},
        {"calibration": "module", "probe": "tokens", "tolerance": 0.0},
    ),
)

CASES: Mapping[str, tuple[Case, ...]] = {
    "average": (TWO, *each({"include_base": True}, {"embeddings": "base"})),
    "task_arithmetic": (
        Case({"normalize": True}, weights=WEIGHTS["signed"]),
        *each({"lambda": -0.4}, {"embeddings": "expert:1", "norms": "mean"}),
    ),
    "ties": (ONE, *TIES),
    "dare": each(
        {"drop_rate": 0.3},
        {"rescale": "l1"},
        {"rescale": "none"},
        {"drops": "linear"},
        {"seed": 7, "lambda": 1.0},
    ),
    "dare_ties": each(
        {"drop_rate": 0.3},
        {"drop_rate": 0.3, "keep": 0.5},
        {"drop_rate": 0.3, "keep": 0.5, "scope": "tensor", "rescale": "l1"},
        {"rescale": "none", "aggregate": "sum"},
        {"drops": "linear"},
        {"drop_rate": 0.3, "zero_sign": "zero"},
        {"seed": 7, "lambda": 0.5},
    ),
    "fisher": (
        *ON_FISHER,
        *each(
            {"floor": 0.1},
            {"floor": 0.0001, "floor_rule": "absolute"},
            {"floor": 0.0005, "floor_rule": "max"},
            {"floor": 0.0, "floor_rule": "absolute"},
        ),
    ),
    "fim_ta": FIM,
    "fim_ties": (
        *FIM,
        *each(
            {"keep": 0.4, "gate": 1.0},
            {"scope": "block"},
            {"scope": "model"},
            {"trim_rule": "quantile"},
            {"zero_weight": "drop", "keep": 0.95},
            {"calibration": "off"},
        ),
    ),
    "drift_median": (
        *each(
            {"keep": 0.7},
            {"keep": 0.7, "aggregate": "fisher_mean"},
            {"select": "above_median", "strict_threshold": True},
            {"select": "above_median", "threshold_over": "survivors"},
            experts=3,
        ),
        *ON_FISHER,
        *each(
            {"sign": False},
            {"select": "top_k"},
            {"select": "top_k", "top_k": 1},
            {"select": "above_mean"},
            {"select": "above_mean", "threshold_over": "survivors"},
            {"select": "above_median", "threshold_over": "survivors", "strict_threshold": True},
            {"select": "all"},
            {"select": "intra_topk"},
            {"aggregate": "fisher_mean"},
            {"zeros": "exclude"},
            {"zeros": "strict"},
            {"zero_sign": "positive"},
            {"zero_sign": "majority"},
            {"weights": "uniform"},
            {"weights": "uniform", "median_rule": "lower", "select": "all"},
            {"weights": "uniform", "median_rule": "upper", "select": "all"},
            {"weights": "uniform", "median_rule": "min_magnitude", "select": "all"},
            {"zero_weight": "base"},
            {"order": "select_then_sign"},
            {"fisher_at": "expert"},
            {"fisher_at": "base"},
            {"lambda": 1.0, "keep": 0.8},
        ),
    ),
    "localize_and_stitch": (
        TWO,
        *TRIMMED,
        *each({"overlap": "mergebench", "keep": 0.5}, {"keep": 0.5, "scope": "tensor"}),
    ),
    "pcb": each(
        {"variant": "main", "keep": 0.3, "clip": 0.05},
        {"variant": "vision", "keep": 0.3, "clip": 0.05},
        {"variant": "paired", "keep": 0.3, "clip": 0.05},
        {"variant": "paper", "keep": 0.3},
        {"lambda": 0.5, "keep": 0.3},
    ),
    "adamerging": (TWO, *each({"granularity": "task"}, {"embeddings": "base"}, {"entropy_of": "batch_mean"})),
    "sens": (
        TWO,
        *each(
            {"temperature": 0.2},
            {"product": "tau"},
            {"alignment": "similarity"},
            {"t_norm": "l2"},
            {"lambda": 0.4},
        ),
    ),
    "aim": (
        GPT2,
        *each(
            {"omega": 0.0},
            {"omega": 0.9},
            {"inner": "task_arithmetic lambda=0.5"},
            {"inner": "fim_ties keep=0.4"},
        ),
        Case({"inner": "average"}, family="gpt2"),
    ),
    "acm_ta": (
        TWO,
        *each({"form": "plain"}, {"form": "linear", "sharpness": 0.5}, {"sharpness": 1.2}, {"lambda": 0.5}),
    ),
    "acm_ties": (
        TWO,
        *each(
            {"form": "plain"},
            {"form": "linear", "sharpness": 0.5},
            {"keep": 0.4, "scope": "tensor"},
            {"lambda": 0.5, "aggregate": "sum"},
        ),
    ),
    "regmean": (
        TWO,
        GPT2,
        *each({"off_diagonal": 0.0}, {"off_diagonal": 1.0}, {"off_diagonal": 0.9, "unexcited": "zero"}),
    ),
    "sce": (TWO, *each({"keep": 0.3}, {"keep": 0.1})),
    "slerp": (
        ONE,
        Case({"granularity": "row"}, family="gpt2"),
        Case({"on": "deltas"}, experts=1),
        *each({"position": 0.2}, {"threshold": 0.9}, {"granularity": "row"}, {"on": "deltas"}),
    ),
    "model_stock": (
        TWO,
        Case({"granularity": "row"}, family="gpt2"),
        *each(
            {"granularity": "row"},
            {"average": "angle"},
            {"clamp": False},
            {"clamp": False, "granularity": "row", "average": "angle"},
        ),
    ),
}
