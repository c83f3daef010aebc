"""The second step of an evaluation: verdicts on stored responses, and their scores. No model is needed.

Responses are read, graded and let go in groups, so that a hundred thousand long ones need no more memory than
one group and what their scores are made of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.evaluation.clusters import Voter, clustered
from bench.evaluation.questions import Ask, Pool
from results.schema import SCORES
from results.scores import SHARED, UNWRITTEN, score_rows, stopped_at_limit
from tasks.contract import Answer, AnswerGrader, AnyGrader, Benchmark, Grader, Verdict
from tasks.l2s.flags import flags

if TYPE_CHECKING:
    from results.spool import Spool
    from results.store import Store

Row = Mapping[str, Any]
Asked = tuple[Ask, str]  # what is asked, and the id of its response
CHUNK = 1024  # responses between two writes: what a killed run has to grade again
STRICT = "strict"  # the grader whose idea of equality makes the clusters that vote

# What scores are made of, beside what they share.
KEPT = (
    "response_id", "document_hash", "n_tokens_text", "finish_reason", "n_reflections", "ends_with_code_fence",
    "complete_box", "logprob_sum", "target", "sample_group",
)  # fmt: skip
JUDGED = ("response_id", "grader", "grader_version", "correct", "extracted", "vote")


@dataclass
class Graded:
    """The stored responses of one pool without their texts, and the verdicts of each grader on them, by id.

    `graders` in the order of the benchmark; `new` counts the verdicts that were not stored yet.
    """

    graders: tuple[str, ...]
    responses: dict[str, Row] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Row]] = field(default_factory=dict)
    new: int = 0


def graders_of(benchmark: Benchmark) -> list[AnyGrader]:
    """The graders of a benchmark: the first one is whose numbers are shown by default."""
    return [make() for make in (benchmark.grader, *benchmark.also_graded_by)]


def grade(
    pool: Pool,
    ids: Sequence[str],
    *,
    store: Store,
    spool: Spool,
    rescore: bool,
    advance: Callable[[int], None],
) -> Graded:
    """One verdict of each of the benchmark's graders for each stored response of `ids` (one per ask).

    Stored verdicts of a grader's present version are used; `rescore` grades everything again. New ones are
    spooled.
    """
    graders = graders_of(pool.benchmark)
    try:
        return _graded(pool, ids, graders, store=store, spool=spool, rescore=rescore, advance=advance)
    finally:
        for grader in graders:
            if close := getattr(grader, "close", None):  # it has worker processes
                close()


def _graded(
    pool: Pool, ids: Sequence[str], graders: Sequence[AnyGrader], *,
    store: Store, spool: Spool, rescore: bool, advance: Callable[[int], None],
) -> Graded:  # fmt: skip
    graded = Graded(tuple(grader.name for grader in graders), verdicts={g.name: {} for g in graders})
    for asked in _groups(pool.asks, ids):
        responses = {row["response_id"]: row for row in store.fetch("responses", [id for _, id in asked])}
        for grader in graders:
            known: list[dict[str, Any]] = []
            if not rescore:
                by = {"grader": grader.name, "grader_version": grader.version}
                known = store.fetch("verdicts", responses, **by)
            verdicts = {row["response_id"]: _judged(row) for row in known}
            rows = _judge(grader, [row for id, row in responses.items() if id not in verdicts])
            if pool.draw.votes and rows:
                _cluster([(a.sample.id, id) for a, id in asked], rows, verdicts, graders, grader)
            spool.append_many("verdicts", rows.values())
            graded.new += len(rows)
            advance(len(asked) - len(verdicts))
            graded.verdicts[grader.name] |= verdicts | {id: _judged(row) for id, row in rows.items()}
        graded.responses |= {id: _measured(row) for id, row in responses.items()}
    return graded


def _groups(asks: Sequence[Ask], ids: Sequence[str]) -> Iterator[list[Asked]]:
    """About CHUNK asks at a time; all of one question are in one group."""
    group: list[Asked] = []
    for ask, id in zip(asks, ids, strict=True):
        if len(group) >= CHUNK and ask.sample.id != group[-1][0].sample.id:
            yield group
            group = []
        group.append((ask, id))
    if group:
        yield group


def _judge(grader: AnyGrader, responses: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """New rows of `verdicts`, by response id."""
    if not responses:
        return {}
    judged = verdicts_of(grader, [answer_of(row) for row in responses])
    return {
        row["response_id"]: _verdict_row(row["response_id"], grader, verdict)
        for row, verdict in zip(responses, judged, strict=True)
    }


def verdicts_of(grader: AnyGrader, answers: Sequence[Answer]) -> list[Verdict]:
    """What a grader that needs no judge says of answers, in order."""
    if isinstance(grader, AnswerGrader):
        return grader.grade_answers(answers)
    assert isinstance(grader, Grader), f"{grader.name} cannot grade without a judge"
    return grader.grade([(answer.text, answer.target) for answer in answers])


def answer_of(row: Row) -> Answer:
    """A stored response as a grader sees it."""
    return Answer(row["question"], row["text"], row["target"], row["reference"])


def _verdict_row(id: str, grader: AnyGrader, verdict: Verdict) -> dict[str, Any]:
    return {
        "response_id": id, "grader": grader.name, "grader_version": grader.version, "correct": verdict.correct,
        "extracted": verdict.extracted, "vote": verdict.vote, "why": verdict.why,
    }  # fmt: skip


def _cluster(
    asked: Sequence[tuple[str, str]],
    rows: dict[str, dict[str, Any]],
    stored: Mapping[str, Row],
    graders: Sequence[AnyGrader],
    own: AnyGrader,
) -> None:
    """Give the new verdicts the names of the clusters that they vote with; `asked` are (question, response)
    ids."""
    judge = next((grader for grader in graders if grader.name == STRICT), own)
    questions: dict[str, list[str]] = {}
    for question, id in asked:
        if id in rows or id in stored:
            questions.setdefault(question, []).append(id)
    answers = []
    for ids in questions.values():
        verdicts = [(rows.get(id) or stored[id], id in stored) for id in ids]
        answers.append(
            [Voter(v["vote"], v["extracted"] or v["vote"] or "", settled) for v, settled in verdicts]
        )
    # A grader that can compare two answers has `equivalent`; else its own names of answers are the clusters.
    names = clustered(answers, getattr(judge, "equivalent", None))
    for ids, of_question in zip(questions.values(), names, strict=True):
        for id, name in zip(ids, of_question, strict=True):
            if id in rows:
                rows[id]["vote"] = name


def _short(row: Row, names: Sequence[str]) -> dict[str, Any]:
    """Some columns of a row; what many rows share is kept once."""
    return {name: sys.intern(value) if isinstance(value := row[name], str) else value for name in names}


def _judged(row: Row) -> dict[str, Any]:
    """A verdict as scores need it: of its reason, which is another for each answer, only that a limit was met."""
    why = row["why"]
    return _short(row, JUDGED) | {"why": why if stopped_at_limit(why) else None}


def _measured(row: Row) -> dict[str, Any]:
    """A response without its text; what an older row does not say of the text is read from it."""
    kept = _short(row, (*SHARED, *KEPT))
    if kept["complete_box"] is None and row["finish_reason"] not in UNWRITTEN:
        found = flags(row["text"])
        kept |= {
            "n_reflections": found.reflections,
            "ends_with_code_fence": found.code_fence,
            "complete_box": found.complete_box,
        }
    return kept


def score(
    pool: Pool,
    graded: Graded,
    ids: Sequence[str],
    common: Row,
    tokens: Mapping[str, Mapping[str, int]] | None = None,
) -> list[dict[str, Any]]:
    """Score rows, under every grader, of the questions of `pool` whose responses (`ids`, one per ask) are all
    there.

    `tokens` has, by fixed tokenizer, the length of each response.
    """
    responses = graded.responses
    incomplete = {ask.sample.id for ask, id in zip(pool.asks, ids, strict=True) if id not in responses}
    # A response is stored under the first question that asked it. Two questions with the same text share it.
    asked = [
        {
            **responses[id], "suite": pool.suite, "split": pool.split, "draw": pool.draw.name,
            "prompt_mode": pool.prompt_mode, "sample_id": ask.sample.id, "sample_index": ask.index,
        }
        for ask, id in zip(pool.asks, ids, strict=True)
        if ask.sample.id not in incomplete
    ]  # fmt: skip
    if not asked:
        return []
    verdicts = {name: [by_id[r["response_id"]] for r in asked] for name, by_id in graded.verdicts.items()}
    return [
        row
        for place, name in enumerate(graded.graders)
        for row in score_rows(
            asked,
            verdicts[name],
            expected_n=pool.expected_n,
            votes=pool.draw.votes,
            others={other: rows for other, rows in verdicts.items() if other != name},
            tokens=tokens,
            first=place == 0,
            domain=pool.benchmark.domain,
            **common,
        )
    ]


def new_scores(rows: list[dict[str, Any]], store: Store, checkpoint: str) -> list[dict[str, Any]]:
    """Those of `rows` that say something else than the current score of their key."""
    current = {_key(row): row for row in store.fetch("scores", [checkpoint])}
    return [row for row in rows if not _same(row, current.get(_key(row)))]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in SCORES.key)


def _same(row: Row, stored: Row | None) -> bool:
    return stored is not None and all(stored[name] == value for name, value in row.items())
