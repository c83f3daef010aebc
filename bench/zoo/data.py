"""Training examples of the zoo recipe: a seeded mixture of levels and styles, cut into micro-batches."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from transformers import PreTrainedTokenizerBase

from tasks.mini_l2s.problems import LEVELS, STYLES, Problem, train_stream

IGNORE = -100


@dataclass(frozen=True)
class MicroBatch:
    """Right-padded token ids and labels (``IGNORE`` on the prompt and on the padding)."""

    input_ids: torch.Tensor
    labels: torch.Tensor


@dataclass(frozen=True)
class Mixture:
    """Shares of levels and, within each level, of response styles (they need not sum to one)."""

    levels: Mapping[str, float]
    styles: Mapping[str, float]


def _examples(mixture: Mixture, seed: int) -> Iterator[tuple[Problem, str]]:
    """Endless (problem, response) pairs of the mixture."""
    rng = random.Random(seed)
    streams = {level: train_stream(level, seed) for level in LEVELS}
    levels, styles = list(mixture.levels), list(mixture.styles)
    while True:
        level = rng.choices(levels, weights=list(mixture.levels.values()))[0]
        style = rng.choices(styles, weights=list(mixture.styles.values()))[0]
        problem = next(streams[level])
        yield problem, STYLES[style](problem)


def _collate(rows: list[tuple[list[int], list[int]]], pad_id: int) -> MicroBatch:
    """Pad (prompt ids, response ids) rows on the right."""
    width = max(len(prompt) + len(response) for prompt, response in rows)
    input_ids = torch.full((len(rows), width), pad_id)
    labels = torch.full((len(rows), width), IGNORE)
    for index, (prompt, response) in enumerate(rows):
        start, end = len(prompt), len(prompt) + len(response)
        input_ids[index, :end] = torch.tensor(prompt + response)
        labels[index, start:end] = torch.tensor(response)
    return MicroBatch(input_ids, labels)


def batches(
    tokenizer: PreTrainedTokenizerBase, mixture: Mixture, seed: int, size: int, micro: int
) -> Iterator[list[MicroBatch]]:
    """Endless optimiser steps: ``size`` examples, sorted by length, in micro-batches of ``micro`` rows.

    Every step contains the whole mixture, so the shares of the styles are learned without bias;
    sorting only saves padding.
    """
    pairs = _examples(mixture, seed)
    while True:
        chosen = [next(pairs) for _ in range(size)]
        prompts = tokenizer([problem.prompt for problem, _ in chosen])["input_ids"]
        responses = tokenizer([response for _, response in chosen])["input_ids"]
        rows = [
            (prompt, [*response, tokenizer.eos_token_id])
            for prompt, response in zip(prompts, responses, strict=True)
        ]
        rows.sort(key=lambda row: len(row[0]) + len(row[1]))
        cut = [rows[start : start + micro] for start in range(0, size, micro)]
        yield [_collate(part, tokenizer.pad_token_id) for part in cut]
