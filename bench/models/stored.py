"""Tensors as safetensors files store them: headers, checked to the byte, and runs of elements read behind them."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

DTYPE_BYTES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
FLOAT_DTYPES = {"F64", "F32", "F16", "BF16"}
MAX_HEADER = 100_000_000


@dataclass(frozen=True)
class Stored:
    """Where one tensor lies: safetensors dtype name, shape, file, and byte range within the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    begin: int
    end: int

    @property
    def nbytes(self) -> int:
        """Bytes on disk."""
        return self.end - self.begin


def read_stored(stored: Stored, start: int = 0, stop: int | None = None) -> Tensor:
    """A flat run of elements of a stored tensor, in its dtype: only those bytes are read."""
    import torch

    size = DTYPE_BYTES[stored.dtype]
    stop = prod(stored.shape) if stop is None else stop
    with stored.file.open("rb") as file:
        file.seek(stored.begin + start * size)
        data = bytearray((stop - start) * size)
        if file.readinto(data) != len(data):
            raise BadInput(
                f"{stored.file} ended while tensor {stored.name!r} was read: the file is truncated"
            )
    if not data:
        return torch.empty(0, dtype=torch_dtype(stored.dtype))
    return torch.frombuffer(data, dtype=torch_dtype(stored.dtype))


def torch_dtype(name: str) -> Any:
    """The torch dtype of a safetensors dtype name."""
    import torch

    names = {
        "F64": torch.float64,
        "F32": torch.float32,
        "F16": torch.float16,
        "BF16": torch.bfloat16,
        "I64": torch.int64,
        "I32": torch.int32,
        "I16": torch.int16,
        "I8": torch.int8,
        "U8": torch.uint8,
        "BOOL": torch.bool,
    }
    return names[name]


def gather(shards: Iterable[list[Stored]]) -> dict[str, Stored]:
    """Tensors of all shards by name: none may be in two."""
    found: dict[str, Stored] = {}
    for stored in (stored for shard in shards for stored in shard):
        if stored.name in found:
            raise BadInput(f"tensor {stored.name!r} is in both {found[stored.name].file} and {stored.file}")
        found[stored.name] = stored
    return found


def read_header(file: Path) -> list[Stored]:
    """Tensors of a safetensors file, checked against the file's size."""
    size = file.stat().st_size
    with file.open("rb") as handle:
        length = header_length(handle.read(8), file, size)
        return parse_header(handle.read(length), file, size)


def header_length(head: bytes, file: Path, size: int) -> int:
    """Bytes of the header that follows the first eight of a file of `size` bytes."""
    length = int(struct.unpack("<Q", head)[0]) if len(head) == 8 else 0
    if not 2 <= length <= min(MAX_HEADER, size - 8):
        raise BadInput(
            f"{file} is not a safetensors file, or is truncated: header of {length} in {size} bytes"
        )
    return length


def header_bytes(
    entries: Mapping[str, tuple[str, Sequence[int]]], metadata: Mapping[str, str] | None = None
) -> bytes:
    """The beginning of a safetensors file whose tensors follow one another: length, then JSON padded to 8 bytes.

    `entries` maps names to (safetensors dtype, shape) in file order.
    """
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, (dtype, shape) in entries.items():
        begin, end = end, end + DTYPE_BYTES[dtype] * prod(shape)
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def parse_header(data: bytes, file: Path, size: int) -> list[Stored]:
    """Tensors that a header lists, in file order, checked against the file's size."""
    try:
        header = json.loads(data)
    except ValueError as error:
        raise BadInput(f"{file} has a damaged safetensors header: {error}") from error
    if not isinstance(header, dict):
        raise BadInput(f"{file} has a damaged safetensors header: {type(header).__name__}, not an object")
    start = 8 + len(data)
    tensors = [
        _stored(name, entry, file, start, size) for name, entry in header.items() if name != "__metadata__"
    ]
    tensors.sort(key=lambda t: (t.begin, t.end))
    _check_cover(file, tensors, start, size)
    return tensors


def _check_cover(file: Path, tensors: list[Stored], start: int, size: int) -> None:
    """The format allows no gap, no overlap and nothing behind the last tensor."""
    for stored in tensors:
        if stored.begin != start:
            raise BadInput(
                f"{file}: tensor {stored.name!r} begins at byte {stored.begin}, the one before ends at {start}"
            )
        start = stored.end
    if start != size:
        raise BadInput(f"{file}: the last tensor ends at byte {start}, the file has {size}")


def _stored(name: str, entry: dict[str, Any], file: Path, start: int, size: int) -> Stored:
    try:
        dtype, shape = str(entry["dtype"]), tuple(int(n) for n in entry["shape"])
        begin, end = (start + int(offset) for offset in entry["data_offsets"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{file}: header entry of {name!r} is damaged: {entry!r}") from error
    if dtype not in DTYPE_BYTES:
        raise BadInput(
            f"{file}: tensor {name!r} has dtype {dtype}, which cannot be merged ({', '.join(DTYPE_BYTES)} can)"
        )
    if min(shape, default=0) < 0 or end - begin != prod(shape) * DTYPE_BYTES[dtype] or begin < start:
        raise BadInput(
            f"{file}: tensor {name!r} claims {end - begin} bytes for {dtype} of shape {list(shape)}"
        )
    if end > size:
        raise BadInput(f"{file} is truncated: tensor {name!r} ends at byte {end}, the file has {size}")
    return Stored(name, dtype, shape, file, begin, end)
