"""Sensitivity and distance of Sens-Merging against autograd and logits of transformers' own forward pass."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from tests.bench.statistics.small import computed, family, ids_of, need, tensors


def group(name: str) -> str:
    """The block of a Qwen2 or GPT-2 parameter, or its module outside blocks."""
    for marker in ("layers.", "h."):
        head, found, tail = name.partition(f".{marker}")
        if found:
            return f"block {tail.split('.')[0]}"
    return name.rsplit(".", 1)[0]


@pytest.mark.parametrize(("kind", "product"), [("qwen2", "theta"), ("qwen2", "tau"), ("gpt2", "tau")])
def test_sensitivity_matches_autograd(kind: str, product: str, tmp_path: Path) -> None:
    recipe = family(tmp_path, kind, 2)
    found = computed(tmp_path, recipe, need("sensitivity_data", scope="block", product=product))
    base = load_file(recipe.base.path / "model.safetensors")
    for m, expert in enumerate(recipe.experts):
        model = AutoModelForCausalLM.from_pretrained(expert.path)
        rows = ids_of(recipe.data[m].examples, expert.path)
        sums: dict[str, float] = {}
        for prompt, answer in rows:
            ids, labels = torch.tensor([prompt + answer]), torch.tensor([[-100] * len(prompt) + answer])
            names, parameters = zip(*model.named_parameters(), strict=True)
            gradients = torch.autograd.grad(model(input_ids=ids, labels=labels).loss, parameters)
            for name, value, gradient in zip(names, parameters, gradients, strict=True):
                factor = value - base[name] if product == "tau" else value
                part = float((factor * gradient).detach().abs().sum())
                sums[group(name)] = sums.get(group(name), 0.0) + part / len(rows)
        assert {key: float(v) for key, v in tensors(found[m]).items()} == pytest.approx(sums, rel=1e-4)
    assert {"block 0", "block 1"} < set(found[0].tensors)


def test_classifiers_are_sensitive_through_their_labels(tmp_path: Path) -> None:
    recipe = family(tmp_path, "gpt2 classifier", 1)
    (found,) = computed(tmp_path, recipe, need("sensitivity_data", scope="block"))
    assert "score" not in found.tensors and all(float(v) > 0 for v in tensors(found).values())


def test_distances_match_the_models_logits(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 2)
    found = computed(tmp_path, recipe, need("distance_data", data="all", scope="model"))
    models = [AutoModelForCausalLM.from_pretrained(expert.path) for expert in recipe.experts]
    expected = torch.zeros(2, 2)
    for j in range(2):
        rows = [p + a for p, a in ids_of(recipe.data[j].examples, recipe.base.path)]
        for m in range(2):
            norms = [
                (models[m](torch.tensor([ids])).logits - models[j](torch.tensor([ids])).logits)[0].norm(
                    dim=-1
                )
                for ids in rows
            ]
            expected[m, j] = torch.cat(norms).mean().detach()
    torch.testing.assert_close(torch.stack([s.read("model") for s in found]), expected, rtol=1e-4, atol=1e-6)
    assert expected[0, 1] > 0 == expected[0, 0]
