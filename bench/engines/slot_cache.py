"""A key-value cache with slots: rows of one batch end and begin at different times without being copied.

Imports torch and transformers; only a loaded engine imports this module.

Layout: `keys[slot, head, column, :]`. The sequences are right-aligned, so that all rows write the same next
column; what lies left of a row's first column (its `pad`) is masked by the caller. transformers' own
DynamicCache appends with `torch.cat`, which copies the whole cache for every token: for small models on a
processor that is most of the time.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

GROWTH = 128  # columns


class SlotLayer(DynamicLayer):
    """One layer's keys and values in buffers with spare columns; `filled` columns are in use."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.filled = 0

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns and return views of everything that is filled."""
        start, self.filled = self.filled, self.filled + key_states.shape[-2]
        if start == 0:
            self.dtype, self.device = key_states.dtype, key_states.device
            self.is_initialized: bool = True
            self.keys, self.values = key_states[:, :, :0], value_states[:, :, :0]
        self.keys = _written(self.keys, key_states, start)
        self.values = _written(self.values, value_states, start)
        return self.keys[:, :, : self.filled], self.values[:, :, : self.filled]

    def get_seq_length(self) -> int:
        """Filled columns."""
        return self.filled


def _written(buffer: torch.Tensor, new: torch.Tensor, start: int) -> torch.Tensor:
    """`buffer` with `new` at column `start`, made larger when it is full."""
    end = start + new.shape[-2]
    if buffer.shape[-2] < end:
        # Half as much again at least: growing costs a copy, and must not happen for every token.
        larger = new.new_empty(*new.shape[:2], max(end + GROWTH, buffer.shape[-2] * 3 // 2), new.shape[-1])
        larger[:, :, :start] = buffer[:, :, :start]
        buffer = larger
    buffer[:, :, start:end] = new
    return buffer


class SlotCache(Cache):
    """The cache of a batch. `width` is the number of filled columns, the same for every row."""

    layers: list[SlotLayer]

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=SlotLayer)

    @property
    def width(self) -> int:
        """Filled columns."""
        return self.layers[0].filled if self.layers else 0

    def adopt(self, slots: torch.Tensor, other: SlotCache, rows: torch.Tensor) -> None:
        """Copy `rows` of `other` (not wider than this cache) into `slots`, right-aligned."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            columns = slice(mine.filled - theirs.filled, mine.filled)
            for name in ("keys", "values"):
                getattr(mine, name)[slots, :, columns] = getattr(theirs, name)[rows, :, : theirs.filled]

    def trim(self, columns: int) -> None:
        """Forget the first `columns` columns of every row."""
        for layer in self.layers:
            for name in ("keys", "values"):
                buffer = getattr(layer, name)
                # The clone is needed because source and destination overlap.
                buffer[:, :, : layer.filled - columns] = buffer[:, :, columns : layer.filled].clone()
            layer.filled -= columns

    def keep(self, slots: torch.Tensor) -> None:
        """Drop all rows but `slots`, in that order."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys.index_select(0, slots), layer.values.index_select(0, slots)
