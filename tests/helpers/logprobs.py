"""What a response's log-probability is, from one pass of transformers over its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


def summed(model: Any, prompt: list[int], written: list[int]) -> float:
    """Log-probability of `written` behind `prompt` under the model's own distribution: no temperature, no top_p."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([[*prompt, *written]])).logits[0].double()
    chosen = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    return float(chosen[torch.arange(len(written)), written].sum())


@contextmanager
def watched(engine: Any) -> Iterator[dict[str, Any]]:
    """The tokens of every response that `engine` finishes meanwhile, by request id."""
    seen: dict[str, Any] = {}
    finish = engine.completions

    def completions(group: Any, strings: Any) -> Any:
        group = list(group)
        seen.update({tokens.job.request.id: tokens for tokens in group})
        return finish(group, strings)

    engine.completions = completions
    try:
        yield seen
    finally:
        del engine.completions


def check(engine: Any, reference: Any, asked: list[Any]) -> set[bool]:
    """Generate, and compare every recorded sum with `summed`; whether the model ended them itself."""
    with watched(engine) as seen:
        done = [completion for group in engine.generate(asked) for completion in group]
    assert len(done) == len(asked) == len(seen)
    (end,) = engine.end_ids
    for completion in done:
        tokens = seen[completion.request.id]
        written = tokens.ids[: completion.n_generated]
        # An end token is what has a log-probability behind the last of them; a stop string brings none.
        if len(written) == len(tokens.ids) < len(tokens.logprobs):
            written = [*written, end]
        expected = summed(reference.model, tokens.job.prompt, written)
        assert completion.logprob_sum is not None
        assert abs(completion.logprob_sum - expected) < 1e-3 * max(1.0, abs(expected)), completion
    return {tokens.ended for tokens in seen.values()}
