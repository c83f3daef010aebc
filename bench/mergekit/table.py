"""The methods that both tools have, parameter by parameter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

DTYPES = {"bfloat16": "BF16", "float16": "F16", "float32": "F32"}
REQUIRED = object()
PER_MODEL = ("weight", "density")  # what each model may have of its own; all else belongs to the merge
# What every merge of mergekit implies about the parameters that all our methods share.
COMMON = {"embeddings": "merge", "norms": "same", "on_mismatch": "error", "files_from": "base"}
# Ours alone, without effect on the result of models that mergekit takes at all (or without a place in its YAML).
NO_EFFECT = ("nonfinite", "tied_mismatch", "seed")


@dataclass(frozen=True)
class Rule:
    """One parameter in both tools: names, mergekit's default, and how values are turned into one another."""

    theirs: str
    ours: str
    default: Any
    to_ours: Callable[[Any], Any] = field(default=lambda value: value)
    to_theirs: Callable[[Any], Any] = field(default=lambda value: value)
    per_model: bool = False


def _named(theirs: str, ours: str, default: bool, values: Mapping[bool, Any]) -> Rule:
    """A switch of mergekit whose two positions have names of ours."""
    back = {name: switch for switch, name in values.items()}
    return Rule(theirs, ours, default, values.__getitem__, back.__getitem__)


def _share(fraction: float) -> float:
    """mergekit keeps everything at 1 and above."""
    return min(1.0, fraction)


def _rest(fraction: float) -> float:
    """1 - fraction, without the last digits that binary fractions leave (1 - 0.9 is 0.1)."""
    return round(1.0 - _share(fraction), 12)


@dataclass(frozen=True)
class Translation:
    """A method in both tools. `only` are parameters of mergekit's that must have this value; `fixed` are ours that
    its definition implies; `idle` have no effect there; `weights` says whether models have a weight, `most` how
    many experts there may be.
    """

    theirs: str
    ours: str
    rules: tuple[Rule, ...] = ()
    only: Mapping[str, Any] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    idle: tuple[str, ...] = ()
    weights: bool = True
    most: int | None = None

    @property
    def parameters(self) -> list[str]:
        """Names that mergekit gives the method's parameters."""
        weight = ["weight"] if self.weights else []
        return [*weight, *(rule.theirs for rule in self.rules), *self.only, *self.idle]


LAMBDA = Rule("lambda", "lambda", 1.0)
DENSITY = Rule("density", "keep", 1.0, _share, per_model=True)
DROPPED = Rule("density", "drop_rate", 1.0, _rest, _rest, per_model=True)
RESCALE = _named("rescale", "rescale", True, {True: "l1", False: "none"})
ELECTION = {"scope": "tensor", "zero_sign": "positive"}


def _aggregate(default: bool) -> Rule:
    return _named("normalize", "aggregate", default, {True: "mean", False: "sum"})


TRANSLATIONS = (
    Translation("linear", "average", only={"normalize": True}),
    Translation(
        "task_arithmetic",
        "task_arithmetic",
        (LAMBDA, Rule("normalize", "normalize", False)),
        only={"density": 1.0, "rescale": False},
        idle=("int8_mask",),
    ),
    Translation(
        "ties",
        "ties",
        (LAMBDA, DENSITY, _aggregate(True)),
        only={"rescale": False},
        fixed={**ELECTION, "trim_rule": "exact"},
        idle=("int8_mask",),
    ),
    Translation(
        "dare_linear",
        "dare",
        (LAMBDA, DROPPED, RESCALE),
        only={"normalize": False},
        fixed={"drops": "all"},
        idle=("int8_mask",),
    ),
    Translation(
        "dare_ties",
        "dare_ties",
        (LAMBDA, DROPPED, RESCALE, _aggregate(False)),
        fixed={**ELECTION, "trim_rule": "exact", "drops": "all", "keep": 1.0},
        idle=("int8_mask",),
    ),
    Translation(
        "slerp",
        "slerp",
        (Rule("t", "position", REQUIRED),),
        fixed={"threshold": 0.9995, "granularity": "tensor", "on": "weights"},
        weights=False,
        most=1,
    ),
    Translation(
        "sce", "sce", (Rule("select_topk", "keep", 1.0, _share),), idle=("int8_mask",), weights=False
    ),
    Translation(
        "model_stock",
        "model_stock",
        (_named("filter_wise", "granularity", False, {False: "tensor", True: "row"}),),
        fixed={"average": "cosine", "clamp": False},
        weights=False,
    ),
)
