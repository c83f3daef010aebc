"""What is stored of a model: groups of responses that were asked in the same way, and the answers of a group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from bench.evaluation.questions import sized
from bench.evaluation.target import EvalTarget
from bench.identity import response_id
from bench.suites import EvalOptions
from tasks.contract import Benchmark, Draw, Sampling

if TYPE_CHECKING:
    from results.store import Store

COLUMNS = (
    "benchmark_version", "prompt_mode", "draw", "temperature", "top_p", "max_new_tokens", "engine", "dtype",
)  # fmt: skip


@dataclass(frozen=True)
class Group:
    """Stored responses of one model to one benchmark that were asked in the same way."""

    benchmark: Benchmark
    benchmark_version: str
    prompt_mode: str
    draw: str
    temperature: float
    top_p: float
    max_new_tokens: int | None
    engine: str
    dtype: str

    @property
    def asked_on(self) -> str:
        """How it was asked, apart from the benchmark: engine, dtype, prompt mode, and a budget of its own."""
        budget = self.draw.partition("@")[2]
        return f"{self.engine} {self.dtype}, {self.prompt_mode}" + (f", budget {budget}" if budget else "")

    @property
    def asked_in_full(self) -> str:
        """As `asked_on`, with the draw and its real numbers, for groups that read alike."""
        budget = "" if self.max_new_tokens is None else f", budget {self.max_new_tokens}"
        return (
            f"{self.engine} {self.dtype}, {self.prompt_mode}, {self.draw}: temperature {self.temperature:g}, "
            f"top_p {self.top_p:g}{budget}"
        )

    @property
    def scored_as(self) -> tuple[str, ...]:
        """What its scores are stored under: neither temperature nor top_p nor the real budget is part of it."""
        return (
            self.benchmark.name, self.benchmark_version, self.prompt_mode, self.draw, self.engine, self.dtype,
        )  # fmt: skip

    def is_chosen(self, options: EvalOptions) -> bool:
        """Whether it is what the options say; those that say nothing (engine `auto`) let everything through."""
        return (
            options.engine in ("auto", self.engine.partition(":")[0])
            and options.dtype in (None, self.dtype)
            and options.prompt_mode in (None, self.prompt_mode)
            and (self.max_new_tokens is None or options.max_new_tokens in (None, self.max_new_tokens))
            and not (self.temperature > 0 and options.samples == 0)
        )

    def drawn(self, n: int) -> Draw:
        """Its draw, of `n` responses to a question, with the votes that the benchmark takes at that size."""
        known = {draw.name: draw for draw in self.benchmark.protocols}
        usual = known.get(self.draw.partition("@")[0], Draw(self.draw, Sampling(0)))
        sampling = replace(usual.sampling, temperature=self.temperature, top_p=self.top_p)
        if self.max_new_tokens is not None:
            sampling = replace(sampling, max_new_tokens=self.max_new_tokens)
        own = replace(usual, name=self.draw, sampling=sampling)
        return own if n == own.n else sized(own, n)


def groups(store: Store, checkpoint: str, benchmarks: Sequence[Benchmark], split: str) -> list[Group]:
    """Every group that is stored of a model (its fingerprint); the newest comes last, so that its scores stay."""
    by_name = {benchmark.name: benchmark for benchmark in benchmarks}
    rows = store.rows(
        f"SELECT benchmark, {', '.join(COLUMNS)} FROM responses WHERE checkpoint = $checkpoint AND split = $split "
        "AND list_contains($benchmarks, benchmark) GROUP BY ALL ORDER BY max(created_at), "
        f"benchmark, {', '.join(COLUMNS)}",
        {"checkpoint": checkpoint, "split": split, "benchmarks": list(by_name)},
    )
    return [Group(by_name[row.pop("benchmark")], **row) for row in rows]


def answers_of(
    store: Store, target: EvalTarget, group: Group, split: str
) -> tuple[Mapping[str, dict[int, str]], str | None]:
    """Response ids by document and index, of those that one prompt asked for; and a remark on the others."""
    conditions = " AND ".join(f'"{name}" IS NOT DISTINCT FROM ${name}' for name in COLUMNS)
    rows = store.rows(
        "SELECT response_id, document_hash, prompt_hash, sample_index, run_id, created_at FROM responses "
        "WHERE checkpoint = $checkpoint AND benchmark = $benchmark AND split = $split "
        f"AND {conditions} ORDER BY created_at, response_id",
        {"checkpoint": target.fingerprint, "benchmark": group.benchmark.name, "split": split}
        | {name: getattr(group, name) for name in COLUMNS},
    )
    labels = group.benchmark.labels
    own = [row for row in rows if not labels or row["response_id"] == _label_id(target, group, row)]
    return _of_one_prompt(own)


def _of_one_prompt(rows: Sequence[dict[str, Any]]) -> tuple[Mapping[str, dict[int, str]], str | None]:
    """Response ids by document and index, under one prompt, from rows that come oldest first; and a remark.

    Of documents that were asked with two prompts (a changed template) we know the earlier and the later one; what
    was asked once belongs to the later where it came after the change. The one with more documents counts, of equals
    the later: one score does not mix them, and does not replace that of one prompt by a mixed one.
    """
    prompts: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        if row["prompt_hash"] not in (of := prompts[row["document_hash"]]):
            of.append(row["prompt_hash"])
    again = [row for row in rows if len(prompts[row["document_hash"]]) > 1]
    after = _after_the_change(again, prompts)
    earlier: dict[str, dict[int, str]] = defaultdict(dict)
    later: dict[str, dict[int, str]] = defaultdict(dict)
    for row in rows:
        of = prompts[row["document_hash"]]
        if row["prompt_hash"] == of[-1] and (len(of) > 1 or after(row)):
            later[row["document_hash"]][row["sample_index"]] = row["response_id"]
        elif row["prompt_hash"] == of[0]:
            earlier[row["document_hash"]][row["sample_index"]] = row["response_id"]
    if not later:
        return earlier, None
    which, counts = ("later", later) if len(later) >= len(earlier) else ("earlier", earlier)
    twice = sum(len(of) > 1 for of in prompts.values())
    return counts, (
        f"{twice:,} of the questions were asked with two prompts; the {which} counts, with which {len(counts):,} of "
        f"{len(prompts):,} were asked"
    )


def _after_the_change(
    again: Sequence[dict[str, Any]], prompts: Mapping[str, list[str]]
) -> Callable[[Mapping[str, Any]], bool]:
    """Tells whether a response to a document asked once came after the prompt changed; `again` are the responses to
    those asked twice.

    By its run, which has one template and asks in any order; of a run that asked nothing twice, by its time.
    """
    new = [row for row in again if row["prompt_hash"] == prompts[row["document_hash"]][-1]]
    new_runs = {row["run_id"] for row in new}
    old_runs = {row["run_id"] for row in again} - new_runs
    since = min((row["created_at"] for row in new), default=None)

    def after(row: Mapping[str, Any]) -> bool:
        if row["run_id"] in new_runs:
            return True
        return since is not None and row["run_id"] not in old_runs and bool(row["created_at"] >= since)

    return after


def _label_id(target: EvalTarget, group: Group, row: Mapping[str, Any]) -> str:
    """The id that a label has under the task head that this model answers with: the head is in no column."""
    head = target.head(group.benchmark)
    return response_id(
        checkpoint=target.fingerprint,
        benchmark=group.benchmark.name,
        benchmark_version=group.benchmark_version,
        document_hash=row["document_hash"],
        prompt_hash=row["prompt_hash"],
        sampling=group.drawn(1).sampling,
        sample_index=row["sample_index"],
        engine=group.engine,
        dtype=group.dtype,
        head=head.fingerprint if head else None,
    )


def sizes_of(
    store: Store, target: EvalTarget, group: Group, options: EvalOptions, *, whole: Sequence[int]
) -> tuple[int, ...]:
    """The numbers of responses to a question that scores are made of: those asked for, else those scored before, and
    what every question has where that is more: a run that was killed may have left it without scores.

    `whole` has, for each question with any, how many of its first responses there are.
    """
    largest = max(whole, default=0)
    if options.samples and group.temperature > 0:
        return (options.samples,)
    rows = store.rows(
        "SELECT DISTINCT samples FROM scores WHERE checkpoint = ? AND benchmark = ? AND benchmark_version = ? "
        "AND split = ? AND draw = ? AND prompt_mode = ? AND engine = ? AND dtype = ? AND samples <= ?",
        [target.fingerprint, group.benchmark.name, group.benchmark_version, options.split, group.draw,
         group.prompt_mode, group.engine, group.dtype, largest],
    )  # fmt: skip
    scored = {row["samples"] for row in rows}
    if not scored:
        return (largest,) if largest else ()
    every = min(whole)
    return tuple(sorted(scored | ({every} if every > max(scored) else set())))
