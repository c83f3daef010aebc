"""Write a checkpoint in place: headers first, then tensors at their offsets in any order, the manifest last.

Everything goes into a hidden sibling folder that is renamed when complete, so a killed merge never leaves a
folder that looks like a checkpoint.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.alignment.align import Target
from bench.disk import check_disk
from bench.errors import BadInput
from bench.merging.sink import Disk, Sink
from bench.models.checkpoint import COMPANIONS, INDEX, Checkpoint
from bench.models.stored import header_bytes

if TYPE_CHECKING:
    from torch import Tensor

SHARD_BYTES = 4_000_000_000
MANIFEST = "mergeboard.json"
FULL = (errno.ENOSPC, errno.EDQUOT)  # how a disk without room, or a quota, answers
MANIFEST_KEYS = (
    "merge_id", "method", "label", "parameters", "base", "experts", "fingerprint", "seconds", "statistics_seconds",
    "peak_bytes",
)  # fmt: skip
UNNAMED_CONFIG = "config.json.draft"  # without a config.json, no tool takes a draft for a checkpoint


def draft_folder(out: Path) -> Path:
    """Where `out` is prepared: hidden, beside it, so that the final rename stays on one disk."""
    return out.parent / f".{out.name}.partial"


def make_draft(out: Path, needed: int, what: str) -> Path:
    """An empty draft folder for `out`, on a disk with `needed` bytes free once a killed merge's draft is gone.

    BadInput where it does not fit, or where nothing can be written.
    """
    draft = draft_folder(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if draft.is_dir():
            shutil.rmtree(draft)
        check_disk(out.parent, needed, what)
        draft.mkdir()
    except OSError as error:
        raise BadInput(
            f"cannot write to {out.parent} ({error.strerror}): choose another --out, or make the folder writable"
        ) from error
    return draft


class CheckpointWriter:
    """Writes the tensors of `targets` into `folder` as safetensors shards of at most `shard_bytes`.

    A context: left by an error, it closes what there is. `close` gives the hash of every shard.
    """

    def __init__(self, folder: Path, targets: tuple[Target, ...], shard_bytes: int = SHARD_BYTES) -> None:
        self._places: dict[str, tuple[Sink, int, Target]] = {}
        self._sinks: list[Sink] = []
        self._disk = Disk()
        try:
            self._open_all(folder, targets, _split(targets, shard_bytes))
        except BaseException:
            self._stop()
            raise

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        try:
            self._disk.finish()
        finally:
            for sink in self._sinks:
                sink.abandon()

    def _open_all(self, folder: Path, targets: tuple[Target, ...], shards: list[list[Target]]) -> None:
        weight_map = {}
        for i, shard in enumerate(shards, 1):
            name = (
                "model.safetensors" if len(shards) == 1 else f"model-{i:05d}-of-{len(shards):05d}.safetensors"
            )
            self._open(folder / name, shard)
            weight_map.update({target.info.name: name for target in shard})
        if len(shards) > 1:
            index = {"metadata": {"total_size": sum(t.nbytes for t in targets)}, "weight_map": weight_map}
            (folder / INDEX).write_text(json.dumps(index, indent=2), encoding="utf-8")

    def _open(self, path: Path, shard: list[Target]) -> None:
        header = header_bytes({t.info.name: (t.dtype, t.info.shape) for t in shard}, {"format": "pt"})
        sink = Sink(path, len(header) + sum(target.nbytes for target in shard), self._disk)
        self._sinks.append(sink)
        _reserve(sink)
        sink.write(np.frombuffer(header, np.uint8), 0)
        start = len(header)
        for target in shard:
            self._places[target.info.name] = (sink, start, target)
            start += target.nbytes

    def write(self, name: str, values: Tensor, start: int = 0) -> None:
        """Cast a flat run of elements to the target's dtype and write it at element offset `start`; thread-safe."""
        import torch

        from bench.models.stored import DTYPE_BYTES, torch_dtype

        sink, offset, target = self._places[name]
        raw = values.to(torch_dtype(target.dtype)).contiguous().flatten().view(torch.uint8).numpy()
        sink.write(raw, offset + start * DTYPE_BYTES[target.dtype])

    def close(self) -> dict[Path, str]:
        """Have the disk keep every shard; their hashes, so that nobody need read them again."""
        self._disk.finish()
        return {sink.path: sink.close() for sink in self._sinks}


def _reserve(sink: Sink) -> None:
    """Have a full disk say so now; where a file system reserves nothing, it says so at the block that has no room."""
    try:
        sink.reserve()
    except OSError as error:
        if error.errno in FULL:
            raise


def _split(targets: tuple[Target, ...], shard_bytes: int) -> list[list[Target]]:
    shards: list[list[Target]] = [[]]
    filled = 0
    for target in targets:
        if shards[-1] and filled + target.nbytes > shard_bytes:
            shards.append([])
            filled = 0
        shards[-1].append(target)
        filled += target.nbytes
    return shards


def copy_companions(
    source: Checkpoint, folder: Path, *, config: Mapping[str, Any], dtype: str | None
) -> None:
    """Generation config and tokenizer files of `source`, and its config with what the written tensors require."""
    for name in COMPANIONS:
        if (source.path / name).is_file():
            shutil.copyfile(source.path / name, folder / name)
    said = dict(source.config)
    for key, value in config.items():
        # Absent means untied; a line that only repeats the default would change the config for nothing.
        if said.get(key, False if key == "tie_word_embeddings" else None) != value:
            said[key] = value
    if dtype is not None:
        said.update({key: dtype for key in ("dtype", "torch_dtype") if key in said} or {"dtype": dtype})
    (folder / UNNAMED_CONFIG).write_text(json.dumps(said, indent=2) + "\n", encoding="utf-8")


def publish(folder: Path, out: Path, manifest: Mapping[str, Any]) -> None:
    """Write the manifest last, then give the config and the finished folder their names."""
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    if out.is_dir() and not any(out.iterdir()):
        out.rmdir()
    (folder / UNNAMED_CONFIG).rename(folder / "config.json")
    folder.rename(out)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """The manifest of a merge of ours, None where there is none."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        found = dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, TypeError) as error:
        raise BadInput(f"{file} is damaged: {error}. Remove the folder and merge again.") from error
    missing = [key for key in MANIFEST_KEYS if key not in found]
    if missing:
        raise BadInput(f"{file} lacks {', '.join(missing)}. Remove the folder and merge again.")
    return found
