"""What is asked: every (sample, draw, index) of a suite with prompt and seed, before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bench.errors import BadInput, unknown
from bench.identity import document_hash, response_id, seed_of, text_hash
from bench.suites import EvalOptions
from tasks.contract import Benchmark, Draw, Sample, Source, Suite
from tasks.errors import DataUnavailable


@dataclass(frozen=True)
class Ask:
    """One response to draw: the `index`-th to `sample`. Hashes of document and prompt identify it."""

    sample: Sample
    index: int
    prompt: str
    document: str
    prompt_hash: str
    seed: int


@dataclass(frozen=True)
class Pool:
    """All that one draw asks of one benchmark. `expected_n` counts the questions of the whole split."""

    suite: str
    benchmark: Benchmark
    draw: Draw
    split: str
    source: Source
    prompt_mode: str
    expected_n: int
    asks: tuple[Ask, ...]

    def ids(self, checkpoint: str, engine: str, dtype: str, *, head: str | None = None) -> list[str]:
        """Response ids of `asks`, in order, for the model with this fingerprint on this engine.

        `head` is the fingerprint of the classifier whose task head chooses the labels.
        """
        return [
            response_id(
                checkpoint=checkpoint,
                benchmark=self.benchmark.name,
                benchmark_version=self.benchmark.version,
                document_hash=ask.document,
                prompt_hash=ask.prompt_hash,
                sampling=self.draw.sampling,
                sample_index=ask.index,
                engine=engine,
                dtype=dtype,
                head=head,
            )
            for ask in self.asks
        ]


def pools(suite: Suite, options: EvalOptions) -> list[Pool]:
    """Everything that `suite` asks under `options`; reads the data, which is where it can fail early.

    Raises BadInput when the data cannot be read, or for a prompt mode that a benchmark does not have.
    """
    if options.limit is not None and options.limit < 1:
        raise BadInput(f"--limit {options.limit}: ask at least one sample, or leave it out to ask all")
    return [pool for benchmark in suite.benchmarks for pool in _pools(suite.name, benchmark, options)]


def _pools(suite: str, benchmark: Benchmark, options: EvalOptions) -> Iterable[Pool]:
    mode = options.prompt_mode or next(iter(benchmark.prompts))
    if mode not in benchmark.prompts:
        raise unknown(f"prompt mode of {benchmark.name}", mode, benchmark.prompts)
    prompt = benchmark.prompts[mode]
    try:
        samples, source = benchmark.load(options.split, options.data_dir)
    except DataUnavailable as error:
        raise BadInput(str(error)) from error
    expected_n, samples = len(samples), samples[: options.limit]
    for draw in benchmark.protocols:
        yield Pool(
            suite=suite,
            benchmark=benchmark,
            # Choosing a label needs no budget.
            draw=(draw := draw if benchmark.labels else _budgeted(draw, options.max_new_tokens)),
            split=options.split,
            source=source,
            prompt_mode=mode,
            expected_n=expected_n,
            asks=tuple(ask for sample in samples for ask in _asks(sample, prompt(sample), draw.n)),
        )


def _budgeted(draw: Draw, max_new_tokens: int | None) -> Draw:
    """`draw` with another budget and a name of its own: its numbers do not replace the usual budget's."""
    if max_new_tokens is None or max_new_tokens == draw.sampling.max_new_tokens:
        return draw
    sampling = replace(draw.sampling, max_new_tokens=max_new_tokens)
    return replace(draw, name=f"{draw.name}@{max_new_tokens}", sampling=sampling)


def _asks(sample: Sample, prompt: str, n: int) -> Iterable[Ask]:
    document, prompt_hash = document_hash(sample.question, sample.target), text_hash(prompt)
    for index in range(n):
        yield Ask(sample, index, prompt, document, prompt_hash, seed_of(document, index))
