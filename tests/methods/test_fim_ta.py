"""FIM-TA against its worked example, an oracle over the options, and its bond with FIM-TIES."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import arrays, assert_close, run, run_whole
from tests.methods.oracle import Array, Model

FISHER = [4e-3, 1e-4, 2e-5, 4e-6]
DELTA = [1e-4, 2e-4, 4e-4, 2e-4]
ALPHAS = [0.5, 0.618231, 0.652373, 0.731059]


@pytest.mark.parametrize(
    ("options", "delta", "expected"),
    [
        ({}, DELTA, ALPHAS),
        ({"sharpness": 0.1}, DELTA, [0.5, 0.574338, 0.596572, 0.650551]),
        ({"sharpness": 0.3}, DELTA, [0.5, 0.710686, 0.763796, 0.865807]),
        ({"signal": "delta"}, [1e-4, 1.5e-4, 2e-4, 1.2e-4], [0.731059, 0.602295, 0.5, 0.676332]),
        (
            {"signal": "delta", "sharpness": 0.2},
            [1e-4, 1.5e-4, 2e-4, 1.2e-4],
            [0.534602, 0.514380, 0.5, 0.525519],
        ),
    ],
)
def test_worked_examples(options: dict[str, Any], delta: list[float], expected: list[float]) -> None:
    """Four blocks of one matrix each; the gate of the last one is not damped unless asked for."""
    parts = ["up_proj"] * 3 + ["gate_proj"]
    names = [f"model.layers.{i}.mlp.{part}.weight" for i, part in enumerate(parts)]
    base = {name: torch.full((2, 3), 0.5) for name in names}
    expert = {name: 0.5 + torch.full((2, 3), math.sqrt(d)) for name, d in zip(names, delta, strict=True)}
    fisher = {name: torch.full((2, 3), f) for name, f in zip(names, FISHER, strict=True)}
    found = {}
    for gate in (1.0, 0.7):
        merged = run("fim_ta", base, [expert], statistics={"fisher": fisher}, gate=gate, **options)
        found[gate] = [float(((merged[n] - base[n]) / (expert[n] - base[n])).mean()) for n in names]
    assert found[1.0] == pytest.approx(expected, abs=1e-5)
    assert found[0.7] == pytest.approx([*expected[:3], 0.7 * expected[3]], abs=1e-5)


def fim_ta(base: Model, experts: list[dict[str, Array]], fisher: Model, **o: Any) -> dict[str, Array]:
    """The definition: every layer's mean of alpha tau."""
    alpha = oracle.coefficients(base, experts, fisher, **o)
    outside = {"base": 0.0, "mean_alpha": alpha.mean(), "expert": 1.0}.get(
        o.get("outside", "base"), o.get("outside")
    )
    merged = {}
    for name in base:
        scales = [float(outside or 0)] * len(experts)
        if oracle.is_matrix(name) or (oracle.is_bias(name) and o.get("biases") != "base"):
            scales = list(alpha.of(name))
            if name.endswith("gate_proj.weight"):
                scales = [scale * o.get("gate", 1.0) for scale in scales]
        elif oracle.is_bias(name):
            scales = [0.0] * len(experts)
        deltas = [
            scale * (e[name].astype(np.float64) - base[name])
            for scale, e in zip(scales, experts, strict=True)
        ]
        merged[name] = base[name] + np.mean(deltas, axis=0)
    return merged


CASES: list[dict[str, Any]] = [
    {},
    {"gate": 0.7},
    {"biases": "base"},
    {"expert_alpha": "own", "granularity": "module"},
    {"pooling": "modules", "reduction": "sum"},
    *({"signal": s, "shift": m} for s, m in itertools.product(("fim", "delta"), ("max", "median"))),
    *({"outside": outside} for outside in ("mean_alpha", "expert", 0.25)),
]


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("options", CASES, ids=str)
def test_a_model_agrees_with_the_oracle(options: dict[str, Any], count: int) -> None:
    base, experts, fisher = problem(count)
    merged = run("fim_ta", base, experts, statistics={"fisher": fisher}, **options)
    assert_close(merged, fim_ta(arrays(base), [arrays(e) for e in experts], arrays(fisher), **options))


def test_bfloat16_agrees_with_the_oracle() -> None:
    base, experts, fisher = problem(1)
    low = [{n: t.bfloat16() for n, t in model.items()} for model in (base, *experts)]
    merged = run("fim_ta", low[0], low[1:], statistics={"fisher": fisher}, out_dtype="float32")
    assert_close(merged, fim_ta(arrays(low[0]), [arrays(low[1])], arrays(fisher)))


def test_it_is_fim_ties_with_everything_kept_and_gate_and_calibration_off() -> None:
    base, experts, fisher = problem(1)
    statistics = {"fisher": fisher}
    plain = run("fim_ta", base, experts, statistics=statistics)
    ties = run("fim_ties", base, experts, statistics=statistics, keep=1, gate=1, calibration="off")
    assert all(torch.equal(plain[name], ties[name]) for name in base)


def test_calibration_restores_the_output_norm() -> None:
    """On the base's own inputs, where it is asked for; the oracle is FIM-TIES's with everything kept."""
    base, experts, fisher = problem(1)
    generator = torch.Generator().manual_seed(3)
    inputs = {
        n: torch.randn((9, t.shape[1]), generator=generator) for n, t in base.items() if oracle.is_matrix(n)
    }
    options: dict[str, Any] = {"calibration": "module", "gate": 0.7}
    statistics = {"fisher": fisher, "inputs": inputs}
    merged, manifest = run_whole("fim_ta", base, experts, statistics=statistics, probe="tokens", **options)
    found = oracle.fim_ties(
        arrays(base), [arrays(experts[0])], arrays(fisher), lambda n: inputs[n].numpy(), keep=1, **options
    )
    assert_close(merged, found)
    assert sum(value for _, metric, value in manifest["layers"] if metric == "calibrated") > 0


def problem(count: int) -> tuple[Tensors, list[Tensors], Tensors]:
    """A base, experts around it, and a Fisher that falls with depth."""
    base, *moves = [qwen2_tensors(seed, num_hidden_layers=3) for seed in range(count + 1)]
    experts = [{n: base[n] + 0.3 * move[n] for n in base} for move in moves]
    wild = qwen2_tensors(50, num_hidden_layers=3)
    fisher = {
        n: t.square() * 10.0 ** -int(str(oracle.block_of(n)).split(".")[1])
        for n, t in wild.items()
        if oracle.is_matrix(n)
    }
    return base, experts, fisher
