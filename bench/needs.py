"""What people call the statistics that methods need."""

from __future__ import annotations

TITLES = {
    "fisher_random_tokens": "Fisher on random tokens",
    "inputs_random_tokens": "activations on random tokens",
    "fisher_data": "Fisher on data",
    "gram_data": "Gram matrices of activations",
    "channels_data": "activations",
    "information_data": "mutual information of activations",
    "sensitivity_data": "sensitivity on data",
    "distance_data": "distance of logits on data",
    "optimised": "coefficients tuned on unlabelled data",
}


def title(kind: str) -> str:
    """The kind of a need in words."""
    return TITLES.get(kind, kind.replace("_", " "))
