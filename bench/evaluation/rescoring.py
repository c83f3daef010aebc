"""Grades stored responses again. The database says what there is: no engine, tokenizer or checkpoint is opened.

Responses are taken as they were asked, in groups of one engine, dtype, prompt mode and draw with its budget; each
group is graded and scored as itself. Golds come from the benchmark's data: a response belongs to the question with
the text and the gold that it was asked with.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bench.errors import BadInput
from bench.evaluation.progress import Advance, bar
from bench.evaluation.questions import Ask, Golds, Pool, golds, sized
from bench.evaluation.scoring import Scoring, verdicts_due
from bench.evaluation.target import EvalTarget
from bench.evaluation.token_counts import FixedTokenizer
from bench.identity import response_id, seed_of
from bench.suites import EvalOptions
from tasks.contract import Benchmark, Draw, Sampling

if TYPE_CHECKING:
    from results.spool import Spool
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


@dataclass
class Rescored:
    """What was graded again, one sentence for each way of asking, and what of the asked was not.

    `missing` responses belong to questions of the benchmark that have none stored; `unread` are benchmarks whose
    data cannot be read, with the reason; `remarks` are what the sources of the data remark.
    """

    name: str
    stored: int = 0
    graded: int = 0
    missing: int = 0
    sentences: list[str] = field(default_factory=list)
    absent: list[str] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Work:
    """One group, ready: the asks that have a response, their ids, and the sizes of pool that are scored."""

    group: Group
    pool: Pool
    ids: list[str]
    sizes: tuple[int, ...]
    n_missing: int


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


def rescore(
    target: EvalTarget,
    benchmarks: Sequence[Benchmark],
    options: EvalOptions,
    *,
    store: Store,
    spool: Spool,
    suite: str,
    again: bool = True,
    progress: bool = True,
) -> Rescored:
    """Grade what is stored of a model once more, and score it as an evaluation does.

    Engine, dtype, budget and prompt mode of `options` choose among what is stored. `again` False grades only what
    has no verdict of the present graders. Raises BadInput where nothing is stored that was asked for.
    """
    there = groups(store, target.fingerprint, benchmarks, options.split)
    chosen = [group for group in there if group.is_chosen(options)]
    if not chosen:
        raise BadInput(_nothing(target.name, there, options))
    done = Rescored(target.name)
    newest = _newest(chosen, there, done)
    works = _works(target, newest, options, store=store, suite=suite, done=done)
    fixed = FixedTokenizer(options.fixed_tokenizer) if options.fixed_tokenizer else None
    scoring = Scoring(target, fixed, store, spool)
    by_voice: dict[str, list[_Work]] = defaultdict(list)
    for work in works:
        by_voice[_told(work.group, there)].append(work)
    total = sum(verdicts_due(work.pool, work.ids) for work in works)
    with bar(f"{target.name}: grading again", total, show=progress) as advance:
        for voice, own in by_voice.items():
            _one_voice(scoring, voice, own, done, again=again, advance=advance)
    found = {group.benchmark.name for group in chosen}
    done.absent += [f"nothing is stored for {b.name}" for b in benchmarks if b.name not in found]
    return done


def _newest(chosen: Sequence[Group], there: Sequence[Group], done: Rescored) -> list[Group]:
    """Those of `chosen` that are the newest of all that are scored under one key; the others are said in `done`.

    Else every further grading would turn the current score over, from one group to the other.
    """
    newest = {group.scored_as: group for group in there}  # the newest comes last
    for group in chosen:
        if (last := newest[group.scored_as]) is not group:
            done.absent.append(
                f"{group.benchmark.name} ({group.asked_in_full}) is not graded again: newer responses have its name "
                f"and its scores ({last.asked_in_full})"
            )
    return [group for group in chosen if newest[group.scored_as] is group]


def _told(group: Group, there: Sequence[Group]) -> str:
    """How a group was asked, in full where another of its name is stored."""
    alike = sum(other.scored_as == group.scored_as for other in there) > 1
    return group.asked_in_full if alike else group.asked_on


def _one_voice(
    scoring: Scoring, voice: str, works: Sequence[_Work], done: Rescored, *, again: bool, advance: Advance
) -> None:
    """Grade and score everything that was asked in one way, and say so."""
    started = time.perf_counter()
    scores, graded = [], 0
    for work in works:
        verdicts = scoring.graded(work.pool, work.ids, again=again, advance=advance)
        graded += verdicts.new
        for n in work.sizes:
            pool, ids = _complete(work, n)
            scores += scoring.scores(pool, verdicts, ids)
    scoring.keep(scores)
    stored, missing = sum(len(set(work.ids)) for work in works), sum(work.n_missing for work in works)
    done.stored, done.graded, done.missing = (
        done.stored + stored,
        done.graded + graded,
        done.missing + missing,
    )
    lacking = f", {missing:,} missing" if missing else ""
    again_said = f"{graded:,} graded" if graded else "all grades reused"
    done.sentences.append(
        f"{done.name} ({voice}): all {stored:,} responses reused{lacking}; {again_said}; "
        f"{time.perf_counter() - started:.1f} s"
    )


def _works(
    target: EvalTarget, chosen: Sequence[Group], options: EvalOptions, *,
    store: Store, suite: str, done: Rescored,
) -> list[_Work]:  # fmt: skip
    """The groups with the questions that they answer; what cannot be graded is said in `done`."""
    works = []
    for group in chosen:
        benchmark = group.benchmark
        if group.benchmark_version != benchmark.version:
            done.absent.append(
                f"{benchmark.name} ({group.asked_on}) is stored of version {group.benchmark_version} and now is "
                f"{benchmark.version}: evaluate it again"
            )
            continue
        try:
            asked = golds(benchmark, options)
        except BadInput as error:
            if (said := f"{benchmark.name}: {error}") not in done.unread:
                done.unread.append(said)
            continue
        done.remarks += asked.source.remarks
        work = _work(target, group, asked, options, store=store, suite=suite, done=done)
        if work.ids:
            works.append(work)
        else:
            done.absent.append(
                f"{benchmark.name} ({group.asked_on}) answers other questions than its data ask"
            )
    return works


def _work(
    target: EvalTarget, group: Group, asked: Golds, options: EvalOptions, *,
    store: Store, suite: str, done: Rescored,
) -> _Work:  # fmt: skip
    """A group as a pool of what is stored, whatever the number of responses to each question."""
    answers, remark = _of_one_prompt(_answers(store, target, group, options.split))
    if remark:
        done.absent.append(f"{group.benchmark.name} ({group.asked_on}): {remark}")
    asks, ids = [], []
    whole: list[int] = []  # for each question, how many of its first responses are there
    for sample, document in asked.questions[: options.limit]:
        own = answers.get(document, {})
        asks += [Ask(sample, k, "", document, "", seed_of(document, k)) for k in sorted(own)]
        ids += [own[k] for k in sorted(own)]
        whole.append(next(k for k in range(len(own) + 1) if k not in own))
    sizes = _sizes(store, target, group, options, whole=[n for n in whole if n])
    most = max(sizes, default=1)
    pool = Pool(
        suite=suite, benchmark=group.benchmark, draw=group.drawn(most), split=options.split, source=asked.source,
        prompt_mode=group.prompt_mode, expected_n=asked.expected_n, asks=tuple(asks),
    )  # fmt: skip
    there = sum(ask.index < most for ask in asks)
    return _Work(group, pool, ids, sizes, n_missing=len(whole) * most - there)


def _answers(store: Store, target: EvalTarget, group: Group, split: str) -> list[dict[str, Any]]:
    """The responses of a group, oldest first: id, document, prompt, index, run and time."""
    conditions = " AND ".join(f'"{name}" IS NOT DISTINCT FROM ${name}' for name in COLUMNS)
    rows = store.rows(
        "SELECT response_id, document_hash, prompt_hash, sample_index, run_id, created_at FROM responses "
        "WHERE checkpoint = $checkpoint AND benchmark = $benchmark AND split = $split "
        f"AND {conditions} ORDER BY created_at, response_id",
        {"checkpoint": target.fingerprint, "benchmark": group.benchmark.name, "split": split}
        | {name: getattr(group, name) for name in COLUMNS},
    )
    labels = group.benchmark.labels
    return [row for row in rows if not labels or row["response_id"] == _label_id(target, group, row)]


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


def _sizes(
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


def _complete(work: _Work, n: int) -> tuple[Pool, list[str]]:
    """The first `n` responses of every question that has as many, and their ids."""
    first = [(ask, id) for ask, id in zip(work.pool.asks, work.ids, strict=True) if ask.index < n]
    count: dict[str, int] = defaultdict(int)
    for ask, _ in first:
        count[ask.sample.id] += 1
    kept = [(ask, id) for ask, id in first if count[ask.sample.id] == n]
    pool = replace(work.pool, draw=work.group.drawn(n), asks=tuple(ask for ask, _ in kept))
    return pool, [id for _, id in kept]


def _nothing(name: str, there: Sequence[Group], options: EvalOptions) -> str:
    """The refusal, with what was asked for and what is stored instead."""
    flags = {
        "--split": options.split if options.split != "test" else None,
        "--engine": options.engine if options.engine != "auto" else None,
        "--dtype": options.dtype,
        "--max-new-tokens": options.max_new_tokens,
        "--prompt-mode": options.prompt_mode,
        "--samples": options.samples,
    }
    given = " ".join(f"{flag} {value}" for flag, value in flags.items() if value is not None)
    asked = f"nothing is stored for {name} on suite {options.suite}{' with ' + given if given else ''}"
    if not there:
        return f"{asked}: evaluate it first, without --rescore"
    stored = "; ".join(dict.fromkeys(f"{g.benchmark.name} {_told(g, there)}" for g in there))
    return f"{asked}: it has {stored}. Leave out what does not fit, or evaluate first, without --rescore"
