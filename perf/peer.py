"""mergekit 0.1.5 in an environment of its own, and the merges of this benchmark as its YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from perf import environments


def ready() -> Path:
    """Folder of the environment's programs; installs it first if it is not there (about 40 s and 1.7 GB)."""
    return environments.ready("mergekit")


def config(
    method: str,
    base: Path,
    experts: Sequence[Path],
    parameters: Mapping[str, Any],
    per_model: Mapping[str, Any],
    dtype: str,
) -> str:
    """A mergekit YAML: `per_model` holds for every expert, `parameters` for the merge."""
    return yaml.safe_dump(
        {
            "merge_method": method,
            "base_model": str(base),
            "models": [{"model": str(path), "parameters": dict(per_model)} for path in experts],
            "parameters": dict(parameters),
            "dtype": dtype,
            "out_dtype": "bfloat16",
        },
        sort_keys=False,
    )


def command(config_file: Path, out: Path) -> list[str | Path]:
    """The command line that merges; what has nothing to do with weights is switched off."""
    program = environments.programs("mergekit") / "mergekit-yaml"
    return [program, config_file, out, "--no-copy-tokenizer", "--no-write-model-card", "--quiet"]
