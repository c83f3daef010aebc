"""Log-likelihoods of continuations by vLLM: the probabilities of a prompt's own tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from bench.engines.contract import Likelihood
from bench.engines.likelihood import Pair

if TYPE_CHECKING:
    from bench.engines.vllm_process import Process


def likelihoods(process: Process, pairs: Sequence[Pair]) -> Iterator[list[Likelihood]]:
    """Scores as they are done. vLLM must generate: one token behind each continuation, which nobody reads."""
    from vllm import SamplingParams
    from vllm.inputs.engine import tokens_input

    asked = SamplingParams(max_tokens=1, temperature=0.0, prompt_logprobs=0, detokenize=False)
    under_way = {str(number): pair for number, pair in enumerate(pairs)}
    try:
        for name, pair in under_way.items():
            tokens = [*pair.context, *pair.continuation]
            process.engine.add_request(name, tokens_input(tokens), asked)
        while under_way:
            done = []
            for output in process.step():
                if output.finished:
                    pair = under_way.pop(output.request_id)
                    found = output.prompt_logprobs[-len(pair.continuation) :]
                    own = [at[token] for at, token in zip(found, pair.continuation, strict=True)]
                    done.append(pair.scored_by_rank([(one.logprob, one.rank) for one in own]))
            if done:
                yield done
    finally:
        if under_way:
            process.abort(list(under_way))
