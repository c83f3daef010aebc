"""calibration=residual works on the modules that write to the residual stream, whatever they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.errors import BadInput
from bench.merging.merge import Place, merge
from bench.recipe import build_recipe
from methods.common.fim_modules import writes_residual
from tests.helpers.checkpoints import Tensors, tensors_of
from tests.helpers.models import gpt2, save
from tests.methods.harness import UP, matrix, run

WRITERS = (
    "model.layers.0.self_attn.o_proj",
    "model.layers.11.mlp.down_proj",
    "transformer.h.0.attn.c_proj",
    "h.1.mlp.c_proj",
    "vision_model.encoder.layers.0.self_attn.out_proj",
    "encoder.layers.3.mlp.fc2",
)
OTHERS = (
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.mlp.up_proj",
    "model.layers.0.mlp.two_proj",  # ends with "o_proj"
    "transformer.h.0.attn.c_attn",
    "h.1.mlp.c_fc",
    "encoder.layers.3.self_attn.v_proj",
    "encoder.layers.3.mlp.fc1",
)


@pytest.mark.parametrize(("module", "writes"), [(m, True) for m in WRITERS] + [(m, False) for m in OTHERS])
def test_writers_are_known_by_their_whole_names(module: str, writes: bool) -> None:
    assert writes_residual(module) is writes


def test_on_gpt2_both_projections_of_a_block_are_calibrated_and_nothing_else(tmp_path: Path) -> None:
    """With a tolerance of 0 every module that is looked at is rescaled: by calibration=module all of them."""
    for seed, name in enumerate(("base", "expert")):
        save(gpt2(seed), tmp_path / name)
    merged, looked_at = {}, {}
    for calibration in ("off", "residual", "module"):
        merged[calibration], looked_at[calibration] = _merged(tmp_path, calibration)
    blocks = [f"transformer.h.{i}" for i in range(2)]
    assert looked_at["off"] == set() and looked_at["module"] > looked_at["residual"]
    assert looked_at["residual"] == {f"{block}.{part}.c_proj" for block in blocks for part in ("attn", "mlp")}
    for name, values in merged["residual"].items():
        writes = name.rpartition(".")[0] in looked_at["residual"]
        assert torch.equal(values, merged["module" if writes else "off"][name]), name
        assert not writes or not torch.equal(values, merged["off"][name]), name


def _merged(folder: Path, calibration: str) -> tuple[Tensors, set[str]]:
    """The merged tensors, and the modules whose output norms were compared."""
    settings: dict[str, Any] = {"calibration": calibration, "tolerance": 0, "samples": 1, "length": 8}
    recipe = build_recipe("fim_ta", settings, str(folder / "base"), [str(folder / "expert")])
    result = merge(recipe, folder / calibration, Place(folder / "runs"))
    ratios = {layer for layer, metric, _ in result.manifest["layers"] if metric == "calibration_ratio"}
    return tensors_of(result.path), ratios


def test_a_model_without_such_modules_is_refused() -> None:
    base, expert = matrix([1.0, 2]), matrix([2.0, 2])
    with pytest.raises(
        BadInput,
        match=r"'coefficients' .*calibration=residual .* \.attn\.c_proj.* of the 1 merged ones none is",
    ):
        run("fim_ta", base, [expert], statistics={"fisher": {UP: torch.ones(1, 2)}}, calibration="residual")
