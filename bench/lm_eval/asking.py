"""What tasks of lm-eval ask, as our benchmarks, pools and asks: one identity for every response."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.evaluation.experts import Expert, expert_of
from bench.evaluation.questions import Ask, Pool
from bench.identity import digest, document_hash, seed_of, text_hash
from bench.lm_eval import PREFIX, SUITE
from bench.lm_eval.sampling import sampling_of
from tasks.contract import Benchmark, Draw, Grader, LmEvalTask, Sample, Sampling, Source

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.task import Task

# What of a task's configuration decides its verdicts.
SCORING = (
    "metric_list",
    "filter_list",
    "process_results",
    "doc_to_target",
    "target_delimiter",
    "output_type",
)


@dataclass(frozen=True)
class Place:
    """Where the rows of a task belong that a suite asks.

    `scored` is the suite's benchmark, `group` what the task is called among those of one benchmark, `source` the
    local data that it reads instead of its own, `grader_version` the one that all tasks of the benchmark share.
    """

    suite: str
    scored: LmEvalTask
    group: str | None = None
    source: Source | None = None
    grader_version: str | None = None


@dataclass(frozen=True)
class Asked:
    """A task of lm-eval as a benchmark of ours, or as a part of one where a suite asks it (`place`).

    `chat` says whether its prompts go through the chat template, `budget` is the one that replaces its own.
    """

    task: Task
    chat: bool = False
    budget: int | None = None
    place: Place | None = None

    @cached_property
    def name(self) -> str:
        """lm-eval's name of the task."""
        return str(self.task.config.task)

    @property
    def suite(self) -> str:
        """The suite that its rows are stored under."""
        return self.place.suite if self.place else SUITE

    @cached_property
    def split(self) -> str:
        """`test` is what lm-eval scores as test docs, whatever its dataset calls them; of a suite, what it scores."""
        return "test" if self.place or self.task.has_test_docs() else "validation"

    @cached_property
    def docs(self) -> Any:
        """The documents that lm-eval scores, as its task prepared them once."""
        return getattr(self.task, "task_docs", None) or self.task.eval_docs

    def budgeted(self, sampling: Sampling) -> Sampling:
        """The sampling with the budget that replaces the task's own: not every task heeds lm-eval's setting of it."""
        return sampling if self.budget is None else replace(sampling, max_new_tokens=self.budget)

    @property
    def prompt_mode(self) -> str:
        """Number of examples, and whether the chat template is applied."""
        return f"{self.task.config.num_fewshot or 0}-shot{' chat' if self.chat else ''}"

    def expert(self, experts: Mapping[str, Expert]) -> str | None:
        """Fingerprint of the expert of its domain among `experts` (by domain).

        The only expert of a set is not meant to be good at all that a suite asks.
        """
        domain = self.benchmark.domain
        found = experts.get(domain) if self.place else expert_of(experts, domain)
        return found.fingerprint if found else None

    @cached_property
    def source(self) -> Source:
        """Dataset and the revision that was read: the Hub's commit, else a hash of the documents."""
        if self.place and self.place.source:
            return self.place.source
        config = self.task.config
        data = self.docs
        info = getattr(data, "info", None)
        read = [str(url) for url in (getattr(info, "download_checksums", None) or {})]
        commits = {url.split("@")[1].split("/")[0] for url in read if url.startswith("hf://") and "@" in url}
        name = "/".join(str(part) for part in (config.dataset_path, config.dataset_name) if part)
        return Source(name, commits.pop() if len(commits) == 1 else digest([self.document(d) for d in data]))

    @cached_property
    def expected_n(self) -> int:
        """Documents of the whole split."""
        return len(self.docs)

    @cached_property
    def grader_version(self) -> str:
        """Version of lm-eval, and a hash of what of the task's configuration decides a verdict."""
        if self.place and self.place.grader_version:
            return self.place.grader_version
        return graded_by([self.scoring])

    @cached_property
    def scoring(self) -> dict[str, Any]:
        """What of the task's configuration decides a verdict."""
        config = self.task.dump_config()
        return {key: config.get(key) for key in SCORING}

    def document(self, doc: Mapping[str, Any]) -> str:
        """Identity of a document: all of it, because its other columns decide how the answer is judged."""
        return document_hash(json.dumps(doc, sort_keys=True, default=str), self.target(doc))

    def target(self, doc: Mapping[str, Any]) -> str:
        """The gold answer as text."""
        return str(self.task.doc_to_target(doc))

    @cached_property
    def benchmark(self) -> Benchmark:
        """The benchmark that its rows are stored under."""
        scored = self.place.scored if self.place else None
        return Benchmark(
            name=scored.name if scored else f"{PREFIX}{self.name}",
            title=scored.title if scored else f"{self.name} of lm-eval",
            version=str(self.task.VERSION),
            load=lambda split, data_dir: (self._samples(), self.source),
            splits=(self.split,),
            prompts={},  # lm-eval builds them
            protocols=(),
            grader=_graded_elsewhere,
            domain=scored.domain if scored else SUITE,
        )

    def sample(self, place: int, doc: Mapping[str, Any], part: int = 0) -> Sample:
        """A document, by its place in the split; `part` counts the requests that a task makes of one document."""
        group = self.place.group if self.place else None
        id = (f"{group}/" if group else "") + (f"{place}.{part}" if part else str(place))
        return Sample(id, str(self.task.doc_to_text(doc)), self.target(doc), group=group)

    def _samples(self) -> list[Sample]:
        return [self.sample(place, doc) for place, doc in enumerate(self.docs)]


def graded_by(scoring: Sequence[Mapping[str, Any]]) -> str:
    """Version of the grader that lm-eval is for tasks of one benchmark: its own, and a hash of how they score."""
    from importlib.metadata import version

    marks = sorted({digest(dict(one), 4) for one in scoring})
    return f"{version('lm_eval')}-{marks[0] if len(marks) == 1 else digest(marks, 4)}"


def _graded_elsewhere() -> Grader:
    raise BadInput(
        "tasks of lm-eval are graded by lm-eval: `bench lm-eval` with the same options grades what is stored"
    )


def pools_of(
    requests: Sequence[Instance], asked: Mapping[str, Asked], prompt: Callable[[str], str]
) -> list[tuple[Pool, list[int]]]:
    """The pools of some requests that generate, each with the places of its asks among `requests`.

    lm-eval asks for k answers by naming one request k times. `prompt` is applied to every prompt.
    """
    found: dict[tuple[str, Sampling], list[tuple[int, Ask]]] = defaultdict(list)
    seen: Counter[int] = Counter()
    for place, request in enumerate(requests):
        text, settings = request.args
        name = str(request.task_name)
        ask = _ask(asked[name], request, prompt(text), seen[id(request)])
        seen[id(request)] += 1
        found[name, asked[name].budgeted(sampling_of(name, settings))].append((place, ask))
    return [
        (_pool(asked[name], sampling, [ask for _, ask in asks]), [place for place, _ in asks])
        for (name, sampling), asks in found.items()
    ]


def _ask(asked: Asked, request: Instance, prompt: str, index: int) -> Ask:
    document = asked.document(request.doc)
    sample = asked.sample(int(request.doc_id or 0), request.doc, request.idx)
    return Ask(sample, index, prompt, document, text_hash(prompt), seed_of(document, index))


def _pool(asked: Asked, sampling: Sampling, asks: list[Ask]) -> Pool:
    name = "greedy" if sampling.temperature == 0.0 else f"t{sampling.temperature:g}"
    if asked.budget is not None:  # as elsewhere: what another budget gives does not replace the usual numbers
        name += f"@{asked.budget}"
    return Pool(
        suite=asked.suite,
        benchmark=asked.benchmark,
        draw=Draw(name, sampling, 1 + max(ask.index for ask in asks)),
        split=asked.split,
        source=asked.source,
        prompt_mode=asked.prompt_mode,
        expected_n=asked.expected_n,
        asks=tuple(asks),
    )
