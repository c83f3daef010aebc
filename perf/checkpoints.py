"""Random checkpoints of Qwen2 shape, written as a stream: a base, and experts that differ by fine-tuning noise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import BinaryIO

import torch

from bench.models.stored import header_bytes

RUN = 1 << 22  # elements drawn and written at once
WEIGHT_SCALE = 0.02  # standard deviation of the base's matrices, as transformers initialises them
TUNING_SCALE = 3e-4  # that of a task vector: mean square about 1e-7, a few bf16 steps of a typical weight
METADATA = {"format": "pt"}  # as transformers writes it
RECORD = "perf.json"  # written last: what a folder holds, so that it is reused only for the same


@dataclass(frozen=True)
class Shape:
    """A Qwen2 architecture with tied embeddings."""

    name: str
    hidden: int
    intermediate: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int = 151_936

    def tensors(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Names and shapes of the checkpoint, in file order."""
        h, kv = self.hidden, self.hidden // self.heads * self.kv_heads
        yield "model.embed_tokens.weight", (self.vocabulary, h)
        for layer in range(self.layers):
            block = f"model.layers.{layer}"
            yield f"{block}.input_layernorm.weight", (h,)
            for gate in ("gate_proj", "up_proj"):
                yield f"{block}.mlp.{gate}.weight", (self.intermediate, h)
            yield f"{block}.mlp.down_proj.weight", (h, self.intermediate)
            yield f"{block}.post_attention_layernorm.weight", (h,)
            for part, rows in (("q", h), ("k", kv), ("v", kv)):
                yield f"{block}.self_attn.{part}_proj.weight", (rows, h)
                yield f"{block}.self_attn.{part}_proj.bias", (rows,)
            yield f"{block}.self_attn.o_proj.weight", (h, h)
        yield "model.norm.weight", (h,)

    @property
    def parameters(self) -> int:
        """Number of elements."""
        return sum(prod(shape) for _, shape in self.tensors())

    @property
    def nbytes(self) -> int:
        """Bytes of one bf16 checkpoint."""
        return 2 * self.parameters

    def config(self) -> dict[str, object]:
        """What config.json says."""
        return {
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_act": "silu",
            "hidden_size": self.hidden,
            "intermediate_size": self.intermediate,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.kv_heads,
            "vocab_size": self.vocabulary,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "rope_theta": 1_000_000.0,
            "tie_word_embeddings": True,
            "torch_dtype": "bfloat16",
            "bos_token_id": 0,
            "eos_token_id": 1,
        }


LARGE = Shape("qwen2-1.5b", 1536, 8960, 28, 12, 2)
SMALL = Shape("qwen2-0.5b", 896, 4864, 24, 14, 2)
QUICK = Shape("qwen2-quick", 96, 256, 3, 6, 2, vocabulary=4096)
QUICK_SMALL = Shape("qwen2-quick-small", 64, 128, 2, 4, 2, vocabulary=2048)


def models_of(shape: Shape, experts: int, folder: Path) -> list[Path]:
    """Folders of the base and of `experts` experts; built unless they are there already."""
    names = ["base", *(f"expert-{i}" for i in range(1, experts + 1))]
    found = [folder / f"{shape.name}-{name}" for name in names]
    missing = [path for path in found if not _is_built(path, shape)]
    if missing:
        free = shutil.disk_usage(folder).free
        needed = len(missing) * shape.nbytes
        if free < needed + (1 << 30):
            raise SystemExit(
                f"{folder} has {free / 1e9:.0f} GB free; the {len(missing)} checkpoints of {shape.name} need "
                f"{needed / 1e9:.0f} GB: give another folder with --data"
            )
        print(f"building {len(missing)} checkpoints of {shape.name}, {needed / 1e9:.1f} GB", flush=True)
        _build(shape, found, {path: path in missing for path in found})
    return found


def _is_built(path: Path, shape: Shape) -> bool:
    try:
        return bool(json.loads((path / RECORD).read_text()) == _record(shape))
    except (OSError, ValueError):
        return False


def _record(shape: Shape) -> dict[str, object]:
    return {**asdict(shape), "weight_scale": WEIGHT_SCALE, "tuning_scale": TUNING_SCALE}


def _build(shape: Shape, paths: list[Path], write: dict[Path, bool]) -> None:
    """All models side by side, run by run: an expert is the base's run plus its own noise."""
    files: dict[Path, BinaryIO] = {}
    header = header_bytes({name: ("BF16", dims) for name, dims in shape.tensors()}, METADATA)
    for path in paths:
        if write[path]:
            shutil.rmtree(path, ignore_errors=True)
            path.mkdir(parents=True)
            files[path] = (path / "model.safetensors").open("wb")
            files[path].write(header)
    draws = {path: torch.Generator().manual_seed(seed) for seed, path in enumerate(paths, 1)}
    for _, dims in shape.tensors():
        n = prod(dims)
        for start in range(0, n, RUN):
            length = min(RUN, n - start)
            base = torch.randn(length, generator=draws[paths[0]]) * WEIGHT_SCALE
            if len(dims) == 1:
                base += 1.0
            base = base.bfloat16()
            for path in paths:
                if not write[path]:
                    continue
                noise = torch.randn(length, generator=draws[path]) * TUNING_SCALE if path != paths[0] else 0.0
                files[path].write(as_bytes((base.float() + noise).bfloat16()))
    for path, file in files.items():
        file.close()
        (path / "config.json").write_text(json.dumps(shape.config(), indent=2))
        (path / RECORD).write_text(json.dumps(_record(shape)))


def as_bytes(values: torch.Tensor) -> memoryview:
    """The bytes of a tensor, without a copy."""
    return memoryview(values.view(torch.uint8).numpy())
