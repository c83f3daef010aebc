"""Accepted results, one safetensors file per method, and the log of who was accepted when and why.

A case is one float32 vector of all its tensors in the order of their names; names, shapes and dtypes are kept once
for all cases that share them. The log has one JSON object a line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.regress.produce import Product, Written

if TYPE_CHECKING:
    from torch import Tensor

HERE = Path(__file__).parent / "goldens"
LOG = "accepted.jsonl"
KEY = "regress"


@dataclass(frozen=True)
class Accepted:
    """One line of the log: the cases that were new or had changed, why that is right, and the method's code."""

    date: str
    method: str
    cases: list[str]
    why: str
    code: str


def file_of(method: str, folder: Path) -> Path:
    """Where a method's goldens lie."""
    return folder / f"{method}.safetensors"


def stored_methods(folder: Path) -> list[str]:
    """Methods that have goldens."""
    return sorted(file.stem for file in folder.glob("*.safetensors"))


def load(method: str, folder: Path) -> dict[str, Product] | None:
    """A method's accepted results by case, None where there are none."""
    from safetensors import SafetensorError, safe_open

    file = file_of(method, folder)
    if not file.is_file():
        return None
    try:
        with safe_open(file, "pt") as opened:
            about = json.loads(opened.metadata()[KEY])
            return {
                title: _product(opened.get_tensor(title), case, about["layouts"])
                for title, case in about["cases"].items()
            }
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise BadInput(
            f"{file} is damaged ({error}): restore it with `git checkout`, or remove and accept it"
        ) from error


def save(method: str, products: Mapping[str, Product], folder: Path) -> None:
    """Write a method's results as accepted ones, whole or not at all."""
    import torch
    from safetensors.torch import save_file

    layouts: list[Any] = []
    cases, vectors = {}, {}
    for title, product in products.items():
        layout = [[name, t.dtype, list(t.shape)] for name, t in product.tensors.items()]
        if layout not in layouts:
            layouts.append(layout)
        cases[title] = {
            "layout": layouts.index(layout),
            "models": product.models,
            "needs": product.needs,
            "scale": product.scale,
        }
        vectors[title] = torch.cat([t.values for t in product.tensors.values()])
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".{method}.partial"
    save_file(vectors, draft, metadata={KEY: json.dumps({"layouts": layouts, "cases": cases})})
    draft.replace(file_of(method, folder))


def log(accepted: Accepted, folder: Path) -> None:
    """Append one line to the log."""
    with (folder / LOG).open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(accepted)) + "\n")


def today() -> str:
    """The date of a line."""
    return datetime.now(UTC).date().isoformat()


def _product(vector: Tensor, case: Mapping[str, Any], layouts: list[Any]) -> Product:
    tensors, start = {}, 0
    for name, dtype, shape in layouts[case["layout"]]:
        stop = start + prod(shape)
        tensors[name] = Written(dtype, tuple(shape), vector[start:stop])
        start = stop
    if start != len(vector):
        raise ValueError(f"{start} elements are described, {len(vector)} are there")
    return Product(tensors, case["models"], list(case["needs"]), float(case["scale"]))
