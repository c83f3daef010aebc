"""What a benchmark is: samples, how they are asked, and how an answer is graded.

A suite is a folder of `tasks/` with a `suite.py` that defines `SUITE`; a benchmark is one entry of it.
Nothing here opens a checkpoint: prompts are texts or turns of a conversation, and grading sees only text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Sample:
    """One question. `target` is the gold answer as text; `id` is unique and stable within its benchmark."""

    id: str
    question: str
    target: str
    meta: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Example:
    """One training or calibration example: what a model is shown, and what it should say or choose.

    `response` is the text that follows the prompt; `label` is the index of the right class.
    """

    prompt: str
    response: str | None = None
    label: int | None = None


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


# What a model is asked: the text itself, or turns that `bench` renders with the asked model's own chat template.
Prompt = str | tuple[Message, ...]


@dataclass(frozen=True)
class Sampling:
    """How one response is drawn. Temperature 0 is greedy decoding; `max_new_tokens` is the asked budget."""

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()


@dataclass(frozen=True)
class Draw:
    """One way of asking every sample of a benchmark: `n` seeded responses under one `Sampling`.

    `votes` lists the pool prefixes (self-consistency sizes) that are reported, for example (1, 8, 16).
    """

    name: str
    sampling: Sampling
    n: int = 1
    votes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """A grader's word on one response.

    `extracted` is None when no answer was found (which is not the same as a wrong answer); `vote` names the
    cluster that the answer votes with in self-consistency, None when it does not vote; `why` is one sentence.
    """

    correct: bool
    extracted: str | None
    vote: str | None
    why: str


class Grader(Protocol):
    """Grades (response text, target) pairs. A change of behaviour changes `version`: old verdicts stay."""

    name: str
    version: str

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]: ...


@dataclass(frozen=True)
class Source:
    """Where a benchmark's data were read: `revision` is the Hub commit or a hash of the local file.

    `remarks` say what a reader of the scores must know: another number of rows, a folder of another name.
    """

    location: str
    revision: str
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of a suite.

    `load(split, data_dir)` returns the samples of "train", "validation" or "test" and where they came from;
    `data_dir` is a local folder of JSON lines or None for the default source. `splits` lists what exists:
    train and validation may serve training statistics and selection, test is only ever scored.
    `sizes` gives the number of questions of a split where it is known beforehand: a source with fewer rows holds a
    part of the benchmark.
    `prompts` maps a prompt mode to a function from sample to prompt; the first is the default.
    `grader` builds the grader (heavy imports happen inside); `also_graded_by` builds others whose verdicts are stored
    and scored beside it, under their own names. `version` changes when prompts, data or
    protocols do. `domain` is the name of the expert that is meant to be good at it. `labels` makes it a
    classification: the model chooses among them by index instead of writing.
    `examples(split, data_dir)` gives the examples of "train" or "validation" that statistics may be computed
    on; None where there are none. It refuses "test".
    """

    name: str
    title: str
    version: str
    load: Callable[[str, Path | None], tuple[list[Sample], Source]]
    splits: tuple[str, ...]
    prompts: Mapping[str, Callable[[Sample], Prompt]]
    protocols: tuple[Draw, ...]
    grader: Callable[[], Grader]
    also_graded_by: tuple[Callable[[], Grader], ...] = ()
    domain: str = "maths"
    labels: tuple[str, ...] = ()
    examples: Callable[[str, Path | None], list[Example]] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """A named set of benchmarks that are reported together (unweighted means over them)."""

    name: str
    title: str
    benchmarks: tuple[Benchmark, ...]
