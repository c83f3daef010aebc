"""Distance between experts (Sens-Merging): g_m,j = mean over tokens of D_j of || logits_m(x) - logits_j(x) ||_2.

D_j are the examples of expert j, prompt and response together; tokens of all of its examples count alike. Two
models are loaded at a time and read the same tokens, those of the base's tokenizer; where vocabularies differ the
logits of the tokens that both have are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.statistics.information import ROWS, shared_logits
from bench.statistics.points import load
from bench.statistics.progress import counted
from bench.statistics.store import Computed
from bench.statistics.subject import Subject
from bench.statistics.text import Reader, Shown, check_vocabulary

if TYPE_CHECKING:
    from torch import Tensor


def compute(subject: Subject, say: Callable[[str], None]) -> Computed:
    """[M] distances of one expert to every other, 0 to itself, under the key "model"."""
    import torch

    options = subject.options
    assert subject.expert is not None
    reader = Reader(subject.base, classifier=False, chat=str(options["chat_template"]))
    own = load(subject.model, str(options["dtype"]))
    found = torch.zeros(len(subject.experts))
    counts = {}
    for j, expert in enumerate(subject.experts):
        if j == subject.expert:
            continue
        texts = reader.read(subject.data[j], options, answered=False)
        check_vocabulary(texts, [subject.model, expert])
        other = load(expert, str(options["dtype"]))
        title = f"{subject.title}: {subject.model.name} and {expert.name}"
        rows = counted(texts.shown, len(texts.shown), title, "example", say)
        found[j] = mean_distance([own, other], list(rows))
        counts[expert.name] = texts.counts
    return Computed({"model": found}, counts=counts)


def mean_distance(models: list[Any], rows: Sequence[Shown]) -> float:
    """Mean over all tokens of the L2 norm of the difference of two models' logits."""
    import torch

    total, tokens = 0.0, 0
    with torch.no_grad():
        for row in rows:
            ids = torch.tensor([row.ids])
            last = [model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0] for model in models]
            for start in range(0, len(row.ids), ROWS):
                a, b = shared_logits(models, [states[start : start + ROWS] for states in last])
                total += float(_norms(a - b).sum(dtype=torch.float64))
            tokens += len(row.ids)
    return total / tokens


def _norms(rows: Tensor) -> Tensor:
    norms: Tensor = rows.norm(dim=-1)
    return norms
