"""Grades stored responses again. The database says what there is: no engine, tokenizer or checkpoint is opened.

Responses are taken as they were asked, in groups of one engine, dtype, prompt mode and draw with its budget; each
group is graded and scored as itself. Golds come from the benchmark's data: a response belongs to the question with
the text and the gold that it was asked with.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bench.errors import BadInput
from bench.evaluation.grading import Graded
from bench.evaluation.judges import judged_graders, stored_judges
from bench.evaluation.progress import Advance, bar
from bench.evaluation.questions import Ask, Golds, Pool, golds
from bench.evaluation.scoring import Scoring, verdicts_due
from bench.evaluation.stored_groups import Group, answers_of, groups, sizes_of
from bench.evaluation.target import EvalTarget
from bench.evaluation.token_counts import FixedTokenizer
from bench.identity import seed_of
from bench.suites import EvalOptions
from tasks.contract import Benchmark

if TYPE_CHECKING:
    from results.spool import Spool
    from results.store import Store


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
    scoring = Scoring(target, fixed, store, spool, stored_judges(store, options))
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
        done.absent += _unjudged(work, verdicts)
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


def _unjudged(work: _Work, graded: Graded) -> list[str]:
    """What no judge has said anything of."""
    if not judged_graders(work.group.benchmark):
        return []
    ask = "evaluate again without --rescore, with --judge"
    if not graded.graders:
        return [f"{work.group.benchmark.name}: no judge's answers are stored: {ask}"]
    n = len(set(work.ids))
    return [
        f"{work.group.benchmark.name}: {name} has judged {len(by_id):,} of {n:,} responses: {ask}"
        for name, by_id in graded.verdicts.items()
        if graded.is_first(name) and len(by_id) < n
    ]


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
    answers, remark = answers_of(store, target, group, options.split)
    if remark:
        done.absent.append(f"{group.benchmark.name} ({group.asked_on}): {remark}")
    asks, ids = [], []
    whole: list[int] = []  # for each question, how many of its first responses are there
    for sample, document in asked.questions[: options.limit]:
        own = answers.get(document, {})
        asks += [Ask(sample, k, "", document, "", seed_of(document, k)) for k in sorted(own)]
        ids += [own[k] for k in sorted(own)]
        whole.append(next(k for k in range(len(own) + 1) if k not in own))
    sizes = sizes_of(store, target, group, options, whole=[n for n in whole if n])
    most = max(sizes, default=1)
    pool = Pool(
        suite=suite, benchmark=group.benchmark, draw=group.drawn(most), split=options.split, source=asked.source,
        prompt_mode=group.prompt_mode, expected_n=asked.expected_n, asks=tuple(asks),
    )  # fmt: skip
    there = sum(ask.index < most for ask in asks)
    return _Work(group, pool, ids, sizes, n_missing=len(whole) * most - there)


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
