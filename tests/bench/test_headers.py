"""Headers that we write, as safetensors itself reads them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load, save

from bench.models.stored import header_bytes, read_header

TENSORS = {
    "b": torch.arange(6.0).reshape(2, 3),
    "a": torch.arange(3).bfloat16(),
    "none": torch.zeros(0, 4),
    "scalar": torch.tensor(2.5, dtype=torch.float64),
    "long": torch.arange(-2, 3),
}
ENTRIES = {
    "b": ("F32", (2, 3)),
    "a": ("BF16", (3,)),
    "none": ("F32", (0, 4)),
    "scalar": ("F64", ()),
    "long": ("I64", (5,)),
}
DATA = b"".join(tensor.reshape(-1).view(torch.uint8).numpy().tobytes() for tensor in TENSORS.values())


@pytest.mark.parametrize("metadata", [None, {"format": "pt"}])
def test_safetensors_reads_what_follows_a_header_of_ours(
    metadata: dict[str, str] | None, tmp_path: Path
) -> None:
    head = header_bytes(ENTRIES, metadata)
    assert len(head) % 8 == 0
    found = load(head + DATA)
    assert set(found) == set(TENSORS)
    for name, tensor in TENSORS.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor)
    (tmp_path / "it.safetensors").write_bytes(head + DATA)
    with safe_open(tmp_path / "it.safetensors", framework="pt") as file:
        assert file.metadata() == metadata
    assert [stored.name for stored in read_header(tmp_path / "it.safetensors")] == list(TENSORS)


def test_a_header_is_the_one_that_safetensors_writes() -> None:
    """For tensors of one dtype in the order of their names, which is the order in which it writes them."""
    tensors = {"a": torch.zeros(3), "b": torch.zeros(2, 5), "c": torch.zeros(1)}
    theirs = save(tensors, {"format": "pt"})
    ours = header_bytes({name: ("F32", t.shape) for name, t in tensors.items()}, {"format": "pt"})
    assert json.loads(ours[8:]) == json.loads(theirs[8 : len(theirs) - 4 * 14])
    assert theirs.startswith(ours)
