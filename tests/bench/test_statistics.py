"""Random-token Fisher and module inputs against plain autograd, and the statistics kept on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import PreTrainedModel

from bench.alignment.align import align
from bench.errors import BadInput
from bench.merging.merge import Place, quiet
from bench.recipe import Recipe, build_recipe
from bench.statistics import DATA, RECORD, Statistic, provide, subjects
from bench.statistics.random_tokens import fisher, module_inputs
from tests.helpers.models import gpt2, qwen2, save

TOKENS = torch.randint(0, 17, (3, 9), generator=torch.Generator().manual_seed(1))
WANTED = {
    "qwen2": {
        "model.layers.0.self_attn.q_proj.weight", "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.self_attn.k_proj.bias", "model.embed_tokens.weight", "lm_head.weight",
    },
    "qwen2 tied": {"model.layers.0.mlp.down_proj.weight", "model.embed_tokens.weight"},
    "gpt2": {"transformer.h.0.attn.c_attn.weight", "transformer.h.1.mlp.c_fc.bias", "transformer.wte.weight"},
}  # fmt: skip


def _model(name: str) -> PreTrainedModel:
    return gpt2(0) if name == "gpt2" else qwen2(0, tied=name == "qwen2 tied")


def _plain_fisher(model: PreTrainedModel, tokens: Tensor, name: str) -> Tensor:
    """One example at a time with torch.autograd.grad on transformers' own loss."""
    parameter = model.get_parameter(name)
    squares = []
    for row in tokens:
        loss = model(input_ids=row[None], labels=row[None]).loss
        squares.append(torch.autograd.grad(loss, parameter)[0] ** 2)
    return torch.stack(squares).mean(0)


@pytest.mark.parametrize("name", WANTED)
def test_fisher_is_the_mean_squared_gradient_one_example_at_a_time(name: str) -> None:
    expected = {parameter: _plain_fisher(_model(name), TOKENS, parameter) for parameter in WANTED[name]}
    found = fisher(_model(name), TOKENS, len(TOKENS), WANTED[name])
    assert set(found) == WANTED[name]
    for parameter, values in expected.items():
        assert values.max() > 0
        torch.testing.assert_close(found[parameter], values, atol=1e-9, rtol=2e-5)


def test_the_fisher_is_not_the_square_of_a_batch_gradient() -> None:
    """Guards the oracle itself: both quantities exist and differ."""
    name = "model.layers.0.mlp.up_proj.weight"
    model = qwen2(0)
    batch = (
        torch.autograd.grad(model(input_ids=TOKENS, labels=TOKENS).loss, model.get_parameter(name))[0] ** 2
    )
    assert not torch.allclose(fisher(qwen2(0), TOKENS, 3, {name})[name], batch, rtol=0.1)


def test_module_inputs_are_what_each_matrix_multiplies() -> None:
    model = gpt2(0)
    names = ("transformer.h.1.mlp.c_fc", "transformer.h.0.attn.c_proj")
    found = module_inputs(
        model, TOKENS, {f"{module}.weight": model.get_submodule(module) for module in names}
    )
    with torch.no_grad():
        states = model(input_ids=TOKENS, output_hidden_states=True)
        block = model.transformer.h[1]
        after = states.hidden_states[1] + block.attn(block.ln_1(states.hidden_states[1]))[0]
        expected = block.ln_2(after).flatten(0, 1)
    assert found["transformer.h.0.attn.c_proj.weight"].shape == (27, 8)
    torch.testing.assert_close(found["transformer.h.1.mlp.c_fc.weight"], expected, atol=1e-5, rtol=1e-4)


def test_module_inputs_reproduce_a_linear_output() -> None:
    model = qwen2(0)
    name = "model.layers.1.self_attn.v_proj"
    outputs: list[Tensor] = []
    model.get_submodule(name).register_forward_hook(lambda m, args, out: outputs.append(out.flatten(0, 1)))
    found = module_inputs(model, TOKENS, {name: model.get_submodule(name)})[name]
    own = found @ model.get_parameter(f"{name}.weight").T + model.get_parameter(f"{name}.bias")
    torch.testing.assert_close(own, torch.cat(outputs), atol=1e-5, rtol=1e-4)


def test_the_tokens_are_one_draw_of_a_seeded_generator_over_the_vocabulary(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, samples=3, length=9, seed=5)
    found = _provide(recipe, tmp_path)
    tokens = torch.randint(0, 17, (3, 9), generator=torch.Generator().manual_seed(5))
    expected = fisher(qwen2(0), tokens, 3, set(found.tensors))
    stored = load_file(tmp_path / "statistics" / found.id / DATA)
    assert set(stored) == {name for name in stored if name.endswith("_proj.weight")} and len(stored) == 14
    for name, values in expected.items():
        torch.testing.assert_close(stored[name], values, atol=1e-9, rtol=2e-5)


def test_a_statistic_is_computed_once_and_then_read(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    first = _provide(recipe, tmp_path)
    file = tmp_path / "statistics" / first.id / DATA
    written = file.stat().st_mtime_ns
    second = _provide(recipe, tmp_path)
    assert (first.reused, second.reused) == (False, True)
    assert second.id == first.id and second.seconds == first.seconds > 0
    assert file.stat().st_mtime_ns == written


def test_a_statistic_cut_off_before_its_record_is_computed_again(tmp_path: Path) -> None:
    recipe = _recipe(tmp_path)
    first = _provide(recipe, tmp_path)
    folder = tmp_path / "statistics" / first.id
    (folder / RECORD).unlink()
    (folder / DATA).unlink()
    folder.rename(folder.with_name(f".{first.id}.partial"))
    assert not _provide(recipe, tmp_path).reused


@pytest.mark.parametrize(
    "change", [{"seed": 43}, {"samples": 3}, {"length": 7}, {"fisher_dtype": "bfloat16"}], ids=str
)
def test_what_changes_the_numbers_changes_the_identity(change: dict[str, Any], tmp_path: Path) -> None:
    first = _provide(_recipe(tmp_path), tmp_path)
    second = _provide(_recipe(tmp_path, **change), tmp_path)
    assert second.id != first.id and not second.reused


def test_other_weights_are_another_statistic(tmp_path: Path) -> None:
    first = _provide(_recipe(tmp_path), tmp_path)
    save(qwen2(9), tmp_path / "base")
    assert _provide(_recipe(tmp_path), tmp_path).id != first.id


def test_parameters_that_the_statistic_does_not_use_leave_it_alone(tmp_path: Path) -> None:
    first = _provide(_recipe(tmp_path), tmp_path)
    second = _provide(_recipe(tmp_path, keep=0.4, gate=0.5, granularity="module"), tmp_path)
    assert second.id == first.id and second.reused


def test_too_long_sequences_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"length=33 is longer than the 32 positions"):
        _provide(_recipe(tmp_path, length=33), tmp_path)
    with pytest.raises(BadInput, match=r"length=33 is longer than the 32 positions"):
        _provide(_recipe(tmp_path / "gpt2", model=gpt2(0), length=33), tmp_path)


def test_float16_gradients_are_refused_unless_a_wider_dtype_is_asked_for(tmp_path: Path) -> None:
    half = qwen2(0).half()
    with pytest.raises(BadInput, match="float16.*fisher_dtype=float32"):
        _provide(_recipe(tmp_path, model=half), tmp_path)
    assert not _provide(_recipe(tmp_path, model=half, fisher_dtype="float32"), tmp_path).reused


def _recipe(
    folder: Path,
    *,
    model: PreTrainedModel | None = None,
    samples: int = 2,
    length: int = 6,
    **parameters: Any,
) -> Recipe:
    """FIM-TIES of one small model with itself."""
    if model is not None or not (folder / "base").exists():
        save(model or qwen2(0), folder / "base")
    base = str(folder / "base")
    return build_recipe("fim_ties", {"samples": samples, "length": length, **parameters}, base, [base])


def _provide(recipe: Recipe, folder: Path) -> Statistic:
    place = Place(folder)
    (subject,) = subjects(recipe.method.needs()[0], recipe, align(recipe).targets)
    return provide(subject, folder=place.statistics, memory=place.fingerprints, say=quiet)
