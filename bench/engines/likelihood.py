"""Pairs of context and continuation as tokens, split where lm-eval 0.4.13 splits them (`TemplateLM._encode_pair`).

Every engine that scores continuations does it on these tokens, so that they differ in rounding only.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bench.engines.contract import Continuation, Likelihood
from bench.errors import BadInput

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A request as token ids, none of them empty; `n_cut` tokens at the start of the context were left out.

    Together they are at most one token longer than the model's context: the last one is predicted, not read.
    """

    request: Continuation
    context: tuple[int, ...]
    continuation: tuple[int, ...]
    n_cut: int = 0

    @property
    def read(self) -> tuple[int, ...]:
        """The tokens that the model reads to predict the continuation: all but the last."""
        return (self.context + self.continuation)[:-1]

    def scored(self, log_probability: float, is_greedy: bool) -> Likelihood:
        """The finished score."""
        return Likelihood(self.request, log_probability, is_greedy, len(self.continuation), self.n_cut)

    def scored_by_rank(self, tokens: Sequence[tuple[float, int]]) -> Likelihood:
        """The finished score from (log probability, rank from 1) of every token of the continuation."""
        assert len(tokens) == len(self.continuation)
        return self.scored(math.fsum(value for value, _ in tokens), all(rank == 1 for _, rank in tokens))


def encoded(tokenizer: Any, requests: Sequence[Continuation], limit: int | None) -> list[Pair]:
    """The requests as tokens; `limit` is the model's context, None for one that states none.

    The whole is encoded, and its first tokens, as many as the context has alone, are the context: a continuation has
    the tokens that it has in running text. White space at the end of the context moves to the continuation. Without
    a context the first token of a text (BOS, else EOS) takes its place. What is too long loses the start of its
    context, which is said once. Raises BadInput for a continuation without tokens, or longer than the whole context.
    """
    pairs = [_fitted(pair, limit) for pair in (_encoded(tokenizer, request) for request in requests)]
    if cut := sum(pair.n_cut > 0 for pair in pairs):
        logger.warning("%d of %d contexts are too long and lose their start", cut, len(pairs))
    return pairs


def _encoded(tokenizer: Any, request: Continuation) -> Pair:
    kept = request.context.rstrip()
    text = request.context[len(kept) :] + request.text
    if kept:
        whole, context = _tokens(tokenizer, kept + text), _tokens(tokenizer, kept)
        return Pair(request, tuple(context), tuple(whole[len(context) :]))
    ids = tuple(tokenizer.encode(text, add_special_tokens=False))
    first = _first(tokenizer)
    return Pair(request, ids[:1], ids[1:]) if ids[:1] == (first,) else Pair(request, (first,), ids)


def _tokens(tokenizer: Any, text: str) -> list[int]:
    """The tokens of a text; one that begins with the token of a beginning gets no second one."""
    begun = text.startswith(tokenizer.decode(_first(tokenizer)))
    return list(tokenizer.encode(text, **({"add_special_tokens": False} if begun else {})))


def _first(tokenizer: Any) -> int:
    """What a text without a context begins with."""
    bos = tokenizer.bos_token_id
    return int(tokenizer.eos_token_id if bos is None else bos)


def _fitted(pair: Pair, limit: int | None) -> Pair:
    n, request = len(pair.continuation), pair.request
    if n == 0 or not pair.context:
        raise BadInput(f"the continuation {request.text[:80]!r} has no tokens of its own after its context")
    if limit is None or len(pair.context) + n <= limit + 1:
        return pair
    if n > limit:
        raise BadInput(
            f"a continuation of {n} tokens does not fit: the model's context is {limit} tokens. It begins "
            f"{request.text[:80]!r}"
        )
    cut = len(pair.context) + n - limit - 1
    return Pair(request, pair.context[cut:], pair.continuation, cut)
