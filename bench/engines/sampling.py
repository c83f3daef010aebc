"""Choosing the next token of many rows at once, each with random numbers of its own.

The k-th token of a response uses the k-th uniform number of the response's own generator, through the
inverse of the cumulative distribution. So a draw depends on its seed and its logits, not on its neighbours in
the batch, and there is no Python work per row. Imports torch; only a loaded engine imports this module.
"""

from __future__ import annotations

import torch

BLOCK = 512


def uniforms(seed: int, n: int) -> torch.Tensor:
    """The first `n` uniform numbers in [0, 1) of the generator with this seed; float64, on the CPU.

    Drawn in blocks of one size, because a larger request may be filled differently: a longer budget keeps the
    numbers of a shorter one.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    blocks = [torch.rand(BLOCK, generator=generator, dtype=torch.float64) for _ in range(-(-n // BLOCK))]
    return torch.cat(blocks)[:n] if blocks else torch.empty(0, dtype=torch.float64)


def choose(
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, uniform: torch.Tensor
) -> torch.Tensor:
    """The next token of each row: [rows] from logits [rows, vocabulary]; temperature 0 is greedy.

    `temperature`, `top_p` and `uniform` are [rows]. Nucleus sampling keeps the most probable tokens up to and
    including the one that reaches `top_p`.
    """
    greedy = logits.argmax(-1)
    sampled = (temperature > 0).nonzero().squeeze(-1)
    if sampled.numel() == 0:
        return greedy
    # Float64 where the machine's rounding could move a boundary past the uniform number of a row.
    scaled = logits[sampled].double() / temperature[sampled, None]
    probabilities = torch.softmax(scaled, -1)
    limited = (top_p[sampled] < 1).nonzero().squeeze(-1)
    if limited.numel():
        probabilities[limited] = _nucleus(probabilities[limited], top_p[sampled][limited])
    cumulative = probabilities.cumsum(-1)
    threshold = uniform[sampled, None].to(cumulative) * cumulative[:, -1:]
    # The first token whose cumulative probability exceeds the threshold: never one of probability zero.
    drawn = torch.searchsorted(cumulative, threshold, right=True).squeeze(-1)
    greedy[sampled] = drawn.clamp(max=logits.shape[-1] - 1)
    return greedy


def logprobs(logits: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Natural log-probability [rows] of the tokens `chosen` [rows] under `logits` [rows, vocabulary] as they are."""
    return logits.gather(-1, chosen[:, None]).squeeze(-1) - logits.logsumexp(-1)


def _nucleus(probabilities: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """`probabilities` with everything outside the nucleus set to zero; not renormalised."""
    ordered, index = probabilities.sort(-1, descending=True)
    outside = ordered.cumsum(-1) - ordered >= top_p[:, None]
    outside[:, 0] = False
    return probabilities.masked_fill(torch.zeros_like(outside).scatter(-1, index, outside), 0.0)
