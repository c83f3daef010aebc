"""What mergekit 0.1.5 itself makes of tiny models: cases, their inputs, and the program that stores its outputs.

    python -m tests.goldens.mergekit            run mergekit (in perf/.venv-mergekit) and store what it writes
    python -m tests.goldens.mergekit --check    run it again, also on the YAML that `bench plan --write-mergekit`
                                                writes for each case; 1 if anything differs from what is stored

Tests read only the stored file, so they need no mergekit. Inputs are drawn from NumPy's frozen legacy generator.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from safetensors.torch import load_file, save_file
from torch import Tensor

from tests.helpers.checkpoints import QWEN2, Tensors, shapes, tensors_of

STORED = Path(__file__).with_name("mergekit.safetensors")

QWEN = {
    **QWEN2,
    "vocab_size": 50,
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
GPT2 = {
    "architectures": ["GPT2LMHeadModel"],
    "model_type": "gpt2",
    "vocab_size": 40,
    "n_embd": 12,
    "n_layer": 2,
    "n_head": 2,
    "n_positions": 16,
    "tie_word_embeddings": True,
    "dtype": "bfloat16",
}
CONFIGS = {"qwen2": QWEN, "gpt2": GPT2}
# Standard deviation of the task vectors: coarse ones, and as small as fine-tuning makes them.
DELTAS = {"coarse": 0.1, "fine": 3e-4}
CANCELLING = 4  # first entries of the last norm, where the task vectors sum to zero


@dataclass(frozen=True)
class Case:
    """One merge. `parameters` and `models` (weights and the like of each expert) are mergekit's."""

    method: str
    parameters: dict[str, Any] = field(default_factory=dict)
    models: tuple[dict[str, Any], ...] = ({}, {}, {})
    model: str = "qwen2"
    deltas: str = "coarse"
    dtype: str = "float32"

    def config(self, folder: Path) -> dict[str, Any]:
        """The YAML's content, for models that lie in `folder`."""
        base = folder / f"{self.model}-{self.deltas}-base"
        listed = [
            {"model": str(folder / f"{self.model}-{self.deltas}-{i}"), "parameters": own}
            for i, own in enumerate(self.models)
        ]
        if self.method == "linear":
            listed.append({"model": str(base), "parameters": {"weight": 0.0}})
        return {
            "merge_method": self.method,
            "base_model": str(base),
            "models": listed,
            "parameters": self.parameters,
            "dtype": self.dtype,
            "out_dtype": "bfloat16",
        }


def _each(*weights: float, **same: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"weight": weight, **same} for weight in weights)


CASES = {
    "linear": Case("linear", {}, _each(1.0, 2.0, 0.5)),
    "task_arithmetic": Case("task_arithmetic", {"lambda": 0.4}, _each(1.0, -0.5, 2.0)),
    "task_arithmetic_mean": Case("task_arithmetic", {"normalize": True}, _each(1.0, 0.5, 2.0)),
    "task_arithmetic_bf16": Case("task_arithmetic", {"lambda": 0.4}, _each(1.0, 1.0, 1.0), dtype="bfloat16"),
    "ties": Case("ties", {"normalize": True}, _each(1.0, 1.0, 1.0, density=0.2)),
    "ties_sum": Case("ties", {"normalize": False, "lambda": 0.7}, _each(1.0, 0.5, 2.0, density=0.55)),
    "ties_fine": Case("ties", {"normalize": True}, _each(1.0, 1.0, 1.0, density=0.5), deltas="fine"),
    "ties_floor": Case("ties", {"normalize": True}, _each(1.0, density=0.29)),
    "ties_zero_sum": Case("ties", {}, _each(1.0, 1.0, 1.0, density=1.0)),
    "dare_linear": Case("dare_linear", {"lambda": 0.6}, _each(1.0, 0.5, 2.0, density=1.0)),
    "dare_linear_half": Case("dare_linear", {}, _each(1.0, density=0.5)),
    "dare_ties": Case("dare_ties", {"lambda": 0.6}, _each(1.0, 0.5, 2.0, density=1.0)),
    "dare_ties_half": Case("dare_ties", {"normalize": True}, _each(1.0, density=0.5)),
    "slerp": Case("slerp", {"t": 0.3}, ({},)),
    "slerp_fine": Case("slerp", {"t": 0.3}, ({},), deltas="fine"),
    "sce": Case("sce", {"select_topk": 0.6}),
    "sce_fine": Case("sce", {}, deltas="fine"),
    "model_stock": Case("model_stock"),
    "gpt2_ties": Case("ties", {"normalize": True}, _each(1.0, 1.0, 1.0, density=0.4), model="gpt2"),
    "gpt2_task_arithmetic": Case("task_arithmetic", {}, _each(0.3, 0.3, 0.3), model="gpt2"),
    "gpt2_model_stock_fine": Case("model_stock", model="gpt2", deltas="fine"),
}


def gpt2_shapes(config: dict[str, Any]) -> dict[str, tuple[int, ...]]:
    """Every tensor of a GPT-2 checkpoint; block matrices are Conv1D's, [in, out]."""
    n = config["n_embd"]
    found: dict[str, tuple[int, ...]] = {
        "transformer.wte.weight": (config["vocab_size"], n),
        "transformer.wpe.weight": (config["n_positions"], n),
    }
    for i in range(config["n_layer"]):
        block = f"transformer.h.{i}"
        for norm in ("ln_1", "ln_2"):
            found |= {f"{block}.{norm}.weight": (n,), f"{block}.{norm}.bias": (n,)}
        sizes = {
            "attn.c_attn": (n, 3 * n),
            "attn.c_proj": (n, n),
            "mlp.c_fc": (n, 4 * n),
            "mlp.c_proj": (4 * n, n),
        }
        for part, shape in sizes.items():
            found |= {f"{block}.{part}.weight": shape, f"{block}.{part}.bias": (shape[1],)}
    return {**found, "transformer.ln_f.weight": (n,), "transformer.ln_f.bias": (n,)}


def tensors(model: str, deltas: str) -> list[Tensors]:
    """Base and three experts in bf16; task vectors are exact differences of what is stored."""
    draw = np.random.RandomState(7)
    names = shapes(QWEN) if model == "qwen2" else gpt2_shapes(GPT2)
    base = {name: torch.from_numpy(draw.standard_normal(shape) * 0.3) for name, shape in names.items()}
    base = {name: values.bfloat16() for name, values in base.items()}
    experts = [
        {
            name: (
                values.double() + DELTAS[deltas] * torch.from_numpy(draw.standard_normal(values.shape))
            ).bfloat16()
            for name, values in base.items()
        }
        for _ in range(3)
    ]
    # Task vectors that cancel exactly: the elected sign of a sum of zero is a matter of definition.
    last = next(name for name in base if name in ("model.norm.weight", "transformer.ln_f.weight"))
    for values, moved in zip((base, *experts), (0.0, 0.25, -0.25, 0.0), strict=True):
        values[last][:CANCELLING] = 1 + moved
    return [base, *experts]


def write_models(folder: Path) -> None:
    """All models of all cases, as checkpoint folders."""
    for model, config in CONFIGS.items():
        for deltas in DELTAS:
            for name, values in zip(("base", "0", "1", "2"), tensors(model, deltas), strict=True):
                path = folder / f"{model}-{deltas}-{name}"
                path.mkdir()
                (path / "config.json").write_text(json.dumps(config))
                save_file(values, path / "model.safetensors", metadata={"format": "pt"})


def flat(found: Tensors) -> Tensor:
    """All tensors of a model as one vector, in the order of their names."""
    return torch.cat([found[name].reshape(-1) for name in sorted(found)])


def unflat(values: Tensor, model: str) -> Tensors:
    """The tensors that `flat` joined."""
    like = {name: tensor.shape for name, tensor in sorted(tensors(model, "coarse")[0].items())}
    parts = values.split([shape.numel() for shape in like.values()])
    return {name: part.view(shape) for (name, shape), part in zip(like.items(), parts, strict=True)}


def expected(case: str) -> Tensors:
    """What mergekit wrote for a case."""
    return unflat(load_file(STORED)[case], CASES[case].model)


def made_by_mergekit(folder: Path, case: str, config: str) -> Tensor:
    """Run mergekit on a YAML; the result, flat. The seed makes DARE's masks the same each time."""
    from perf import peer

    file, out = folder / f"{case}.yml", folder / f"{case}-out"
    file.write_text(config)
    shutil.rmtree(out, ignore_errors=True)
    command = [*map(str, peer.command(file, out)), "--random-seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{case}: {done.stderr}"
    made = flat(tensors_of(out)).contiguous()
    assert len(made) == len(flat(tensors(CASES[case].model, CASES[case].deltas)[0])), case
    return made


def differing(folder: Path) -> list[str]:
    """Cases of which mergekit now makes something else: from the case's YAML, or from the one that we write of it."""
    from bench.mergekit import recipe_of, write_mergekit

    stored, found = load_file(STORED), []
    for case, what in CASES.items():
        given = folder / f"{case}-given.yml"
        given.write_text(yaml.safe_dump(what.config(folder)))
        made = {"given": made_by_mergekit(folder, case, given.read_text())}
        if what.dtype == "float32":  # what we write computes in float32 always
            made["written by us"] = made_by_mergekit(folder, case, write_mergekit(recipe_of(given, {})))
        found += [
            f"{case} ({which})" for which, result in made.items() if not torch.equal(result, stored[case])
        ]
    return found


def main() -> int:
    """Store or check; the exit code."""
    from perf import peer

    peer.ready()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder)
        if "--check" in sys.argv:
            found = differing(folder)
            print(f"differing: {', '.join(found) or 'none'}")
            return bool(found)
        made = {
            case: made_by_mergekit(folder, case, yaml.safe_dump(what.config(folder)))
            for case, what in CASES.items()
        }
    save_file(made, STORED)
    print(f"{STORED.name}: {len(made)} cases, {STORED.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
