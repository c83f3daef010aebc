"""FIM-TIES against its worked examples, the oracle over all options, and what must hold for any input."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.errors import BadInput
from bench.recipe import build_method
from methods.common.calibration import normal_probes
from methods.common.fim import layer_alphas, score
from tests.helpers.checkpoints import Tensors, qwen2_tensors
from tests.methods import oracle
from tests.methods.harness import GATE, UP, arrays, assert_close, moved, run, run_whole
from tests.methods.toy import BASE

FISHER = [4e-3, 1e-4, 2e-5, 4e-6]
DELTA = [1e-4, 2e-4, 4e-4, 2e-4]
NORMS = [1e-4, 1.5e-4, 2e-4, 1.2e-4]
OFF: dict[str, Any] = {"calibration": "off"}


@pytest.mark.parametrize(
    ("sharpness", "expected"),
    [
        (None, [0.5, 0.618231, 0.652373, 0.731059]),
        (0.1, [0.5, 0.574338, 0.596572, 0.650551]),
        (0.3, [0.5, 0.710686, 0.763796, 0.865807]),
    ],
)
def test_worked_coefficients(sharpness: float | None, expected: list[float]) -> None:
    scores = [score(f, d, "fim_x_delta") for f, d in zip(FISHER, DELTA, strict=True)]
    assert scores == pytest.approx([-14.731801, -17.727534, -18.643824, -20.946409], abs=1e-6)
    assert layer_alphas(scores, sharpness=sharpness) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("sharpness", "expected"),
    [(None, [0.731059, 0.602295, 0.5, 0.676332]), (0.2, [0.534602, 0.514380, 0.5, 0.525519])],
)
def test_worked_coefficients_of_the_norm_only_signal(sharpness: float | None, expected: list[float]) -> None:
    scores = [score(1.0, d, "delta") for d in NORMS]
    assert layer_alphas(scores, sharpness=sharpness) == pytest.approx(expected, abs=1e-6)


def test_worked_coefficients_through_a_merge() -> None:
    """Four blocks of one matrix each with the Fisher and task vectors of the example, everything kept."""
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(4)]
    base = {name: torch.zeros(2, 3) for name in names}
    expert = {name: torch.full((2, 3), math.sqrt(d)) for name, d in zip(names, DELTA, strict=True)}
    fisher = {name: torch.full((2, 3), f) for name, f in zip(names, FISHER, strict=True)}
    merged = run("fim_ties", base, [expert], statistics={"fisher": fisher}, keep=1, **OFF)
    found = [float((merged[name] / expert[name]).mean()) for name in names]
    assert found == pytest.approx([0.5, 0.618231, 0.652373, 0.731059], abs=1e-6)


@pytest.mark.parametrize(
    ("name", "expected"),
    [(UP, [1.35, -2.175, 0.5, 0.04375, 3, -1]), (GATE, [1.245, -2.1225, 0.5, 0.030625, 3, -1])],
)
def test_worked_trim(name: str, expected: list[float]) -> None:
    """Alpha is 0.7: fixed sharpness and the median shift on two blocks of equal distance do it."""
    other = "model.layers.1.mlp.up_proj.weight"
    base = {name: BASE[UP], other: torch.zeros(1, 1)}
    fisher = {name: torch.tensor([[1, 4, 2, 64, 1, 0.5]]) * 1e-3}
    delta = torch.tensor([[0.5, -0.25, 0.125, 0.0625, -0.375, 0.25]])
    product = float(fisher[name].mean() * delta.square().mean())
    base[other], moving = torch.zeros(1, 1), torch.ones(1, 1)
    fisher[other] = torch.full((1, 1), product * 10)
    sharpness = 2 * math.log(0.7 / 0.3) / math.log(10)
    merged = run(
        "fim_ties",
        base,
        moved(base, {name: delta, other: moving}),
        statistics={"fisher": fisher},
        keep=0.5,
        shift="median",
        sharpness=sharpness,
        **OFF,
    )
    torch.testing.assert_close(merged[name], torch.tensor([expected]), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("diagonal", "expected", "touched"),
    [((1.3, 2.2), (1.143364, 1.934923), 1.0), ((1.02, 2.05), (1.02, 2.05), 0.0)],
)
def test_worked_calibration(
    diagonal: tuple[float, float], expected: tuple[float, float], touched: float
) -> None:
    """One block: alpha is 0.5, so the expert lies twice as far as the merged matrix of the example."""
    start = torch.diag(torch.tensor([1.0, 2.0]))
    goal = torch.diag(torch.tensor(diagonal))
    base, expert = {UP: start}, {UP: start + 2 * (goal - start)}
    statistics = {"fisher": {UP: torch.ones(2, 2)}, "inputs": {UP: torch.tensor([[1.0, 0], [0, 1], [3, 4]])}}
    merged, manifest = run_whole("fim_ties", base, [expert], statistics=statistics, keep=1, probe="tokens")
    torch.testing.assert_close(merged[UP], torch.diag(torch.tensor(expected)), atol=2e-6, rtol=0)
    notes = {metric: value for _, metric, value in manifest["layers"]}
    assert notes["calibrated"] == touched
    assert notes["calibration_ratio"] == pytest.approx(1.136996 if touched else 1.024112, abs=1e-6)


# --- the oracle ------------------------------------------------------------------------------------------


def _every(fixed: dict[str, Any], **choices: tuple[Any, ...]) -> list[dict[str, Any]]:
    """Every combination of the choices, over the fixed options."""
    return [{**fixed, **dict(zip(choices, row, strict=True))} for row in itertools.product(*choices.values())]


SHARED: dict[str, Any] = {"keep": 0.37, **OFF}
CASES: list[dict[str, Any]] = [
    {},
    {"keep": 0.4, "gate": 0.0},
    {"biases": "base"},
    {"expert_alpha": "own", **OFF},
    {"expert_alpha": "own", "granularity": "module", "scope": "model", "calibration": "residual"},
    *_every(OFF, pooling=("elements", "modules"), reduction=("mean", "sum")),
    *_every({"granularity": "module", **OFF}, reduction=("mean", "sum")),
    *_every(
        OFF, signal=("fim_x_delta", "fim", "delta"), shift=("max", "median"), sharpness=("adaptive", 0.2)
    ),
    *_every(SHARED, scope=("tensor", "block", "model"), trim_rule=("exact", "quantile")),
    # Beyond the entries with F > 0: which of the others survive.
    *_every({"keep": 0.95, **OFF}, zero_weight=("by_delta", "drop"), scope=("tensor", "block", "model")),
    *_every({"scope": "block"}, calibration=("module", "residual", "block"), norm_statistic=("l2", "rms")),
    {"norm_statistic": "frobenius"},
    *_every(OFF, outside=("mean_alpha", "expert", 0.25)),
]


@pytest.mark.parametrize("experts", [1, 3])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_model_agrees_with_the_oracle(case: dict[str, Any], experts: int) -> None:
    base, others, fisher = _problem(experts)
    inputs = _inputs(base)
    statistics = {"fisher": fisher, "inputs": inputs}
    merged = run("fim_ties", base, others, statistics=statistics, probe="tokens", **case)
    expected = oracle.fim_ties(
        arrays(base), [arrays(e) for e in others], arrays(fisher), lambda name: inputs[name].numpy(), **case
    )
    assert_close(merged, expected)


def test_normal_probes_agree_with_the_oracle_and_every_matrix_has_its_own() -> None:
    base, others, fisher = _problem(1)
    merged, manifest = run_whole("fim_ties", base, others, statistics={"fisher": fisher}, seed=7, keep=1)
    expected = oracle.fim_ties(
        arrays(base), [arrays(e) for e in others], arrays(fisher), _normal(base, 7), keep=1
    )
    assert_close(merged, expected)
    touched = [value for _, metric, value in manifest["layers"] if metric == "calibrated"]
    assert len(touched) == 14 and sum(touched) > 0
    first, second = (normal_probes(count=64, features=5, seed=7, name=name) for name in ("a", "b"))
    assert not torch.equal(first, second)
    assert torch.equal(first, normal_probes(count=64, features=5, seed=7, name="a"))


def test_bfloat16_weights_are_merged_in_float32() -> None:
    models = [{n: t.bfloat16() for n, t in qwen2_tensors(seed).items()} for seed in (0, 1)]
    _, _, fisher = _problem(1)
    settings_: dict[str, Any] = {"statistics": {"fisher": fisher}, "out_dtype": "float32", **OFF}
    merged = run("fim_ties", models[0], models[1:], **settings_)
    base, expert = map(arrays, models)
    assert_close(merged, oracle.fim_ties(base, [expert], arrays(fisher), **OFF))


def test_rescale_alpha_shrinks_the_change_until_the_norm_is_within_tolerance() -> None:
    base, others, fisher = _problem(1)
    inputs = _inputs(base)
    statistics = {"fisher": fisher, "inputs": inputs}
    options: dict[str, Any] = {
        "statistics": statistics,
        "probe": "tokens",
        "keep": 1,
        "granularity": "module",
    }
    plain = run("fim_ties", base, others, **options, **OFF)
    shrunk = run("fim_ties", base, others, **options, rescale="alpha", calibration="module")
    factors = []
    for name in filter(oracle.is_matrix, base):
        factor = float(((shrunk[name] - base[name]) / (plain[name] - base[name])).median())
        torch.testing.assert_close(shrunk[name] - base[name], factor * (plain[name] - base[name]))
        assert _ratio(base, shrunk, inputs, name) == pytest.approx(1, abs=0.0501), name
        factors.append(factor)
    assert min(factors) < 0.9
    assert max(factors) <= 1.0001


def test_what_is_not_defined_together_is_refused() -> None:
    with pytest.raises(BadInput, match="rescale=alpha solves for each module"):
        build_method("fim_ties", {"rescale": "alpha", "calibration": "block"})
    with pytest.raises(BadInput, match="norms='base' is not allowed"):
        build_method("fim_ties", {"norms": "base"})


def test_a_dead_layer_gets_the_largest_coefficient_and_moves_no_other() -> None:
    names = [f"model.layers.{i}.mlp.up_proj.weight" for i in range(3)]
    base = {name: torch.zeros(1, 4) for name in names}
    expert = {name: torch.full((1, 4), 0.1 * (i + 1)) for i, name in enumerate(names)}
    fisher = {name: torch.full((1, 4), 1.0 if i < 2 else 0.0) for i, name in enumerate(names)}
    merged = run("fim_ties", base, [expert], statistics={"fisher": fisher}, keep=1, **OFF)
    found = [float((merged[name] / expert[name]).mean()) for name in names]
    assert found == pytest.approx([0.731059, 0.5, 0.731059], abs=1e-6)


def test_election_comes_before_the_coefficient() -> None:
    """Three trimmed vectors that cancel exactly leave the base; scaled first, rounding would elect a sign."""
    rows = torch.tensor([[3.0, 5, 7], [5.0, 6, 9], [-8.0, -11, -16]])
    base = {UP: torch.zeros(1, 3), "model.layers.1.mlp.up_proj.weight": torch.zeros(1, 3)}
    experts = [{name: row.reshape(1, 3) * (1 if "0" in name else 2) for name in base} for row in rows]
    for fixed in (0.1, 0.17, 0.23, 0.31, 0.4, 0.55, 0.7):
        merged = run(
            "fim_ties",
            base,
            experts,
            statistics={"fisher": {n: torch.ones(1, 3) for n in base}},
            keep=1,
            sharpness=fixed,
            **OFF,
        )
        assert all(not merged[name].any() for name in base), fixed


# --- what must hold for any input ------------------------------------------------------------------------

SCORES = st.lists(st.floats(-60, 20), min_size=2, max_size=12, unique=True).filter(
    lambda s: max(s) - min(s) > 1e-6
)


@given(SCORES)
def test_coefficients_span_exactly_their_range_and_fall_with_the_score(scores: list[float]) -> None:
    found = layer_alphas(scores)
    assert min(found) == pytest.approx(0.5, abs=1e-12) and max(found) == pytest.approx(0.7310585786, abs=1e-9)
    by_score = [alpha for _, alpha in sorted(zip(scores, found, strict=True))]
    assert by_score == sorted(found, reverse=True)
    assert found == pytest.approx(oracle.alphas_of(scores), abs=1e-9)


@given(SCORES, st.sampled_from([1e-3, 1.0, 50.0, 1e6]), st.sampled_from(["max", "median"]))
def test_any_sharpness_gives_a_coefficient_between_0_and_1(
    scores: list[float], sharpness: float, shift: Any
) -> None:
    assert all(0 <= alpha <= 1 for alpha in layer_alphas(scores, shift=shift, sharpness=sharpness))


@pytest.mark.parametrize("scores", [[-3.0], [-3.0, -3.0, -3.0]])
def test_equal_scores_give_one_half(scores: list[float]) -> None:
    assert layer_alphas(scores) == [0.5] * len(scores)


@given(st.integers(0, 1000), st.sampled_from([1e-6, 0.25, 3.0, 1e4]), st.sampled_from([0.125, 2.0, 16.0]))
@settings(max_examples=15, deadline=None)
def test_scaling_the_fisher_or_the_task_vectors_moves_no_coefficient(seed: int, c: float, t: float) -> None:
    _, others, fisher = _problem(1, seed)
    zero = {name: torch.zeros_like(tensor) for name, tensor in fisher.items()}
    delta = {name: others[0][name] for name in fisher}
    plain = run("fim_ties", zero, [delta], statistics={"fisher": fisher}, **OFF)
    scaled_fisher = {name: c * tensor for name, tensor in fisher.items()}
    scaled = run(
        "fim_ties",
        zero,
        moved(zero, {n: t * d for n, d in delta.items()}),
        statistics={"fisher": scaled_fisher},
        **OFF,
    )
    for name in zero:
        torch.testing.assert_close(scaled[name] / t, plain[name], atol=2e-6, rtol=0)


@given(st.integers(0, 1000), st.sampled_from([0.001, 0.2, 0.29, 0.5, 1.0]), st.booleans())
@settings(max_examples=20, deadline=None)
def test_exactly_that_many_entries_of_every_matrix_survive(seed: int, keep: float, zeros: bool) -> None:
    base, _, fisher = _problem(1, seed)
    expert = {name: tensor + 1 for name, tensor in base.items()}
    if zeros:
        fisher = {name: (tensor * 2).floor() / 2 for name, tensor in fisher.items()}
        assert any((tensor == 0).any() for tensor in fisher.values())
    merged = run("fim_ties", base, [expert], statistics={"fisher": fisher}, keep=keep, **OFF)
    for name in fisher:
        wanted = max(1, math.floor(keep * base[name].numel() + 1e-9))
        assert int((merged[name] != base[name]).sum()) == wanted, name


def test_keeping_everything_without_gate_and_calibration_is_the_plain_alpha_merge() -> None:
    base, others, fisher = _problem(1)
    merged = run("fim_ties", base, others, statistics={"fisher": fisher}, keep=1, gate=1, **OFF)
    alpha = oracle.coefficients(arrays(base), [arrays(others[0])], arrays(fisher))
    for name in base:
        inside = oracle.is_matrix(name) or oracle.is_bias(name)
        scale = alpha.of(name)[0] if inside else 0.0
        torch.testing.assert_close(merged[name], base[name] + scale * (others[0][name] - base[name]))


def test_order_of_experts_is_free_and_flipped_task_vectors_flip_the_change() -> None:
    _, others, fisher = _problem(3)
    zero = {name: torch.zeros_like(tensor) for name, tensor in others[0].items()}
    statistics = {"fisher": fisher}
    merged = run("fim_ties", zero, others, statistics=statistics, expert_alpha="own", **OFF)
    turned = run("fim_ties", zero, others[::-1], statistics=statistics, expert_alpha="own", **OFF)
    flipped = [{name: -tensor for name, tensor in other.items()} for other in others]
    negative = run("fim_ties", zero, flipped, statistics=statistics, expert_alpha="own", **OFF)
    for name in zero:
        torch.testing.assert_close(turned[name], merged[name], atol=1e-6, rtol=0)
        torch.testing.assert_close(negative[name], -merged[name], atol=1e-6, rtol=0)


def test_embeddings_norms_and_head_stay_at_the_base_to_the_bit() -> None:
    base, others, fisher = _problem(1)
    base["model.embed_tokens.weight"][0] = -0.0
    merged = run("fim_ties", base, others, statistics={"fisher": fisher}, **OFF)
    outside = [name for name in base if not (oracle.is_matrix(name) or oracle.is_bias(name))]
    assert len(outside) == 7
    assert all(torch.equal(merged[name].view(torch.int32), base[name].view(torch.int32)) for name in outside)


# --- helpers ---------------------------------------------------------------------------------------------


def _problem(experts: int, seed: int = 0) -> tuple[Tensors, list[Tensors], Tensors]:
    """A base, experts as far from it as it is large, and a Fisher with zeros and equal values."""
    base = qwen2_tensors(1000 + seed)
    others = [qwen2_tensors(2000 + 10 * seed + i, scale=0.3 + 0.1 * i) for i in range(experts)]
    generator = torch.Generator().manual_seed(seed)
    fisher = {
        name: (4 * torch.rand(tensor.shape, generator=generator)).round() / 4 * (1 + i)
        for i, (name, tensor) in enumerate(base.items())
        if oracle.is_matrix(name)
    }
    return base, others, fisher


def _inputs(base: Tensors) -> Tensors:
    """Inputs of every matrix: 9 of them, of the matrix's own width."""
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn(9, tensor.shape[1], generator=generator)
        for name, tensor in base.items()
        if oracle.is_matrix(name)
    }


def _normal(base: Tensors, seed: int) -> oracle.Probes:
    def probes(name: str) -> np.ndarray:
        return normal_probes(count=64, features=base[name].shape[1], seed=seed, name=name).numpy()

    return probes


def _ratio(base: Tensors, merged: Tensors, inputs: Tensors, name: str) -> float:
    bias = name.replace("weight", "bias")
    before, after = (
        oracle.output_norm(
            model[name].numpy(), model[bias].numpy() if bias in model else None, inputs[name].numpy(), "l2"
        )
        for model in (base, merged)
    )
    return after / before
