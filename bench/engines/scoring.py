"""Log-likelihoods of continuations by a loaded transformers model. Imports torch; only a loaded engine needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from bench.engines.contract import Likelihood
from bench.engines.likelihood import Pair

READ_TOKENS = 16_384  # of one forward pass, padding included
LOGITS = 1 << 28  # numbers of one forward pass that are kept: a gigabyte of float32


@torch.inference_mode()
def likelihoods(model: Any, pairs: Sequence[Pair], *, batch_size: int) -> Iterator[list[Likelihood]]:
    """Scores in batches, longest first. What several pairs read is read once (the letters of a multiple choice)."""
    rows: dict[tuple[int, ...], list[Pair]] = {}
    for pair in pairs:
        rows.setdefault(pair.read, []).append(pair)
    pending = sorted(rows.items(), key=lambda row: (-len(row[0]), row[0]))
    vocabulary = model.config.get_text_config().vocab_size
    while pending:
        size = max(1, min(batch_size, READ_TOKENS // len(pending[0][0])))
        while size > 1 and size * _keep(pending[:size]) * vocabulary > LOGITS:
            size -= 1
        yield _scored(model, pending[:size])
        pending = pending[size:]


def _keep(rows: Sequence[tuple[tuple[int, ...], list[Pair]]]) -> int:
    """Positions at the end of each row whose predictions are needed."""
    return max(len(pair.continuation) for _, asked in rows for pair in asked)


def _scored(model: Any, rows: Sequence[tuple[tuple[int, ...], list[Pair]]]) -> list[Likelihood]:
    """One forward pass: rows padded on the left, so that all continuations end in the last column."""
    width, keep = len(rows[0][0]), _keep(rows)
    pad = torch.tensor([width - len(read) for read, _ in rows])
    ids = torch.tensor([(0,) * (width - len(read)) + read for read, _ in rows])
    columns = torch.arange(width)
    output = model(
        input_ids=ids.to(model.device),
        attention_mask=(columns >= pad[:, None]).long().to(model.device),
        position_ids=(columns - pad[:, None]).clamp(min=0).to(model.device),
        use_cache=False,
        logits_to_keep=keep,
    )
    # [rows, keep, vocabulary]; float32 whatever the model's dtype: a sum of rounded logarithms says little.
    logits = output.logits[:, -keep:].float()
    greedy, norm = logits.argmax(-1).cpu(), logits.logsumexp(-1).cpu()
    found = []
    for row, (_, asked) in enumerate(rows):
        for pair in asked:
            n, tokens = len(pair.continuation), torch.tensor(pair.continuation)
            chosen = logits[row, -n:].gather(-1, tokens.to(logits.device)[:, None]).squeeze(-1).cpu()
            total = float((chosen - norm[row, -n:]).double().sum())
            found.append(pair.scored(total, bool((greedy[row, -n:] == tokens).all())))
    return found
