"""PCB-Merging: worked examples of its four forms, the oracle, and what must hold for any input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.helpers.checkpoints import qwen2_tensors
from tests.methods.harness import UP, arrays, assert_close, matrix, moved, run
from tests.methods.oracle_pcb import pcb, pcb_model
from tests.methods.toy import BASE, TAU, TAUS

FORMS = ("main", "vision", "paired", "paper")
WORKED = {
    "main": [0.5, 0.598366, -0.5, 0, 0.5, 0.0625],
    "vision": [0.494793, 0.615341, 0, 0, 0.5, 0.0625],
    "paired": [0.494603, 0.593717, 0, 0, 0.5, 0.0625],
    "paper": [0.486793, 0.647132, -0.232003, 0, 0.346888, 0],
}
# Three magnitudes, zeros among them, of which norm01 makes exact numbers: equal scores everywhere.
COARSE = st.lists(st.sampled_from([-1.0, -0.5, 0.0, 0.0, 0.5, 1.0]), min_size=9, max_size=9)
PROBLEMS = st.tuples(
    st.lists(COARSE, min_size=2, max_size=4),
    st.sampled_from(FORMS),
    st.sampled_from([0.05, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 0.2]),
)


@pytest.mark.parametrize("form", FORMS)
def test_worked_examples(form: str) -> None:
    merged = run("pcb", BASE, moved(BASE, *TAUS), variant=form, keep=0.5, clip=0, lambda_=1.0)
    torch.testing.assert_close(merged[UP] - BASE[UP], torch.tensor([WORKED[form]]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_model_agrees_with_the_oracle(form: str, dtype: torch.dtype) -> None:
    base, *experts = [{n: t.to(dtype) for n, t in qwen2_tensors(seed).items()} for seed in range(4)]
    weights = [1.0, 0.5, 2.0]
    given: dict[str, Any] = {"variant": form, "keep": 0.15, "clip": 0.01}
    merged = run("pcb", base, experts, weights=weights, lambda_=0.8, out_dtype="float32", **given)
    expected = pcb_model(arrays(base), list(map(arrays, experts)), lam=[0.8 * w for w in weights], **given)
    assert_close(merged, expected, 5e-6)


def test_task_vectors_as_small_as_those_of_language_models() -> None:
    """Products of such deltas are about 1e-10: scores must not drown in rounding."""
    base = {name: torch.zeros_like(tensor) for name, tensor in qwen2_tensors(0).items()}
    experts = [{n: 1e-5 * t for n, t in qwen2_tensors(seed).items()} for seed in (1, 2, 3)]
    for form in FORMS:
        merged = run("pcb", base, experts, variant=form, keep=0.1)
        expected = pcb_model(
            arrays(base), list(map(arrays, experts)), variant=form, keep=0.1, clip=0.0001, lam=[1.0] * 3
        )
        assert_close(merged, expected, 1e-9)
        assert any(tensor.any() for tensor in merged.values())


@given(PROBLEMS)
@settings(max_examples=25, deadline=None)
def test_equal_magnitudes_and_zeros_agree_with_the_oracle(
    problem: tuple[list[list[float]], str, float, float],
) -> None:
    rows, form, keep, clip = problem
    merged = run("pcb", ZERO, [matrix(row) for row in rows], variant=form, keep=keep, clip=clip, lambda_=1.0)[
        UP
    ]
    expected = pcb(np.array(rows), variant=form, keep=keep, clip=clip, lam=[1.0] * len(rows))
    np.testing.assert_allclose(merged.numpy().ravel(), expected, atol=1e-6)


@given(PROBLEMS)
@settings(max_examples=8, deadline=None)
def test_order_of_experts_and_sign_of_all_task_vectors(
    problem: tuple[list[list[float]], str, float, float],
) -> None:
    rows, form, keep, clip = problem
    options: dict[str, Any] = {"variant": form, "keep": keep, "clip": clip}
    merged = run("pcb", ZERO, [matrix(row) for row in rows], **options)[UP]
    turned = run("pcb", ZERO, [matrix(row) for row in rows[::-1]], **options)[UP]
    torch.testing.assert_close(turned, merged, atol=1e-6, rtol=0)
    flipped = run("pcb", ZERO, [matrix([-x for x in row]) for row in rows], **options)[UP]
    torch.testing.assert_close(flipped, -merged, atol=1e-6, rtol=0)


ZERO = matrix([0.0] * 9)


@pytest.mark.parametrize("form", FORMS)
def test_lambda_0_and_experts_equal_to_the_base_give_the_base(form: str) -> None:
    assert torch.equal(run("pcb", BASE, moved(BASE, *TAUS), variant=form, lambda_=0.0)[UP], BASE[UP])
    assert torch.equal(run("pcb", BASE, [BASE, BASE], variant=form)[UP], BASE[UP])


def test_what_every_expert_drops_stays_the_bases() -> None:
    """Keep 1/3 of six entries: the second highest score is the threshold and becomes 0, so that each expert is left
    with its highest alone, and nobody else's to average it with.

    Highest scores exp(3 norm01(|tau|)^2) tanh(tau sum): e^3 tanh(0.3125) = 6.08 at the first entry for expert 0,
    e^3 tanh(0.65625) = 11.57 at the second for expert 1, e^3 tanh(0.125) = 2.50 at the fifth for expert 2.
    """
    merged = run("pcb", BASE, moved(BASE, *TAUS), keep=1 / 3, clip=0)[UP] - BASE[UP]
    expected = torch.tensor([[float(TAU[0][0]), float(TAU[1][1]), 0, 0, float(TAU[2][4]), 0]])
    assert expected.tolist() == [[0.5, 0.75, 0, 0, 0.5, 0]]
    torch.testing.assert_close(merged, expected, atol=1e-6, rtol=0)
