"""Choosing labels: batches of prompts through one classifier. Imports torch; only a loaded engine needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from bench.engines.contract import Choice, Request
from bench.models.padding import padded


def choices(
    classifier: Any, jobs: Sequence[tuple[Request, list[int]]], *, batch_size: int
) -> Iterator[list[Choice]]:
    """The label of each (request, token ids), longest prompts first, in batches padded on the right.

    A decoder with a head reads the last token that is not its config's padding token, so that padding must be
    that token; a classifier whose config names none is asked one prompt at a time.
    """
    pad = classifier.config.pad_token_id
    rows = batch_size if pad is not None else 1
    ordered = sorted(jobs, key=lambda job: -len(job[1]))
    for start in range(0, len(ordered), rows):
        group = ordered[start : start + rows]
        ids, mask = (part.to(classifier.device) for part in padded([tokens for _, tokens in group], pad or 0))
        with torch.inference_mode():
            logits = classifier(input_ids=ids, attention_mask=mask).logits.float().cpu()
        yield [
            Choice(request, int(row.argmax()), tuple(row.tolist()), len(tokens))
            for (request, tokens), row in zip(group, logits, strict=True)
        ]
