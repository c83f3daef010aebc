"""What is asked: every (sample, draw, index) of a suite with prompt and seed, before any model is loaded."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BadInput, unknown
from bench.identity import digest, hash_of, response_id, seed_of, text_hash
from bench.programs import allowed
from bench.suites import EvalOptions
from tasks.contract import Benchmark, Draw, Message, Passage, Prompt, Sample, Source, Suite
from tasks.errors import DataUnavailable


@dataclass(frozen=True)
class Ask:
    """One response to draw: the `index`-th to `sample`. Hashes of document and prompt identify it.

    An ask of `messages` has no prompt and no hash of it until a model's chat template made them a text:
    `rendered`. A `passage` is shown to a classifier in place of the prompt, which is its text for people.
    """

    sample: Sample
    index: int
    prompt: str
    document: str
    prompt_hash: str
    seed: int
    messages: tuple[Message, ...] = ()
    passage: Passage | None = None


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

    @property
    def has_messages(self) -> bool:
        """Whether its prompts depend on the model that is asked."""
        return any(ask.messages for ask in self.asks)

    def ids(self, checkpoint: str, engine: str, dtype: str, *, head: str | None = None) -> list[str]:
        """Response ids of `asks`, in order, for the model with this fingerprint on this engine.

        `head` is the fingerprint of the classifier whose task head chooses the labels.
        Raises ValueError for prompts that are still messages.
        """
        if self.has_messages:
            raise ValueError(
                f"{self.benchmark.name}: render its messages for the model before asking for ids"
            )
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


@dataclass(frozen=True)
class Golds:
    """The questions of a benchmark's split with their golds and the identity of each, and where they were read."""

    questions: tuple[tuple[Sample, str], ...]
    source: Source
    expected_n: int


def golds(benchmark: Benchmark, options: EvalOptions) -> Golds:
    """All questions of the split. Raises BadInput when the data cannot be read."""
    try:
        samples, source = benchmark.load(options.split, options.data_dir)
    except DataUnavailable as error:
        raise BadInput(str(error)) from error
    questions = tuple((sample, hash_of(sample)) for sample in samples)
    return Golds(questions, source, benchmark.sizes.get(options.split, len(samples)))


def pools(suite: Suite, options: EvalOptions) -> list[Pool]:
    """Everything that `suite` asks under `options`; reads the data, which is where it can fail early.

    What runs programs of the model is left out where that was not asked for.

    Raises BadInput when the data cannot be read, or for a prompt mode that a benchmark does not have.
    """
    check_numbers(options)
    asked = allowed(suite, options).benchmarks
    return [pool for benchmark in asked for pool in _pools(suite.name, benchmark, options)]


def check_numbers(options: EvalOptions) -> None:
    """Refuse numbers of samples and responses that mean nothing."""
    if options.limit is not None and options.limit < 1:
        raise BadInput(f"--limit {options.limit}: ask at least one sample, or leave it out to ask all")
    if options.samples is not None and options.samples < 0:
        raise BadInput(f"--samples {options.samples}: give how many, 0 for none, or leave it out")


def remarks(asked: Sequence[Pool]) -> list[str]:
    """What the sources of the data remark, each once: fewer rows than the benchmark has, another folder."""
    return list(dict.fromkeys(remark for pool in asked for remark in pool.source.remarks))


def rendered(asked: Sequence[Pool], path: Path) -> list[Pool]:
    """The pools with every prompt a text: messages in the chat template of the model at `path`.

    Texts stay as they are, so that nothing is loaded where there are no messages.
    Raises BadInput for a model without a chat template.
    """
    if not any(pool.has_messages for pool in asked):
        return list(asked)
    from bench.models.chat import ChatTemplate

    template = ChatTemplate(path)
    return [replace(pool, asks=tuple(_written(ask, template.text(ask.messages)) if ask.messages else ask
                                     for ask in pool.asks)) for pool in asked]  # fmt: skip


def check_prompts(asked: Sequence[Pool], models: Iterable[Path]) -> None:
    """Refuse, before any work, a model that lacks the chat template that a prompt mode needs, or whose context is too
    short for a prompt."""
    from bench.evaluation.fitting import check_lengths, context_of, doubtful

    for path in models:
        if any(pool.has_messages for pool in asked):
            from bench.models.chat import ChatTemplate

            ChatTemplate(path)
        if doubtful(((pool, ask) for pool in asked for ask in pool.asks), context_of(path)):
            check_lengths([(pool, ask) for pool in rendered(asked, path) for ask in pool.asks], path)


def _written(ask: Ask, prompt: str) -> Ask:
    return replace(ask, prompt=prompt, prompt_hash=text_hash(prompt), messages=())


def _pools(suite: str, benchmark: Benchmark, options: EvalOptions) -> Iterable[Pool]:
    mode = options.prompt_mode or next(iter(benchmark.prompts))
    if mode not in benchmark.prompts:
        raise unknown(f"prompt mode of {benchmark.name}", mode, benchmark.prompts)
    prompt, asked = benchmark.prompts[mode], golds(benchmark, options)
    for draw in _draws(benchmark, options):
        yield Pool(
            suite=suite,
            benchmark=benchmark,
            draw=draw,
            split=options.split,
            source=asked.source,
            prompt_mode=mode,
            expected_n=asked.expected_n,
            asks=tuple(
                ask
                for sample, document in asked.questions[: options.limit]
                for ask in _asks(sample, document, prompt(sample), draw.n)
            ),
        )


def _draws(benchmark: Benchmark, options: EvalOptions) -> list[Draw]:
    """The draws of a benchmark under the budget and the number of samples that are asked for."""
    if benchmark.labels:  # choosing a label needs no budget
        return list(benchmark.protocols)
    drawn = [sized(draw, options.samples) for draw in benchmark.protocols]
    return [_budgeted(draw, options.max_new_tokens) for draw in drawn if draw.n]


def sized(draw: Draw, samples: int | None) -> Draw:
    """`draw` with `samples` responses to a question, voting at the sizes that they reach; greedy ones stay.

    Its name stays as well: fewer responses are the first of the same pool, more are added to it.
    """
    if samples is None or draw.sampling.temperature == 0:
        return draw
    votes = {n for n in draw.votes if n <= samples} | ({samples} if draw.votes and samples else set())
    return replace(draw, n=samples, votes=tuple(sorted(votes)))


def _budgeted(draw: Draw, max_new_tokens: int | None) -> Draw:
    """`draw` with another budget and a name of its own: its numbers do not replace the usual budget's."""
    if max_new_tokens is None or max_new_tokens == draw.sampling.max_new_tokens:
        return draw
    sampling = replace(draw.sampling, max_new_tokens=max_new_tokens)
    return replace(draw, name=f"{draw.name}@{max_new_tokens}", sampling=sampling)


def _asks(sample: Sample, document: str, prompt: Prompt | Passage, n: int) -> Iterable[Ask]:
    for index in range(n):
        ask = Ask(sample, index, "", document, "", seed_of(document, index))
        if isinstance(prompt, Passage):
            mark = digest([prompt.first, prompt.second, prompt.max_tokens])
            yield replace(ask, prompt=prompt.text, prompt_hash=mark, passage=prompt)
        else:
            yield _written(ask, prompt) if isinstance(prompt, str) else replace(ask, messages=prompt)
