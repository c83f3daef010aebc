"""Training examples of the zoo recipes, tokenised and cut into micro-batches."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from transformers import PreTrainedTokenizerBase

from tasks.contract import Example

IGNORE = -100
Item = TypeVar("Item")


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded token ids [rows, width] and labels.

    Labels [rows, width] are next tokens (``IGNORE`` on the prompt and on the padding), labels [rows] classes.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class _Row:
    prompt: list[int]
    response: list[int]
    label: int | None

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def mixed(streams: Mapping[str, Iterator[Item]], shares: Mapping[str, float], seed: int) -> Iterator[Item]:
    """Endless items, each of a stream drawn by its share; shares need not sum to one."""
    rng = random.Random(seed)
    names, weights = list(shares), list(shares.values())
    while True:
        yield next(streams[rng.choices(names, weights=weights)[0]])


def _rows(tokenizer: PreTrainedTokenizerBase, examples: list[Example]) -> list[_Row]:
    """Token ids of prompts and, behind them, of responses with ``<eos>``; a labelled text has no response."""
    prompts = tokenizer([example.prompt for example in examples])["input_ids"]
    responses = tokenizer([example.response or "" for example in examples])["input_ids"]
    return [
        _Row(prompt, [] if example.response is None else [*response, tokenizer.eos_token_id], example.label)
        for example, prompt, response in zip(examples, prompts, responses, strict=True)
    ]


def _collate(rows: list[_Row], pad_id: int) -> MicroBatch:
    """Pad rows on the right."""
    width = max(len(row) for row in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORE)
    for index, row in enumerate(rows):
        start, end = len(row.prompt), len(row)
        input_ids[index, :end] = torch.tensor(row.prompt + row.response)
        labels[index, start:end] = torch.tensor(row.response, dtype=torch.long)
    classes = [row.label for row in rows if row.label is not None]
    return MicroBatch(input_ids, torch.tensor(classes) if classes else labels)


def batches(
    tokenizer: PreTrainedTokenizerBase, examples: Iterator[Example], size: int, micro: int
) -> Iterator[list[MicroBatch]]:
    """Endless optimiser steps: ``size`` examples, sorted by length, in micro-batches of ``micro`` rows.

    Every step contains the whole mixture, so its shares are learned without bias; sorting only saves padding.
    """
    while True:
        rows = sorted(_rows(tokenizer, list(itertools.islice(examples, size))), key=len)
        cut = [rows[start : start + micro] for start in range(0, size, micro)]
        yield [_collate(part, tokenizer.pad_token_id) for part in cut]
