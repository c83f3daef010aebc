"""Data Fisher against one-example-at-a-time autograd on transformers' own losses: another path through the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from bench.statistics.fisher import class_terms
from tasks.contract import Example
from tests.bench.statistics.small import LABELLED, SPOKEN, close, computed, family, ids_of, need, tensors

GENERATOR = torch.Generator()


def plain_fisher(path: Path, losses: list[Any], model: Any) -> dict[str, Tensor]:
    """Mean of squared torch.autograd.grad over losses, all parameters, by the checkpoint's names."""
    names = [name for name, _ in model.named_parameters() if not name.startswith("score")]
    parameters = [model.get_parameter(name) for name in names]
    total = [torch.zeros_like(p) for p in parameters]
    for loss in losses:
        for part, gradient in zip(
            total, torch.autograd.grad(loss(model), parameters, allow_unused=True), strict=True
        ):
            part += 0 if gradient is None else gradient**2 / len(losses)
    return dict(zip(names, total, strict=True))


def tokens_of(path: Path) -> Any:
    """Text to token ids, as the checkpoint's own tokenizer has them."""
    tokens = AutoTokenizer.from_pretrained(path)
    return lambda text: tokens(text)["input_ids"]


def answer_loss(prompt: list[int], answer: list[int], *, mean: bool) -> Any:
    """Cross-entropy of the answer by transformers' own labels, the prompt masked with -100."""
    ids = torch.tensor([prompt + answer])
    labels = torch.tensor([[-100] * len(prompt) + answer])
    return lambda model: model(input_ids=ids, labels=labels).loss * (1 if mean else len(answer))


@pytest.mark.parametrize(("kind", "reduction"), [("qwen2", "mean"), ("qwen2 tied", "sum"), ("gpt2", "sum")])
def test_language_models_match_plain_autograd(kind: str, reduction: str, tmp_path: Path) -> None:
    recipe = family(tmp_path, kind, 1)
    (found,) = computed(tmp_path, recipe, need("fisher_data", token_reduction=reduction, max_length=64))
    losses = [answer_loss(p, a, mean=reduction == "mean") for p, a in ids_of(SPOKEN, recipe.experts[0].path)]
    expected = plain_fisher(tmp_path, losses, AutoModelForCausalLM.from_pretrained(recipe.experts[0].path))
    close(tensors(found), expected)
    assert found.record["counts"] == {"examples": 4, "cut": 0, "left_out": 0}


def test_tied_weights_are_squared_after_both_uses_are_summed(tmp_path: Path) -> None:
    """Guards the oracle: squaring the uses apart gives something else."""
    recipe = family(tmp_path, "gpt2", 1)
    (found,) = computed(tmp_path, recipe, need("fisher_data"))
    model: Any = AutoModelForCausalLM.from_pretrained(recipe.experts[0].path)
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    losses = [answer_loss(p, a, mean=False) for p, a in ids_of(SPOKEN, recipe.experts[0].path)]
    apart = plain_fisher(tmp_path, losses, model)
    assert not torch.allclose(
        found.read("transformer.wte.weight"),
        apart["transformer.wte.weight"] + apart["lm_head.weight"],
        rtol=0.05,
    )


@pytest.mark.parametrize("kind", ["gpt2 classifier", "qwen2 classifier"])
def test_classifiers_match_plain_autograd_with_their_own_frozen_head(kind: str, tmp_path: Path) -> None:
    recipe = family(tmp_path, kind, 2)
    found = computed(tmp_path, recipe, need("fisher_data"))
    for m, expert in enumerate(recipe.experts):
        ids = tokens_of(expert.path)
        model = AutoModelForSequenceClassification.from_pretrained(expert.path)
        losses = [
            lambda model, e=e, ids=ids: (
                model(input_ids=torch.tensor([ids(e.prompt)]), labels=torch.tensor([e.label])).loss
            )
            for e in recipe.data[m].examples
        ]
        close(tensors(found[m]), plain_fisher(expert.path, losses, model))
        assert "score.weight" not in found[m].tensors


def test_exact_is_the_expectation_over_classes(tmp_path: Path) -> None:
    recipe = family(tmp_path, "gpt2 classifier", 1)
    (found,) = computed(tmp_path, recipe, need("fisher_data", estimator="exact"))
    model = AutoModelForSequenceClassification.from_pretrained(recipe.experts[0].path)
    total: dict[str, Tensor] = {}
    ids = tokens_of(recipe.experts[0].path)
    for e in LABELLED:
        shown = torch.tensor([ids(e.prompt)])
        shares = model(input_ids=shown).logits.softmax(-1)[0].detach()
        for c, share in enumerate(shares):
            one = plain_fisher(
                tmp_path, [lambda m, c=c, i=shown: m(input_ids=i).logits.log_softmax(-1)[0, c]], model
            )
            for name, values in one.items():
                total[name] = total.get(name, torch.zeros(())) + share * values / len(LABELLED)
    close(tensors(found), total)


def _fisher_of(logits: list[float], labels: list[int], estimator: str) -> list[float]:
    """Mean over examples of the weighted squares, on logits that are the parameters themselves."""
    theta = torch.tensor(logits, requires_grad=True)
    total = torch.zeros(len(logits))
    for label in labels:
        for value, weight in class_terms(theta[None], [label], estimator, GENERATOR):
            total += weight * torch.autograd.grad(value, theta, retain_graph=True)[0] ** 2 / len(labels)
    return total.tolist()


@pytest.mark.parametrize(
    ("shares", "labels", "estimator", "expected"),
    [
        ([0.5, 0.5], [0, 1], "empirical", [0.25, 0.25]),
        ([0.5, 0.5], [0, 1], "exact", [0.25, 0.25]),
        ([0.5, 0.5], [0, 1], "batch_sqrt", [0, 0]),
        ([0.8, 0.2], [0], "exact", [0.16, 0.16]),
        ([0.8, 0.2], [0], "batch_sqrt", [0.032, 0.032]),
        ([0.8, 0.2], [1], "argmax", [0.04, 0.04]),
    ],
)
def test_hand_examples(shares: list[float], labels: list[int], estimator: str, expected: list[float]) -> None:
    logits = torch.tensor(shares).log().tolist()
    assert _fisher_of(logits, labels, estimator) == pytest.approx(expected, abs=1e-6)


def test_sampled_labels_have_the_exact_fisher_as_their_mean() -> None:
    generator = torch.Generator().manual_seed(3)
    theta = torch.tensor([0.8, 0.2]).log().requires_grad_()
    squares = [
        torch.autograd.grad(class_terms(theta[None], [None], "sampled", generator)[0][0], theta)[0][0] ** 2
        for _ in range(4000)
    ]
    assert torch.stack(squares).mean() == pytest.approx(
        0.16, abs=0.02
    )  # 4 standard errors: 0.24 / sqrt(4000) * 4


def test_argmax_looks_at_the_last_token_alone(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 1)
    (found,) = computed(tmp_path, recipe, need("fisher_data", estimator="argmax"))
    model = AutoModelForCausalLM.from_pretrained(recipe.experts[0].path)
    losses = [
        lambda m, ids=p + a: m(input_ids=torch.tensor([ids])).logits[0, -1].log_softmax(-1).max()
        for p, a in ids_of(SPOKEN, recipe.experts[0].path)
    ]
    close(tensors(found), plain_fisher(tmp_path, losses, model))


def test_an_example_without_its_answer_is_left_out_and_a_cut_one_loses_its_end(tmp_path: Path) -> None:
    from dataclasses import replace

    from bench.examples import ExampleSet

    long = Example("a very long prompt of its own", "x")
    cut = Example("short", "an answer that does not end within the limit")
    recipe = family(tmp_path, "qwen2", 1)
    recipe = replace(recipe, data=(ExampleSet("mixed", (long, cut, Example("hi", "yo"))),))
    (found,) = computed(tmp_path, recipe, need("fisher_data", max_length=20))
    assert found.record["counts"] == {"examples": 2, "cut": 1, "left_out": 1}
    model = AutoModelForCausalLM.from_pretrained(recipe.experts[0].path)
    kept = [(p, a[: 20 - len(p)]) for p, a in ids_of([cut, Example("hi", "yo")], recipe.experts[0].path)]
    close(tensors(found), plain_fisher(tmp_path, [answer_loss(p, a, mean=False) for p, a in kept], model))


def test_examples_are_the_first_of_a_seeded_order(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 1)
    two = [tensors(computed(tmp_path, recipe, need("fisher_data", examples=2, seed=s))[0]) for s in (0, 1)]
    names = ["model.norm.weight"] * len(two)
    different = {tuple(found[name].tolist()) for found, name in zip(two, names, strict=True)}
    assert len(different) == 2


def test_progress_is_said(tmp_path: Path) -> None:
    said: list[str] = []
    computed(tmp_path, family(tmp_path, "qwen2", 1), need("fisher_data"), said.append)
    assert said[0].startswith("computing fisher_data of ")
    assert said[-1].startswith("fisher_data of ") and "example 4 of 4, " in said[-1]
    assert said[-1].endswith(" a second")
