"""Answers of one loaded model as rows of `responses`: texts that it writes, labels that its classifiers
choose."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.engines.contract import Choice, Completion, Engine, Head, Request
from bench.engines.texts import PromptTooLong, load_tokenizer
from bench.errors import BadInput
from bench.evaluation.questions import Ask, Pool
from bench.models.zero_shot import ZeroShot
from tasks.l2s.flags import flags, opens_think_block

if TYPE_CHECKING:
    from bench.evaluation.experts import Expert
    from bench.evaluation.target import EvalTarget

Texts = tuple[tuple[str, ...], tuple[str, ...]]  # labels and templates; without templates the head is stored


def answered(
    target: EvalTarget, engine: Engine, missing: Mapping[str, tuple[Pool, Ask]], heads: Path | None = None
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the missing responses, in groups as they finish: written ones, then the labels of each head.

    Zero-shot heads are kept in the folder `heads`. Raises BadInput, with benchmark and sample, for a prompt that the
    engine finds too long.
    """
    try:
        yield from _answered(target, engine, missing, heads)
    except PromptTooLong as error:
        pool, ask = missing[error.request.id]
        raise BadInput(f"{pool.benchmark.name}, sample {ask.sample.id}: {error}") from error


def _answered(
    target: EvalTarget, engine: Engine, missing: Mapping[str, tuple[Pool, Ask]], heads: Path | None
) -> Iterator[list[dict[str, Any]]]:
    written: list[Request] = []
    blocks = _ThinkBlocks(target.path)
    chosen: dict[tuple[Expert, Texts], list[Request]] = {}
    for id, (pool, ask) in missing.items():
        head, benchmark = target.head(pool.benchmark), pool.benchmark
        texts: Texts = (benchmark.labels, benchmark.templates) if benchmark.templates else ((), ())
        same = written if head is None else chosen.setdefault((head, texts), [])
        same.append(Request(id, ask.prompt, pool.draw.sampling, ask.seed, ask.sample.image, ask.passage))
    for completions in engine.generate(written) if written else ():
        yield [response_row(target, engine, *missing[c.request.id], _text(c, blocks)) for c in completions]
    for (head, texts), requests in chosen.items():
        for choices in engine.classify(requests, _head(head, texts, heads)):
            yield [
                response_row(target, engine, *(found := missing[c.request.id]), _label(c, found[0]))
                for c in choices
            ]


def _head(model: Expert, texts: Texts, heads: Path | None) -> Head:
    """The stored head of a classifier, or what the texts of a full CLIP model make of class names."""
    labels, templates = texts
    return ZeroShot(model.path, labels, templates, model.fingerprint, heads) if templates else model.path


class _ThinkBlocks:
    """Counts the tokens of think blocks with the model's own tokenizer, which is loaded for the first block."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.tokenizer: Any = None

    def tokens(self, block: str | None) -> int | None:
        """Tokens of the block, without special tokens; None without one."""
        if block is None:
            return None
        if self.tokenizer is None:
            self.tokenizer = load_tokenizer(self.path)
        return len(self.tokenizer(block, add_special_tokens=False)["input_ids"])


def _text(completion: Completion, blocks: _ThinkBlocks) -> dict[str, Any]:
    found = flags(completion.text, thinking=opens_think_block(completion.request.prompt))
    return {
        "response_id": completion.request.id,
        "max_new_tokens": completion.request.sampling.max_new_tokens,
        "budget": completion.budget,
        "text": completion.text,
        "n_generated": completion.n_generated,
        "n_tokens_text": completion.n_tokens_text,
        "n_prompt_tokens": completion.n_prompt_tokens,
        "finish_reason": completion.finish_reason,
        "n_reflections": found.reflections,
        "n_think_tokens": blocks.tokens(found.think),
        "ends_with_code_fence": found.code_fence,
        "complete_box": found.complete_box,
        "logprob_sum": completion.logprob_sum,
    }


def _label(choice: Choice, pool: Pool) -> dict[str, Any]:
    """A label has no length and no budget: they are missing, not 0."""
    return {
        "response_id": choice.request.id,
        "max_new_tokens": None,
        "budget": None,
        "text": pool.benchmark.labels[choice.label],
        "n_generated": None,
        "n_tokens_text": None,
        "n_prompt_tokens": choice.n_prompt_tokens,
        "finish_reason": "label",
    }


def response_row(
    target: EvalTarget, engine: Engine, pool: Pool, ask: Ask, answer: dict[str, Any]
) -> dict[str, Any]:
    """A row of `responses`; `answer` has what only the answer itself says."""
    sampling = pool.draw.sampling
    return {
        "checkpoint": target.fingerprint,
        "suite": pool.suite,
        "benchmark": pool.benchmark.name,
        "benchmark_version": pool.benchmark.version,
        "split": pool.split,
        "source": f"{pool.source.location}@{pool.source.revision}",
        "draw": pool.draw.name,
        "sample_id": ask.sample.id,
        "document_hash": ask.document,
        "prompt_hash": ask.prompt_hash,
        "question": ask.sample.question,
        "target": ask.sample.target,
        "reference": ask.sample.reference,
        "sample_group": ask.sample.group,
        "prompt_mode": pool.prompt_mode,
        "sample_index": ask.index,
        "seed": ask.seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "engine": engine.family,
        "dtype": engine.dtype,
        **answer,
    }
