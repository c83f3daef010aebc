"""Mutual information: the reference's numbers on synthetic activations, and the road through two models."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from bench.errors import BadInput
from bench.statistics.information import gaussian_information, histogram_information, moments_of, table_of
from tests.bench.statistics.small import SPOKEN, computed, family, ids_of, need, tensors


def correlated(rho: list[float], n: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """Two activations [n, units] whose correlations are exactly `rho`."""
    noise = np.random.default_rng(0).standard_normal((2, n, len(rho)))
    noise -= noise.mean(1, keepdims=True)
    x = noise[0] / np.linalg.norm(noise[0], axis=0)
    rest = noise[1] - x * (x * noise[1]).sum(0)
    rest /= np.linalg.norm(rest, axis=0)
    r = np.array(rho)
    return torch.from_numpy(3 * x + 1), torch.from_numpy(-5 * (r * x + np.sqrt(1 - r**2) * rest) + 2)


def test_worked_example_of_the_gaussian_estimator() -> None:
    x, y = correlated([0.9, 0.5, 0.0])
    each = [gaussian_information(moments_of(x[:, i : i + 1], y[:, i : i + 1])) for i in range(3)]
    assert each == pytest.approx([0.830366, 0.143841, 0], abs=2e-6)
    assert gaussian_information(moments_of(x, y)) == pytest.approx(0.324736, abs=2e-6)


def test_moments_add_up_over_texts() -> None:
    x, y = correlated([0.7, 0.2])
    parts = moments_of(x[:10], y[:10]) + moments_of(x[10:], y[10:])
    assert gaussian_information(parts) == pytest.approx(gaussian_information(moments_of(x, y)), rel=1e-12)


def test_equal_activations_are_clipped_and_constant_ones_tell_nothing() -> None:
    x, _ = correlated([0.5])
    assert gaussian_information(moments_of(x, x)) == pytest.approx(-0.5 * math.log(1e-6))
    assert gaussian_information(moments_of(torch.ones(5, 2), torch.rand(5, 2))) == 0


@pytest.mark.parametrize("constant", [3.14159, -1e4 / 3, 0.1])
@pytest.mark.parametrize("texts", [1, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_constant_that_sums_do_not_hold_exactly_tells_nothing(
    constant: float, texts: int, dtype: torch.dtype
) -> None:
    """Sum of squares minus square of the sum leaves rounding noise, whose correlation would be anything."""
    flat = torch.full((777, 8), constant, dtype=dtype)
    noise = torch.rand(777, 8, generator=torch.Generator().manual_seed(1))
    for x, y in ((flat, noise), (noise, flat), (flat, flat), (flat, 7 * flat)):
        assert gaussian_information(torch.stack([moments_of(x, y)] * texts).sum(0)) == 0


def test_a_large_mean_does_not_hide_a_small_spread() -> None:
    x, y = correlated([0.9, 0.5, 0.0])
    assert gaussian_information(moments_of(x + 1e4, y - 1e4)) == pytest.approx(0.324736, abs=2e-6)


def test_the_histogram_of_equal_halves_is_log_two_and_of_independent_ones_zero() -> None:
    x = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    limits = torch.tensor([[0.0], [1.0], [0.0], [1.0]])
    same = table_of(x[:, :1], x[:, :1], limits, 2)
    assert same.tolist() == [[[2, 0], [0, 2]]]
    assert histogram_information(same) == pytest.approx(math.log(2))
    assert histogram_information(table_of(x[:, :1], x[:, 1:], limits, 2)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("head", ["hidden", "logits"])
def test_blocks_and_head_match_numpy_on_hidden_states(head: str, tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 2)
    found = computed(tmp_path, recipe, need("information_data", data="all", scope="block", head=head))
    assert len(found) == 2
    every = [e for examples in recipe.data for e in examples.examples]
    assert {e.prompt for e in every} == {e.prompt for e in SPOKEN}
    rows = [p + a for p, a in ids_of(every, recipe.base.path)]
    for statistic, expert in zip(found, recipe.experts, strict=True):
        x, y = (activations(model.path, rows, head) for model in (recipe.base, expert))
        values = tensors(statistic)
        assert set(values) == set(x) == {"block 0", "block 1", "lm_head"}
        for key, value in values.items():
            rho = np.array([np.corrcoef(x[key][:, u], y[key][:, u])[0, 1] for u in range(x[key].shape[1])])
            expected = (-0.5 * np.log(1 - np.minimum(rho**2, 1 - 1e-6))).mean()
            assert float(value) == pytest.approx(expected, rel=1e-3)


def activations(path: Path, rows: list[list[int]], head: str) -> dict[str, np.ndarray]:
    """Outputs of both blocks and of the head; the last block's by hand, as hidden states end behind the norm."""
    model: Any = AutoModelForCausalLM.from_pretrained(path)
    kept: dict[str, list[Any]] = {"block 0": [], "block 1": [], "lm_head": []}
    with torch.no_grad():
        for ids in rows:
            behind = []
            handle = model.model.norm.register_forward_pre_hook(
                lambda m, args, b=behind: b.append(args[0][0])
            )
            out = model(input_ids=torch.tensor([ids]), output_hidden_states=True)
            handle.remove()
            kept["block 0"].append(out.hidden_states[1][0])
            kept["block 1"].append(behind[0])
            kept["lm_head"].append(out.logits[0] if head == "logits" else out.hidden_states[-1][0])
    return {key: torch.cat(parts).double().numpy() for key, parts in kept.items()}


def test_an_expert_that_is_the_base_shares_everything(tmp_path: Path) -> None:
    from dataclasses import replace

    recipe = family(tmp_path, "qwen2", 1)
    same = replace(recipe, experts=(recipe.base,))
    for estimator in ("gaussian", "histogram"):
        wanted = need(
            "information_data", data="all", scope="block", estimator=estimator, head="hidden", bins=8
        )
        near, equal = (tensors(computed(tmp_path, r, wanted)[0]) for r in (recipe, same))
        assert all(equal[key] > near[key] > 0 for key in near)


def test_a_histogram_of_logits_is_refused(tmp_path: Path) -> None:
    recipe = family(tmp_path, "qwen2", 1)
    with pytest.raises(BadInput, match="take head=hidden"):
        computed(tmp_path, recipe, need("information_data", data="all", scope="block", estimator="histogram"))
