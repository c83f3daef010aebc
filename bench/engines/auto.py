"""Engine `auto`: vLLM where it is installed and suits the model, else `hf`. Answers are recorded under the one taken.

The rule looks at the machine and the checkpoint, never at how much there is to do: a run that goes on where another
was killed must choose the same.
"""

from __future__ import annotations

import ast
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from bench.engines import hf, vllm
from bench.engines.contract import EngineOptions
from bench.engines.texts import parameters

TAKES = vllm.TAKES | hf.TAKES
CLASSIFIES = True
# Below, vLLM takes longer to start (half a minute) than `hf` to answer a suite: the zoo's models.
MIN_PARAMETERS = 50_000_000
DRIVER = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True)
class Picked:
    """The engine that `auto` takes, and why."""

    name: str
    why: str


def pick(path: Path, options: EngineOptions) -> Picked:
    """`vllm` or `hf` for the checkpoint at `path`, and why."""
    reason = _against_vllm(path, options)
    if reason is not None:
        return Picked("hf", reason)
    return Picked("vllm", f"vLLM {vllm.installed()} is installed and knows this architecture")


def _against_vllm(path: Path, options: EngineOptions) -> str | None:
    """The first reason not to take vLLM; None when there is none."""
    if options.labels or options.answers == "labels":
        return "labels are chosen under a classifier's head, which vLLM does not do"
    package = vllm.package()
    if package is None:
        return "vLLM is not installed (`make vllm`)"
    if package == "vllm" and not DRIVER.exists():
        return "this vLLM is the one for GPUs, and there is no NVIDIA driver"
    config = path / "config.json"
    if not config.is_file():
        return "the checkpoint is not here"
    size = parameters(path)
    if size < MIN_PARAMETERS:
        return (
            f"a model of {size / 1e6:,.1f} million parameters (below {MIN_PARAMETERS // 10**6}) is answered "
            "sooner than vLLM starts"
        )
    kinds = json.loads(config.read_text(encoding="utf-8")).get("architectures") or []
    if not set(kinds) & known_architectures():
        return f"vLLM does not list the architecture {', '.join(kinds) or 'that config.json does not name'}"
    return None


def known_architectures() -> set[str]:
    """Architectures of text models in the installed vLLM's list, read from its source: importing takes seconds."""
    spec = find_spec("vllm")
    if spec is None or spec.origin is None:
        return set()
    file = Path(spec.origin).parent / "model_executor" / "models" / "registry.py"
    wanted = {"_TEXT_GENERATION_MODELS", "_MULTIMODAL_MODELS", "_TRANSFORMERS_SUPPORTED_MODELS"}
    found: set[str] = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Dict)
            and wanted & set(_names(targets))
        ):
            found |= {str(key.value) for key in node.value.keys if isinstance(key, ast.Constant)}
    return found


def _names(targets: list[ast.expr]) -> list[str]:
    return [target.id for target in targets if isinstance(target, ast.Name)]
