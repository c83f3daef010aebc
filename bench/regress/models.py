"""Fixed models: small families of a base and four experts, the same on every machine.

Every value is made of raw integers of NumPy's Philox, whose stream NumPy promises never to change (NEP 19),
by arithmetic that IEEE 754 rounds in one way only. Files are laid out here, byte by byte, because a random mask
is keyed by an expert's fingerprint.

Task vectors hold what methods must decide on: entries that are 0 in some or in all experts, equal magnitudes with
their own signs, experts that agree exactly, sums that cancel exactly, more negative ones than positive,
and different sizes from tensor to tensor.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench.identity import digest
from bench.models.stored import header_bytes

if TYPE_CHECKING:
    from torch import Tensor

EXPERTS = 4
SIZES = (0.25, 0.125, 0.5, 0.0078125)  # of task vectors, from tensor to tensor
SOME_ZERO, ZERO, EQUAL, AGREEING, CANCELLING = range(5)  # kinds of entries; all other draws: on their own

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Family:
    """A base and its experts: config, shapes by tensor name in file order, and the dtype of every tensor."""

    name: str
    config: Mapping[str, Any]
    shapes: Mapping[str, tuple[int, ...]]
    dtype: str = "F32"

    @cached_property
    def base(self) -> dict[str, Tensor]:
        """The base's tensors as stored."""
        return {name: self._stored(self._base(name)) for name in self.shapes}

    @cached_property
    def experts(self) -> tuple[dict[str, Tensor], ...]:
        """The experts' tensors as stored."""
        moved = {name: self._base(name) + self._deltas(name) for name in self.shapes}
        return tuple({name: self._stored(moved[name][m]) for name in self.shapes} for m in range(EXPERTS))

    @cached_property
    def scale(self) -> float:
        """Root mean square of all task vectors: the unit of differences."""
        squares = [
            (expert[name].double() - self.base[name].double()).square()
            for expert in self.experts
            for name in self.shapes
        ]
        return float(sum(float(s.sum()) for s in squares) / sum(s.numel() for s in squares)) ** 0.5

    @cached_property
    def digest(self) -> str:
        """Hash of everything that is written."""
        return digest([hashlib.blake2b(file, digest_size=10).hexdigest() for file in self._files().values()])

    def write(self, folder: Path) -> tuple[Path, list[Path]]:
        """Checkpoint folders of the base and of the experts, below `folder`."""
        for name, content in self._files().items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        return folder / "base", [folder / f"expert{m}" for m in range(EXPERTS)]

    def _files(self) -> dict[str, bytes]:
        models = {"base": self.base, **{f"expert{m}": expert for m, expert in enumerate(self.experts)}}
        config = json.dumps({**self.config, "dtype": {"F32": "float32", "BF16": "bfloat16"}[self.dtype]})
        files = {f"{model}/config.json": config.encode() for model in models}
        return files | {f"{name}/model.safetensors": self._file(model) for name, model in models.items()}

    def _file(self, tensors: Mapping[str, Tensor]) -> bytes:
        """A safetensors file."""
        import torch

        content = [tensor.contiguous().view(torch.uint8).numpy().tobytes() for tensor in tensors.values()]
        header = header_bytes({name: (self.dtype, tensor.shape) for name, tensor in tensors.items()})
        return header + b"".join(content)

    def _stored(self, values: Values) -> Tensor:
        import torch

        return torch.from_numpy(values).to({"F32": torch.float32, "BF16": torch.bfloat16}[self.dtype])

    def _base(self, name: str) -> Values:
        """Between -1 and 1 in steps of 1/128, about one in eight exactly 0."""
        n = prod(self.shapes[name])
        values = integers(f"{self.name}|base|{name}", n, 8) / 128.0 - 1
        return np.where(integers(f"{self.name}|empty|{name}", n, 3) == 0, 0.0, values).reshape(
            self.shapes[name]
        )

    def _deltas(self, name: str) -> Values:
        """Task vectors [EXPERTS, *shape]."""
        n, size = prod(self.shapes[name]), SIZES[list(self.shapes).index(name) % len(SIZES)]
        own = np.stack([integers(f"{self.name}|{m}|{name}", n, 20) for m in range(EXPERTS)]) / 2.0**19 - 1
        own *= np.abs(own)  # many small ones, few large
        turned = integers(f"{self.name}|turned|{name}", n, 2) == 0  # negative signs are the majority
        own = np.where(turned, -np.abs(own), own)
        kind = integers(f"{self.name}|kind|{name}", n, 4)
        coarse = (1 + integers(f"{self.name}|coarse|{name}", n, 2)) / 4.0
        alternating = np.array([1.0, -1.0, 1.0, -1.0])[:, None]
        absent = np.stack([integers(f"{self.name}|absent {m}|{name}", n, 1) for m in range(EXPERTS)]) == 0
        found = np.where((kind == SOME_ZERO) & absent, 0.0, own)
        for which, values in (
            (ZERO, np.zeros_like(own)),
            (EQUAL, coarse * np.sign(own)),
            (AGREEING, np.broadcast_to(own[0], own.shape)),
            (CANCELLING, coarse * alternating),
        ):
            found = np.where(kind == which, values, found)
        return (size * found).reshape(EXPERTS, *self.shapes[name])


def integers(what: str, n: int, bits: int) -> NDArray[np.int64]:
    """[n] integers of that many bits, in a stream of their own named `what`."""
    key = int.from_bytes(hashlib.blake2b(what.encode(), digest_size=16).digest(), "big")
    raw = np.random.Philox(key=key).random_raw(n)
    return (raw >> np.uint64(64 - bits)).astype(np.int64)


def _qwen2(blocks: int, *, tied: bool) -> dict[str, Any]:
    return {
        "architectures": ["Qwen2ForCausalLM"],
        "model_type": "qwen2",
        "vocab_size": 7,
        "hidden_size": 6,
        "intermediate_size": 5,
        "num_hidden_layers": blocks,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "max_position_embeddings": 16,
        "tie_word_embeddings": tied,
    }


def _qwen2_shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    hidden, inner, vocab, narrow = config["hidden_size"], config["intermediate_size"], config["vocab_size"], 3
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocab, hidden)}
    for i in range(config["num_hidden_layers"]):
        layer = f"model.layers.{i}"
        found[f"{layer}.input_layernorm.weight"] = (hidden,)
        for part, rows in (("q", hidden), ("k", narrow), ("v", narrow)):
            found[f"{layer}.self_attn.{part}_proj.weight"] = (rows, hidden)
            found[f"{layer}.self_attn.{part}_proj.bias"] = (rows,)
        found[f"{layer}.self_attn.o_proj.weight"] = (hidden, hidden)
        found[f"{layer}.post_attention_layernorm.weight"] = (hidden,)
        found[f"{layer}.mlp.gate_proj.weight"] = (inner, hidden)
        found[f"{layer}.mlp.up_proj.weight"] = (inner, hidden)
        found[f"{layer}.mlp.down_proj.weight"] = (hidden, inner)
    found["model.norm.weight"] = (hidden,)
    return found


def _untied() -> Family:
    config = _qwen2(3, tied=False)
    return Family("qwen2", config, {**_qwen2_shapes(config), "lm_head.weight": (7, 6)})


def _tied() -> Family:
    config = _qwen2(1, tied=True)
    return Family("tied bf16", config, _qwen2_shapes(config), "BF16")


def _classifier() -> Family:
    config = {**_qwen2(1, tied=False), "architectures": ["Qwen2ForSequenceClassification"], "num_labels": 3}
    return Family("classifier", config, {**_qwen2_shapes(config), "score.weight": (3, 6)})


def _gpt2() -> Family:
    """Conv1D matrices are [in, out]."""
    config = {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": 11,
        "n_embd": 4,
        "n_layer": 1,
        "n_head": 2,
        "n_positions": 5,
        "tie_word_embeddings": True,
    }
    shapes: dict[str, tuple[int, ...]] = {"transformer.wte.weight": (11, 4), "transformer.wpe.weight": (5, 4)}
    for part, shape in (
        ("ln_1", (4,)),
        ("attn.c_attn", (4, 12)),
        ("attn.c_proj", (4, 4)),
        ("ln_2", (4,)),
        ("mlp.c_fc", (4, 16)),
        ("mlp.c_proj", (16, 4)),
    ):
        shapes[f"transformer.h.0.{part}.weight"] = shape
        shapes[f"transformer.h.0.{part}.bias"] = (shape[-1],)
    shapes |= {"transformer.ln_f.weight": (4,), "transformer.ln_f.bias": (4,)}
    return Family("gpt2", config, shapes)


FAMILIES: Mapping[str, Family] = {
    family.name: family for family in (_untied(), _tied(), _gpt2(), _classifier())
}
