"""Read a run of one model's elements as float32: one read into a buffer that is used again, one conversion.

What a model lacks (rows of a smaller vocabulary, or the whole tensor) is the base's, so that its task vector is
0 there; what the base lacks is the mean of the experts that have it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.alignment.align import Target
from bench.alignment.rows import Source
from bench.errors import BadInput
from bench.models.checkpoint import Checkpoint
from bench.models.stored import DTYPE_BYTES, Stored, torch_dtype

if TYPE_CHECKING:
    from torch import Tensor

_memory = threading.local()  # one buffer a thread, as large as its largest read so far


def fill(out: Tensor, models: tuple[Checkpoint, ...], target: Target, m: int, start: int, stop: int) -> None:
    """Write elements [start, stop) of `target` in model `m` (0 the base, then the experts) into `out`.

    `out` is a contiguous tensor of stop - start elements: float32, or bfloat16 for what is stored so.
    """
    source = target.sources[m]
    for low, high, there in _pieces(source, start, stop):
        part = out[low - start : high - start]
        if there is None:
            _fallback(part, models, target, m, low, high)
        else:
            _read(part, models[m], models[m].tensors[str(source.name)], there)


def _fallback(
    out: Tensor, models: tuple[Checkpoint, ...], target: Target, m: int, start: int, stop: int
) -> None:
    """What model `m` lacks: the base's elements; for the base itself, the mean of the experts that have them."""
    if m > 0:
        fill(out, models, target, 0, start, stop)
        return
    import torch

    total, owners, part = (torch.zeros(stop - start) for _ in range(3))
    for expert in range(1, len(models)):
        for low, high, there in _pieces(target.sources[expert], start, stop):
            if there is not None:
                run = slice(low - start, high - start)
                _read(
                    part[run], models[expert], models[expert].tensors[str(target.sources[expert].name)], there
                )
                total[run] += part[run]
                owners[run] += 1
    torch.div(total, owners, out=out)


def _pieces(source: Source, start: int, stop: int) -> Iterable[tuple[int, int, int | None]]:
    """Runs of [start, stop) and where they begin in the model, None where it lacks them."""
    if source.name is None:
        return [(start, stop, None)]
    return [(start, stop, start)] if source.rows is None else source.rows.pieces(start, stop)


def _read(out: Tensor, model: Checkpoint, stored: Stored, start: int) -> None:
    """Elements of a stored tensor from `start` on, as many as `out` holds."""
    import torch

    size = DTYPE_BYTES[stored.dtype]
    with model.opened(stored.file) as descriptor:
        if stored.dtype == "F32":
            _pread(descriptor, out.numpy(), stored, start * size)
            return
        if stored.dtype == "BF16" and out.dtype == torch.bfloat16:
            _pread(descriptor, out.view(torch.uint8).numpy(), stored, start * size)
            return
        raw = _buffer(out.numel() * size)
        _pread(descriptor, raw.numpy(), stored, start * size)
    out.copy_(raw.view(torch_dtype(stored.dtype)))


def _pread(descriptor: int, array: object, stored: Stored, offset: int) -> None:
    view = memoryview(array).cast("B")  # type: ignore[arg-type]
    done = 0
    while done < len(view):
        count = os.preadv(descriptor, [view[done:]], stored.begin + offset + done)
        if count == 0:
            raise BadInput(
                f"{stored.file} ended while tensor {stored.name!r} was read: the file is truncated"
            )
        done += count


def _buffer(size: int) -> Tensor:
    """`size` bytes that belong to this thread until its next call."""
    import torch

    found: Tensor | None = getattr(_memory, "bytes", None)
    if found is None or found.numel() < size:
        found = _memory.bytes = torch.empty(size, dtype=torch.uint8)
    return found[:size]


def stored_as(model: Checkpoint, source: Source) -> str | None:
    """The dtype of a source that can be read as it is stored; None where rows are missing or in another order."""
    return model.tensors[source.name].dtype if source.name is not None and source.rows is None else None
