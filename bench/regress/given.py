"""Fixed statistics of every kind, so that a verdict is about a method's arithmetic and about nothing before it.

They are drawn like the models (`models.py`), by kind, where they are taken, tensor and subject; real ones are
checked by the statistics' own tests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from bench.alignment.align import Target
from bench.regress.models import Values, integers
from bench.statistics import Subject
from bench.statistics.information import HEAD

if TYPE_CHECKING:
    from torch import Tensor

ROWS = 5  # of a module's inputs, and of a classifier's logits
CLASSES = 3


def given(subject: Subject) -> Mapping[str, Tensor]:
    """The statistic of one subject: float32 tensors by parameter, or by group for a need with a scope."""
    import torch

    found = KINDS[subject.need.kind](subject)
    return {name: torch.from_numpy(np.ascontiguousarray(values)).float() for name, values in found.items()}


def _draw(subject: Subject, name: str, n: int, bits: int = 16) -> Values:
    """[n] numbers in [0, 1) of their own stream."""
    need = subject.need
    what = f"{need.kind}|{need.of}|{need.data}|{subject.expert}|{name}"
    return integers(what, n, bits) / 2.0**bits


def _by_tensor(make: Callable[[Subject, Target], Values]) -> Callable[[Subject], dict[str, Values]]:
    return lambda subject: {target.info.name: make(subject, target) for target in subject.wanted}


def _fisher(subject: Subject, target: Target) -> Values:
    """Subjects differ in size and in how few entries hold most of it; they agree in one of eight entries, one in
    eight of a subject is 0, and one in sixteen of all."""
    name, n, who = target.info.name, target.info.n, subject.expert or 0
    own = _draw(subject, name, n)
    own = (own * own * own * own if who % 2 else own * own) * (1 + who) / 1024
    equal = integers(f"equal|{name}", n, 3) == 0
    empty = (_draw(subject, f"empty|{name}", n, 3) == 0) | (integers(f"empty|{name}", n, 4) == 0)
    return np.where(empty, 0.0, np.where(equal, 1 / 1024, own)).reshape(target.info.shape)


def _inputs(subject: Subject, target: Target) -> Values:
    features = target.info.features
    return 4 * _draw(subject, target.info.name, ROWS * features).reshape(ROWS, features) - 2


def _gram(subject: Subject, target: Target) -> Values:
    """Of whole numbers, so that sums are exact. Nobody has data in the first input of the attention's output."""
    features = target.info.features
    tokens = 2 * features + 1
    inputs = np.floor(16 * _draw(subject, target.info.name, tokens * features)).reshape(tokens, features) - 8
    if target.info.name.endswith(("o_proj.weight", "attn.c_proj.weight")):
        inputs[:, 0] = 0
    return inputs.T @ inputs / tokens


def _channels(subject: Subject, target: Target) -> Values:
    return _draw(subject, target.info.name, target.info.features, 8)


def _groups(subject: Subject) -> list[str]:
    """Names of the groups that the wanted tensors belong to."""
    scope = subject.need.scope
    assert scope is not None
    return list(dict.fromkeys(target.info.key(scope) for target in subject.wanted))


def _information(subject: Subject) -> dict[str, Values]:
    """Of every block and of the LM head."""
    blocks = [key for key in _groups(subject) if key.startswith("block ")]
    return {key: 2 * _draw(subject, key, 1)[0] for key in (*blocks, HEAD)}


def _sensitivity(subject: Subject) -> dict[str, Values]:
    return {key: _draw(subject, key, 1)[0] for key in _groups(subject)}


def _distance(subject: Subject) -> dict[str, Values]:
    """To every expert, 0 to itself."""
    count = len(subject.experts)
    own = np.arange(count) == subject.expert
    return {"model": np.where(own, 0.0, 1 + _draw(subject, "model", count))}


def _coefficients(subject: Subject) -> dict[str, Values]:
    """Times what the method's objective makes of fixed logits: it is the method's arithmetic, too."""
    import torch

    objective = subject.need.objective
    assert objective is not None
    logits = integers("logits", ROWS * CLASSES, 2).reshape(ROWS, CLASSES)
    size = float(objective(torch.from_numpy(logits).double()))
    return {key: size * _draw(subject, key, len(subject.experts)) for key in _groups(subject)}


KINDS: Mapping[str, Callable[[Subject], dict[str, Values]]] = {
    "fisher_random_tokens": _by_tensor(_fisher),
    "fisher_data": _by_tensor(_fisher),
    "inputs_random_tokens": _by_tensor(_inputs),
    "gram_data": _by_tensor(_gram),
    "channels_data": _by_tensor(_channels),
    "information_data": _information,
    "sensitivity_data": _sensitivity,
    "distance_data": _distance,
    "optimised": _coefficients,
}
