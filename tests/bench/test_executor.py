"""The executor: bytes that depend on inputs and parameters only, and inputs that are not numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from bench.alignment.align import align
from bench.errors import BadInput
from bench.merging.executor import execute
from bench.merging.job import Job
from bench.merging.merge import Place, merge, quiet
from bench.merging.workers import Workers
from bench.merging.writer import CheckpointWriter
from bench.recipe import Recipe, build_recipe
from methods.common.sums import CHUNK, chunk_sums, total
from tests.helpers.checkpoints import qwen2_tensors, tensors_of, write_checkpoint

WIDE: dict[str, Any] = {
    "vocab_size": 700,
    "hidden_size": 256,
    "intermediate_size": 1100,
    "num_hidden_layers": 1,
}


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def wide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A base and three experts whose tensors are longer than several chunks; coarse values, so that many tie."""
    folder = tmp_path_factory.mktemp(f"wide_{request.param}")
    dtype, paths = getattr(torch, request.param), []
    for seed in range(4):
        tensors = {n: ((t * 20).round() / 20).to(dtype) for n, t in qwen2_tensors(seed, **WIDE).items()}
        paths.append(write_checkpoint(folder / f"model{seed}", tensors, dtype=request.param, **WIDE))
    return paths


def written(recipe: Recipe, folder: Path, *, threads: int, block: int) -> bytes:
    """The merged weights as they are on disk."""
    folder.mkdir()
    job = Job(recipe, align(recipe), tuple(f"id{i}" for i in range(len(recipe.experts))), block=block)
    with CheckpointWriter(folder, job.alignment.targets) as writer:
        execute(job, writer, quiet, threads=threads)
        writer.close()
    return (folder / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("average", {"norms": "mean", "embeddings": "expert:0", "out_dtype": "bfloat16"}),
        ("task_arithmetic", {}),
        ("ties", {"scope": "tensor"}),
        ("ties", {"scope": "block", "trim_rule": "quantile"}),
        ("ties", {"scope": "model"}),
        ("dare", {"rescale": "l1"}),
        ("dare_ties", {"keep": 0.05}),
        ("localize_and_stitch", {}),
        ("sce", {"keep": 0.3}),
        ("model_stock", {}),
        ("pcb", {}),
        ("pcb", {"variant": "paper"}),
        ("pcb", {"variant": "paired", "clip": 0.02}),
    ],
)
def test_threads_and_block_size_change_no_byte(
    method: str, settings: dict[str, Any], wide: list[Path], tmp_path: Path
) -> None:
    recipe = build_recipe(method, settings, str(wide[0]), [str(path) for path in wide[1:]])
    one = written(recipe, tmp_path / "one", threads=1, block=CHUNK)
    assert written(recipe, tmp_path / "three", threads=3, block=CHUNK) == one
    assert written(recipe, tmp_path / "large", threads=2, block=8 * CHUNK) == one


@pytest.mark.parametrize("method", ["average", "task_arithmetic", "ties", "pcb", "slerp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_tensor_without_dimensions_is_merged_as_one_of_one_element(
    method: str, dtype: torch.dtype, tmp_path: Path
) -> None:
    name, merged = "model.layers.0.input_layernorm.weight", []
    for shape in ((), (1,)):
        folder = tmp_path / f"{len(shape)}"
        for seed in range(3):
            tensors = {n: t.to(dtype) for n, t in qwen2_tensors(seed).items()}
            tensors[name] = torch.full(shape, 0.5 + seed, dtype=dtype)
            write_checkpoint(folder / str(seed), tensors, dtype=str(dtype).removeprefix("torch."))
        recipe = build_recipe(method, {}, str(folder / "0"), [str(folder / "1"), str(folder / "2")])
        merge(recipe, folder / "out", Place(tmp_path / "runs"))
        merged.append(tensors_of(folder / "out")[name])
    assert merged[0].shape == () and torch.equal(merged[0], merged[1].squeeze())


def test_a_block_that_would_cut_a_chunk_is_refused(wide: list[Path], tmp_path: Path) -> None:
    recipe = build_recipe("average", {}, str(wide[0]), [str(wide[1])])
    with pytest.raises(ValueError, match="no multiple"):
        written(recipe, tmp_path / "out", threads=1, block=CHUNK + 8)


def test_chunk_sums_add_up_exactly_rounded() -> None:
    values = torch.randn(3 * CHUNK + 5, generator=torch.Generator().manual_seed(0)) * 1e3
    assert len(chunk_sums(values)) == 4
    parts = chunk_sums(values[:CHUNK]) + chunk_sums(values[CHUNK:])
    assert parts == chunk_sums(values)
    assert abs(total(parts) - float(values.double().sum())) < 1e-7


def test_results_come_in_order_and_the_first_failure_is_the_one_raised() -> None:
    with Workers(3) as workers:
        assert list(workers.ordered([lambda i=i: i * i for i in range(50)])) == [i * i for i in range(50)]

        def fail(i: int) -> int:
            if i >= 20:
                raise BadInput(f"task {i}")
            return i

        with pytest.raises(BadInput, match="task 20"):
            list(workers.ordered([lambda i=i: fail(i) for i in range(50)]))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("where", ["base", "expert"])
@pytest.mark.parametrize("settings", [{}, {"norms": "base"}, {"norms": "mean"}])
def test_what_is_not_finite_is_named_and_refused_unless_allowed(
    value: float, where: str, settings: dict[str, Any], tmp_path: Path
) -> None:
    name = "model.layers.1.input_layernorm.weight"
    models = {"base": qwen2_tensors(0), "expert": qwen2_tensors(1)}
    models[where][name][3] = value
    for model, tensors in models.items():
        write_checkpoint(tmp_path / model, tensors)
    paths = str(tmp_path / "base"), [str(tmp_path / "expert")]
    if where == "expert" and settings.get("norms") == "base":  # that tensor is not read
        merge(build_recipe("ties", settings, *paths), tmp_path / "out", Place(tmp_path / "runs"))
        return
    what = "NaN" if value != value else "infinity"
    with pytest.raises(BadInput, match=f"{where}: tensor '{name}' contains {what}"):
        merge(build_recipe("ties", settings, *paths), tmp_path / "out", Place(tmp_path / "runs"))
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    allowed = build_recipe("ties", {**settings, "nonfinite": "allow"}, *paths)
    result = merge(allowed, tmp_path / "out", Place(tmp_path / "runs"))
    kept = (
        where == "base" and settings.get("norms") != "mean"
    )  # of what else TIES and the mean keep, any may be
    assert kept <= (not bool(torch.isfinite(tensors_of(result.path)[name]).all()))
