"""AIM around other methods: worked example, oracle on every unit of work, and the text that names the inner."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import BadInput
from bench.lineage import method_rows
from bench.recipe import build_method, build_recipe, label
from methods.aim import Aim
from methods.common.contract import Piece, Role, Seen, TensorInfo, Unit
from tests.helpers.checkpoints import Tensors, qwen2_tensors, write_checkpoint
from tests.methods.harness import GATE, UP, assert_close, run
from tests.methods.oracle import is_bias, is_matrix
from tests.methods.oracle_activations import relax

INNERS = ("ties keep=0.3 lambda=0.7", "task_arithmetic", "pcb", "regmean", "fim_ties calibration=off")


def test_worked_example() -> None:
    base = {UP: torch.tensor([[1.0, 2, 3], [0, -1, 1]])}
    expert = {UP: torch.tensor([[2.0, 2, 4], [1, 0, 1]])}
    merged = run(
        "aim",
        base,
        [expert],
        inner="task_arithmetic lambda=1",
        omega=0.4,
        statistics={"channels": {UP: torch.tensor([0.5, 2, 1])}},
    )
    expected = torch.tensor([[1.85, 2, 3.7], [0.85, -0.6, 1]])
    torch.testing.assert_close(merged[UP], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("inner", INNERS)
def test_a_model_agrees_with_the_oracle_whatever_the_inners_unit(inner: str) -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    channels = _channels(base)
    statistics = _planted(inner, base)
    name, *pairs = inner.split()
    alone = run(name, base, experts, statistics=statistics, **dict(pair.split("=") for pair in pairs))
    merged = run(
        "aim", base, experts, inner=inner, omega=0.3, statistics={**statistics, "channels": channels}
    )
    expected = {
        n: relax(base[n].numpy(), alone[n].numpy(), channels[n].numpy(), 0.3)
        if n in channels
        else alone[n].numpy()
        for n in base
    }
    assert_close(merged, expected)
    assert any(not torch.equal(merged[n], alone[n]) for n in channels)


def test_embeddings_and_biases_keep_the_merged_value() -> None:
    base, expert = qwen2_tensors(0), qwen2_tensors(1)
    merged = run(
        "aim",
        base,
        [expert],
        inner="task_arithmetic lambda=1",
        omega=0,
        statistics={"channels": _channels(base)},
    )
    kept = [n for n in base if is_bias(n) or "embed" in n]
    assert kept and all(torch.equal(merged[n], base[n] + (expert[n] - base[n])) for n in kept)


@pytest.mark.parametrize("inner", INNERS[:3])
def test_omega_1_returns_the_inner_merge_bit_for_bit_and_lambda_0_the_base(inner: str) -> None:
    base, *experts = [qwen2_tensors(seed) for seed in range(3)]
    name, *pairs = inner.split()
    alone = run(name, base, experts, **dict(pair.split("=") for pair in pairs))
    statistics = {"channels": _channels(base)}
    merged = run("aim", base, experts, inner=inner, omega=1, statistics=statistics)
    assert all(torch.equal(merged[n], alone[n]) for n in base)
    still = run("aim", base, experts, inner=f"{name} lambda=0", omega=0.4, statistics=statistics)
    assert all(torch.equal(still[n], base[n]) for n in base)


def test_omega_1_is_exact_where_the_difference_from_the_base_is_not() -> None:
    merged = run(
        "aim",
        {UP: torch.full((1, 3), 1e8)},
        [{UP: torch.ones(1, 3)}],
        inner="average",
        omega=1,
        statistics={"channels": {UP: torch.ones(3)}},
    )
    assert merged[UP].tolist() == [[1, 1, 1]]


def test_omega_0_takes_the_most_active_channel_back_to_the_base() -> None:
    base = {UP: torch.zeros(2, 3)}
    activity = torch.tensor([1.0, 4, 2])
    merged = run(
        "aim",
        base,
        [{UP: torch.ones(2, 3)}],
        inner="task_arithmetic lambda=1",
        omega=0,
        statistics={"channels": {UP: activity}},
    )
    assert merged[UP].tolist() == [[0.75, 0, 0.5]] * 2


def test_a_silent_module_is_left_as_merged() -> None:
    base = {UP: torch.zeros(2, 3), GATE: torch.zeros(2, 3)}
    expert = {name: torch.ones(2, 3) for name in base}
    silent = {UP: torch.zeros(3), GATE: torch.ones(3)}
    merged = run(
        "aim", base, [expert], inner="task_arithmetic lambda=1", omega=0.5, statistics={"channels": silent}
    )
    assert merged[UP].tolist() == [[1, 1, 1]] * 2 and merged[GATE].tolist() == [[0.5, 0.5, 0.5]] * 2


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("cuts", [(15,), (1, 6, 8), (7, 8)])
def test_runs_of_elements_find_their_channels_in_both_orientations(axis: int, cuts: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(0)
    base, expert = torch.randn(2, 3, 5, generator=generator)
    activity = torch.rand((3, 5)[axis], generator=generator)
    info = TensorInfo("h.0.mlp.c_fc.weight", (3, 5), Role.LINEAR, 0, 0, axis)
    method = Aim(inner="task_arithmetic lambda=1", omega=0.25)
    found, start = [], 0
    for n in cuts:
        run_of = slice(start, start + n)
        piece = Piece(
            info,
            base.flatten()[run_of],
            expert.flatten()[run_of][None],
            (1.0,),
            start,
            {"channels": (activity,)},
        )
        found.append(method.merge(Unit("h.0.mlp.c_fc", {"weight": piece}), Seen()).pieces["weight"])
        start += n
    expected = relax(base.numpy(), expert.numpy(), activity.numpy(), 0.25, input_axis=axis)
    torch.testing.assert_close(
        torch.cat(found).view(3, 5).double(), torch.from_numpy(expected).double(), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"inner": "tise"}, "unknown method 'tise'. Did you mean 'ties'?"),
        ({"inner": "ties kep=0.3"}, "unknown parameter of ties 'kep'. Did you mean 'keep'?"),
        ({"inner": "ties keep=3"}, "keep='3': Input should be less than or equal to 1"),
        ({"inner": "ties keep"}, "'keep' is not name=value"),
        ({"inner": "ties keep=0.1 keep=0.2"}, "gives a parameter twice"),
        ({"inner": "ties density=0.2"}, "ties calls 'density' 'keep'"),
        ({"inner": "ties norms=base"}, "set it beside inner"),
        ({"inner": "aim"}, "cannot be the inner method"),
        ({"inner": ""}, "unknown method ''"),
        ({"inner": "fim_ties", "embeddings": "base"}, "fim_ties embeddings='base'"),
        ({"omega": "1.5"}, "omega='1.5' is not allowed"),
    ],
)
def test_a_wrong_inner_method_is_refused_with_the_nearest_name(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as error:
        build_method("aim", settings)
    assert said in str(error.value)


def test_what_is_recorded_of_a_method_includes_the_inner_one(tmp_path: Path) -> None:
    for name in ("base", "expert"):
        write_checkpoint(tmp_path / name, qwen2_tensors(0))
    recipe = build_recipe("aim", {"inner": "fim_ties"}, str(tmp_path / "base"), [str(tmp_path / "expert")])
    aim, inner = method_rows(recipe)
    assert (aim["method"], aim["reconstructed"]) == ("aim", None)
    assert inner["method"] == "fim_ties" and inner["reconstructed"]


def test_units_experts_needs_and_passes_are_the_inners() -> None:
    plain, module, two = (build_method("aim", {"inner": inner}) for inner in ("ties", "fim_ties", "regmean"))
    assert (plain.unit, module.unit, two.unit) == ("element", "module", "tensor")
    assert (plain.min_experts, two.min_experts) == (1, 2)
    assert module.weights == "none"
    assert [need.name for need in two.needs()] == ["gram", "channels"]
    assert len(plain.passes()) == len(build_method("ties", {}).passes())
    assert plain.wraps() == ("ties",)
    assert label("aim", build_method("aim", {"inner": "ties keep=0.3"})) == "aim inner=ties keep=0.3"


def _channels(base: Tensors) -> Tensors:
    """Random activity for every matrix, norm and the head."""
    generator = torch.Generator().manual_seed(9)
    return {
        name: torch.rand(tensor.shape[-1], generator=generator)
        for name, tensor in sorted(base.items())
        if is_matrix(name) or "norm" in name or name == "lm_head.weight"
    }


def _planted(inner: str, base: Tensors) -> dict[str, Any]:
    """What the inner method needs."""
    matrices = {name: tensor for name, tensor in base.items() if is_matrix(name)}
    if inner.startswith("regmean"):
        eye = {name: torch.eye(tensor.shape[1]) for name, tensor in matrices.items()}
        return {"gram": [eye, {name: 2 * g for name, g in eye.items()}]}
    if inner.startswith("fim"):
        return {"fisher": {name: tensor.abs() for name, tensor in matrices.items()}}
    return {}
