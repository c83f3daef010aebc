"""The kinds of statistics: which file computes each, and its options with their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from methods.common.contract import Need

CHECKPOINT_DTYPES = ("checkpoint", "float32", "bfloat16")
ESTIMATORS = ("empirical", "exact", "sampled", "argmax", "batch_sqrt")
SEED = 42


@dataclass(frozen=True)
class Kind:
    """A kind of statistic. `module` is a file of this package; an option with `choices` takes one of them."""

    module: str
    defaults: Mapping[str, Any]
    choices: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)


RANDOM_TOKENS = {"samples": 8, "length": 64, "seed": SEED, "vocabulary": "config", "dtype": "checkpoint"}
TEXTS = {"examples": 256, "max_length": 2048, "chat_template": "auto", "dtype": "checkpoint", "seed": SEED}
TEXT_CHOICES = {"chat_template": ("auto", "never"), "dtype": CHECKPOINT_DTYPES}
VOCABULARIES = {"vocabulary": ("config", "tokenizer"), "dtype": CHECKPOINT_DTYPES}
REDUCTIONS = {"token_reduction": ("sum", "mean")}

KINDS: Mapping[str, Kind] = {
    "fisher_random_tokens": Kind("random_tokens", RANDOM_TOKENS, VOCABULARIES),
    "inputs_random_tokens": Kind("random_tokens", RANDOM_TOKENS, VOCABULARIES),
    "fisher_data": Kind(
        "fisher",
        {
            **TEXTS,
            "estimator": "empirical",
            "token_reduction": "sum",
            "batch": 32,  # of batch_sqrt only: every other estimator squares the gradient of one example
            "zero_sign": "zero",
        },
        {
            **TEXT_CHOICES,
            **REDUCTIONS,
            "estimator": ESTIMATORS,
            "zero_sign": ("zero", "positive", "majority"),
        },
    ),
    "gram_data": Kind(
        "inputs",
        {**TEXTS, "batch": 8, "padding": "exclude", "accumulate": "float32"},
        {**TEXT_CHOICES, "padding": ("exclude", "include"), "accumulate": ("float32", "float64")},
    ),
    "channels_data": Kind(
        "inputs",
        {"examples": 256, "max_length": 512, "block": 512, "dtype": "checkpoint", "seed": SEED},
        {"dtype": CHECKPOINT_DTYPES},
    ),
    "information_data": Kind(
        "information",
        {**TEXTS, "examples": 100, "estimator": "gaussian", "bins": 64, "head": "logits"},
        {**TEXT_CHOICES, "estimator": ("gaussian", "histogram"), "head": ("hidden", "logits")},
    ),
    "sensitivity_data": Kind(
        "sensitivity",
        {**TEXTS, "examples": 100, "token_reduction": "mean", "product": "theta"},
        {**TEXT_CHOICES, **REDUCTIONS, "product": ("theta", "tau")},
    ),
    "distance_data": Kind("distance", {**TEXTS, "examples": 100}, TEXT_CHOICES),
    "optimised": Kind(
        "optimise",
        {
            "initial": 0.3,
            "learning_rate": 1e-3,
            "beta1": 0.9,
            "beta2": 0.999,
            "steps": 500,
            "batch": 16,
            "clamp": True,
            "max_length": 512,
            "seed": SEED,
        },
    ),
}


def options_of(need: Need) -> dict[str, Any]:
    """The need's options over its kind's defaults. ValueError: an option or a value that the kind does not know."""
    kind = KINDS[need.kind]
    for key, value in need.options.items():
        if key not in kind.defaults:
            raise ValueError(f"{need.kind} has no option {key!r}; it has {', '.join(kind.defaults)}")
        if value not in kind.choices.get(key, (value,)):
            raise ValueError(f"{need.kind}: {key}={value!r} is none of {', '.join(kind.choices[key])}")
    return {**kind.defaults, **need.options}
