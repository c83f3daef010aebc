"""What a benchmark is: samples, how they are asked, and how an answer is graded.

A suite is a folder of `tasks/` with a `suite.py` that defines `SUITE`; a benchmark is one entry of it.
Nothing here opens a checkpoint: prompts are texts or turns of a conversation, and grading sees only text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable


class Picture(Protocol):
    """An image of a sample: read and decoded only when an engine looks at it."""

    @property
    def digest(self) -> str:
        """Hash of its bytes: part of the document's identity."""
        ...

    def open(self) -> Any:
        """The image as an RGB `PIL.Image`."""
        ...


@dataclass(frozen=True)
class Sample:
    """One question. `target` is the gold answer as text; `id` is unique and stable within its benchmark.

    `group` names the subset of the benchmark that it belongs to, where subsets are also scored by themselves (safe
    and unsafe requests). `reference` is what its grader needs beyond the target: the tests of a program, the plain
    request that a judge is shown in place of the question. `image` is what the question is about.
    """

    id: str
    question: str
    target: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    group: str | None = None
    reference: str | None = None
    image: Picture | None = None


@dataclass(frozen=True)
class Passage:
    """What a classifier is shown where a plain text is not enough: one text, or two that its tokenizer joins.

    Of more than `max_tokens` tokens the longer text loses its end, token by token, as transformers truncates.
    """

    first: str
    second: str | None = None
    max_tokens: int | None = None

    @property
    def text(self) -> str:
        """Both texts for people, a line each."""
        return self.first if self.second is None else f"{self.first}\n{self.second}"


@dataclass(frozen=True)
class Example:
    """One training or calibration example: what a model is shown, and what it should say or choose.

    `response` is the text that follows the prompt; `label` is the index of the right class. An `image` or a `passage`
    is shown in place of the prompt.
    """

    prompt: str
    response: str | None = None
    label: int | None = None
    image: Picture | None = None
    passage: Passage | None = None


@dataclass(frozen=True)
class Message:
    """One turn of a conversation: `role` is "system", "user" or "assistant"."""

    role: str
    content: str


# What a model is asked: the text itself, or turns that `bench` renders with the asked model's own chat template.
Prompt = str | tuple[Message, ...]


@dataclass(frozen=True)
class Sampling:
    """How one response is drawn. Temperature 0 is greedy decoding; `max_new_tokens` is the asked budget.

    White space around a response is taken away unless `strip` is False: in a program it has a meaning.
    """

    max_new_tokens: int
    temperature: float = 0.0
    top_p: float = 1.0
    stop: tuple[str, ...] = ()
    strip: bool = True


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


@runtime_checkable
class Grader(Protocol):
    """Grades (response text, target) pairs. A change of behaviour changes `version`: old verdicts stay."""

    name: str
    version: str

    def grade(self, pairs: Sequence[tuple[str, str]]) -> list[Verdict]: ...


@dataclass(frozen=True)
class Answer:
    """One stored response with all that a grader may look at; the fields are those of the sample."""

    question: str
    text: str
    target: str
    reference: str | None = None


@dataclass(frozen=True)
class GradedAnswer:
    """A graded response as a benchmark's own metrics see it: `group` is its sample's, the rest its verdict's."""

    text: str
    target: str
    group: str | None
    correct: bool
    extracted: str | None


# A metric of a benchmark's own: what an answer adds to its numerator and to its denominator. All shares are of this
# form, and so are precision, recall and F1.
Ratio = Callable[[GradedAnswer], tuple[float, float]]


@runtime_checkable
class AnswerGrader(Protocol):
    """A grader that needs more than text and target: it is asked through `grade_answers`."""

    name: str
    version: str

    def grade_answers(self, answers: Sequence[Answer]) -> list[Verdict]: ...


@dataclass(frozen=True)
class JudgeRequest:
    """What a judge is asked about one answer, and how it answers."""

    prompt: Prompt
    sampling: Sampling


@runtime_checkable
class JudgedGrader(Protocol):
    """A grader whose verdicts rest on what another model says of each answer. `judge` is the usual one's Hub id.

    `requests` has one entry for each answer, and `words` of `verdicts` what the judge said to each.
    """

    name: str
    version: str
    judge: str

    def requests(self, answers: Sequence[Answer]) -> list[JudgeRequest]: ...

    def verdicts(self, answers: Sequence[Answer], words: Sequence[str]) -> list[Verdict]: ...


AnyGrader = Grader | AnswerGrader | JudgedGrader


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
    `prompts` maps a prompt mode to a function from sample to prompt (for classifiers, or to a passage); the first is
    the default.
    `grader` builds the grader (heavy imports happen inside); `also_graded_by` builds others whose verdicts are stored
    and scored beside it, under their own names. `version` changes when prompts, data or
    protocols do. `domain` is the name of the expert that is meant to be good at it. `labels` makes it a
    classification: the model chooses among them by index instead of writing. `templates` (texts with `{}` for a
    label) make it zero-shot: a label's weights are what the text tower of the base makes of them. `executes` says
    that grading runs programs that the model wrote, which happens only where that was asked for. `native` are
    metrics under the names that others report it by; they are stored beside the accuracy, under its first grader.
    `examples(split, data_dir)` gives the examples of "train" or "validation" that statistics may be computed
    on; None where there are none. It refuses "test".
    """

    name: str
    title: str
    version: str
    load: Callable[[str, Path | None], tuple[list[Sample], Source]]
    splits: tuple[str, ...]
    prompts: Mapping[str, Callable[[Sample], Prompt | Passage]]
    protocols: tuple[Draw, ...]
    grader: Callable[[], AnyGrader]
    also_graded_by: tuple[Callable[[], AnyGrader], ...] = ()
    domain: str = "maths"
    labels: tuple[str, ...] = ()
    templates: tuple[str, ...] = ()
    examples: Callable[[str, Path | None], list[Example]] | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    executes: bool = False
    native: Mapping[str, Ratio] = field(default_factory=dict)


@dataclass(frozen=True)
class LmEvalTask:
    """A task of lm-eval, or a group of them, as one benchmark of a suite.

    `task` is lm-eval's name and `folders` where its files are: folders of lm-eval's own tasks, or paths of ours.
    The score of the benchmark is `metric` under `filter`; everything else that is measured is stored beside it.
    All documents of a group are one benchmark, in which each task is a group of samples. `num_fewshot` None is the
    task's own number of examples; `size` is the number of questions where it is known. `data` has the arguments of
    `datasets.load_dataset` where they are not the task's own; {name} in them is its dataset_name. `percent` says
    that lm-eval gives its metrics in per cent. One that is `beside` is asked only where it is named.
    """

    name: str
    task: str
    folders: tuple[str | Path, ...]
    metric: str
    title: str
    domain: str
    filter: str = "none"
    num_fewshot: int | None = None
    size: int | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    percent: bool = False
    beside: bool = False

    def grader(self, metric: str | None = None, filter: str | None = None) -> str:
        """Name of the grader that a metric under a filter is, of the benchmark's own by default: one name for all
        benchmarks that have it."""
        of = filter or self.filter
        return f"lm-eval:{'' if of == 'none' else of + ':'}{metric or self.metric}"


@dataclass(frozen=True)
class Part:
    """The score of a benchmark under one grader (its name; None is the benchmark's first)."""

    benchmark: str
    grader: str | None = None


@dataclass(frozen=True)
class Composite:
    """A reported benchmark that is not asked but made of others' scores: their unweighted mean, or the best."""

    name: str
    title: str
    domain: str
    parts: tuple[Part, ...]
    how: Literal["mean", "max"] = "mean"


@dataclass(frozen=True)
class Suite:
    """A named set of benchmarks that are reported together (unweighted means over them, or over their domains).

    `benchmarks` are asked by us and `lm_eval` by lm-eval. `composites` are made of both; what is part of one is not
    reported by itself. `examples` lend a domain examples beside those of its benchmarks (tasks of lm-eval have none),
    under the same terms.
    """

    name: str
    title: str
    benchmarks: tuple[Benchmark, ...]
    composites: tuple[Composite, ...] = ()
    lm_eval: tuple[LmEvalTask, ...] = ()
    examples: Mapping[str, Callable[[str, Path | None], list[Example]]] = field(default_factory=dict)

    @property
    def reported(self) -> tuple[str, ...]:
        """Names of what a table of the suite has columns of: in the order of the first that each is made of."""
        names: dict[str, None] = {}
        for asked in self.asked:
            made = [c.name for c in self.composites if asked in {part.benchmark for part in c.parts}]
            names |= dict.fromkeys(made or [asked])
        return tuple(names)

    @property
    def asked(self) -> tuple[str, ...]:
        """Names of all benchmarks that are asked, those of lm-eval first."""
        return (*(task.name for task in self.lm_eval if not task.beside), *(b.name for b in self.benchmarks))
