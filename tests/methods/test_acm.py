"""ACM on task vectors and on TIES: worked examples, the oracle, and which coefficient each tensor takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.errors import BadInput
from bench.recipe import build_method
from methods.common.acm import alphas_of
from tests.helpers.checkpoints import qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import arrays, assert_close, run
from tests.methods.oracle_coefficients import acm, acm_alpha

LAYERS = ("block 0", "block 1", "lm_head")
FORMS = ("mirror", "plain", "linear")


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("mirror", [0.5, 0.586618, 0.628316, 0.668188]),
        ("plain", [0.331812, 0.413382, 0.456361, 0.5]),
        ("linear", [0.3, 0.65, 0.825, 1.0]),
    ],
)
def test_worked_examples(form: Any, expected: list[float]) -> None:
    found = alphas_of([2, 1, 0.5, 0], sharpness=0.7, form=form)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_acm_ta_agrees_with_the_oracle(form: str, dtype: torch.dtype) -> None:
    base, *experts = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(3)]
    information = [(1.5, 0.4, 0.9), (0.2, 0.7, 2.0)]
    weights = [1.0, -0.5]
    merged = run(
        "acm_ta",
        base,
        experts,
        weights=weights,
        form=form,
        sharpness=0.6,
        lambda_=0.9,
        out_dtype="float32",
        statistics={"information": _planted(information)},
    )
    alphas = [dict(zip(LAYERS, acm(row, theta=0.6, form=form), strict=True)) for row in information]
    tau = oracle.task_vectors(arrays(base), list(map(arrays, experts)))
    expected = {
        n: arrays(base)[n]
        + sum(0.9 * w * acm_alpha(n, a) * t[n] for w, a, t in zip(weights, alphas, tau, strict=True))
        for n in base
    }
    assert_close(merged, expected)


@pytest.mark.parametrize("form", FORMS)
def test_acm_ties_scales_the_update_of_ties_by_the_mean_information(form: str) -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(4)]
    information = [(1.5, 0.4, 0.9), (0.2, 0.7, 2.0), (0.1, 0.1, 0.1)]
    statistics = {"information": _planted(information)}
    merged = run(
        "acm_ties", base, experts, keep=0.4, lambda_=1.2, form=form, sharpness=0.8, statistics=statistics
    )
    mean = np.mean(information, axis=0)
    alphas = dict(zip(LAYERS, acm(mean, theta=0.8, form=form), strict=True))
    ties = oracle.ties(arrays(base), list(map(arrays, experts)), [1.0] * 3, keep=0.4, lam=1.2)
    expected = {n: arrays(base)[n] + acm_alpha(n, alphas) * (ties[n] - arrays(base)[n]) for n in arrays(base)}
    assert_close(merged, expected)


def test_head_embeddings_and_last_norm_take_their_own_and_the_mean_of_the_blocks() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    merged = run(
        "acm_ta",
        base,
        [expert],
        form="linear",
        sharpness=1.0,
        statistics={"information": _planted([(0.8, 0.6, 1.0)])},
    )
    kept = {"lm_head.weight": 0.0, "model.embed_tokens.weight": 0.3, "model.norm.weight": 0.3}
    kept |= {"model.layers.0.input_layernorm.weight": 0.2, "model.layers.1.mlp.up_proj.weight": 0.4}
    for name, alpha in kept.items():
        moved = base[name] + alpha * (expert[name] - base[name])
        torch.testing.assert_close(merged[name], moved, atol=1e-6, rtol=0)


@pytest.mark.parametrize("method", ["acm_ta", "acm_ties"])
def test_lambda_0_gives_the_base_and_no_information_the_least_restraint(method: str) -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    statistics = {"information": _planted([(0.0, 0.0, 0.0)] * 2)}
    still = run(method, base, experts, lambda_=0, statistics=statistics)
    assert all(torch.equal(still[n], base[n]) for n in base)
    inner = "task_arithmetic" if method == "acm_ta" else "ties"
    alone = run(inner, base, experts, lambda_=1)
    merged = run(method, base, experts, lambda_=1, statistics=statistics)
    alpha = 1 / (1 + np.exp(-0.7))
    assert_close(merged, {n: (base[n] + alpha * (alone[n] - base[n])).numpy() for n in base})


def test_more_information_never_gets_more_weight() -> None:
    rng = np.random.default_rng(0)
    for form in ("mirror", "plain", "linear"):
        information = np.sort(rng.uniform(0, 3, 20))
        alphas = alphas_of(information.tolist(), sharpness=0.9, form=form)  # type: ignore[arg-type]
        assert (np.diff(alphas) <= 0).all() and min(alphas) >= 0


def test_a_linear_form_that_would_turn_updates_round_is_refused() -> None:
    with pytest.raises(BadInput, match="sharpness=1.2 would turn"):
        build_method("acm_ties", {"form": "linear", "sharpness": "1.2"})


def _planted(rows: Sequence[Sequence[float]]) -> list[dict[str, Tensor]]:
    """One subject per expert: information of two blocks and the head."""
    return [{key: torch.tensor(x) for key, x in zip(LAYERS, row, strict=True)} for row in rows]
