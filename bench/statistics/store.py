"""Statistics on disk: one folder per identity, its tensors and a record, written whole or not at all."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.models.stored import Stored, header_bytes, read_header, read_stored

if TYPE_CHECKING:
    from torch import Tensor

DATA = "statistic.safetensors"
RECORD = "statistic.json"


@dataclass(frozen=True)
class Statistic:
    """One statistic of one subject: tensors by parameter or group name, what it cost, and its record."""

    id: str
    tensors: dict[str, Stored]
    seconds: float
    reused: bool
    record: dict[str, Any] = field(default_factory=dict)

    def read(self, name: str) -> Tensor:
        """One tensor, in its shape."""
        stored = self.tensors[name]
        return read_stored(stored).view(stored.shape)


@dataclass(frozen=True)
class Computed:
    """What a computation returns: float32 tensors by name, names that share another's tensor, and counts."""

    tensors: dict[str, Tensor]
    aliases: Mapping[str, str] = field(default_factory=dict)
    counts: Mapping[str, Any] = field(default_factory=dict)


def load(final: Path, identity: str, *, reused: bool) -> Statistic | None:
    """The statistic on disk, None when it is not there or damaged (it is then made again)."""
    try:
        record = json.loads((final / RECORD).read_text(encoding="utf-8"))
        tensors = {stored.name: stored for stored in read_header(final / DATA)}
        tensors.update({name: tensors[leader] for name, leader in record.get("aliases", {}).items()})
        return Statistic(identity, tensors, float(record["seconds"]), reused, record)
    except (OSError, ValueError, TypeError, KeyError, BadInput):
        shutil.rmtree(final, ignore_errors=True)
        return None


def save(final: Path, computed: Computed, record: Mapping[str, Any]) -> None:
    """Write tensors and record beside their place, then rename. The tensors are given up as they are written."""
    draft = final.with_name(f".{final.name}.partial")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    try:
        _write(draft / DATA, computed.tensors)
        whole = {**record, "aliases": dict(computed.aliases), "counts": dict(computed.counts)}
        (draft / RECORD).write_text(json.dumps(whole, indent=2, default=str), encoding="utf-8")
        draft.rename(final)
    except OSError as error:
        raise BadInput(f"the statistic could not be written to {draft.parent}: {error}") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write(file: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file of float32 tensors, one after the other: never a second copy of them all."""
    with file.open("wb") as out:
        out.write(header_bytes({name: ("F32", tensor.shape) for name, tensor in tensors.items()}))
        for name in list(tensors):
            out.write(tensors.pop(name).float().contiguous().reshape(-1).numpy().data)
