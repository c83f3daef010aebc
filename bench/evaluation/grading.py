"""The second step of an evaluation: verdicts on stored responses. No model is needed.

Responses are read, graded and let go in groups, so that a hundred thousand long ones need no more memory than
one group and what their scores are made of.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bench.evaluation.clusters import Voter, clustered
from bench.evaluation.judges import Judged, JudgesOf, answer_of, with_judges
from bench.evaluation.questions import Ask, Pool
from results.scores import SHARED, UNWRITTEN, stopped_at_limit
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

    `graders` in the order of the benchmark; `new` counts the verdicts that were not stored yet; `first` has the names
    of the benchmark's first grader, one for each of its judges, where that is not the first of `graders`.
    """

    graders: tuple[str, ...]
    responses: dict[str, Row] = field(default_factory=dict)
    verdicts: dict[str, dict[str, Row]] = field(default_factory=dict)
    new: int = 0
    first: frozenset[str] = frozenset()

    def is_first(self, name: str) -> bool:
        """Whether it is the grader whose numbers are shown by default."""
        return name in (self.first or self.graders[:1])

    def unread(self) -> dict[str, int]:
        """By name of the first grader, once for each judge: how many answers it found nothing in."""
        return {
            name: sum(verdict["extracted"] is None for verdict in self.verdicts[name].values())
            for name in self.graders
            if self.is_first(name)
        }


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
    judges: JudgesOf | None = None,
) -> Graded:
    """One verdict of each of the benchmark's graders for each stored response of `ids` (one per ask).

    Stored verdicts of a grader's present version are used; `rescore` grades everything again. New ones are
    spooled. A grader that rests on a judge grades once for each of `judges`, what that judge has said something of.
    """
    made = graders_of(pool.benchmark)
    graders = with_judges(made, judges)
    try:
        graded = _graded(pool, ids, graders, store=store, spool=spool, rescore=rescore, advance=advance)
        graded.first = frozenset(one.name for one in with_judges(made[:1], judges))
        return graded
    finally:
        for grader in graders:
            if close := getattr(grader, "close", None):  # it has worker processes
                close()


def _graded(
    pool: Pool, ids: Sequence[str], graders: Sequence[AnyGrader | Judged], *,
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
            rows = _judge(grader, [row for id, row in responses.items() if id not in verdicts], store)
            if pool.draw.votes and rows:
                _cluster([(a.sample.id, id) for a, id in asked], rows, verdicts, graders, grader)
            spool.append_many("verdicts", rows.values())
            graded.new += len(rows)
            advance(len(asked) - len(verdicts))
            graded.verdicts[grader.name] |= verdicts | {id: _judged(row) for id, row in rows.items()}
        keep = ("text",) if pool.benchmark.native else ()
        graded.responses |= {id: _measured(row, keep) for id, row in responses.items()}
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


def _judge(grader: AnyGrader | Judged, responses: Sequence[Row], store: Store) -> dict[str, dict[str, Any]]:
    """New rows of `verdicts`, by response id."""
    if not responses:
        return {}
    if isinstance(grader, Judged):
        found = grader.verdicts(responses, store)
        return {id: _verdict_row(id, grader, verdict) for id, verdict in found.items()}
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


def _verdict_row(id: str, grader: AnyGrader | Judged, verdict: Verdict) -> dict[str, Any]:
    return {
        "response_id": id, "grader": grader.name, "grader_version": grader.version, "correct": verdict.correct,
        "extracted": verdict.extracted, "vote": verdict.vote, "why": verdict.why,
    }  # fmt: skip


def _cluster(
    asked: Sequence[tuple[str, str]],
    rows: dict[str, dict[str, Any]],
    stored: Mapping[str, Row],
    graders: Sequence[AnyGrader | Judged],
    own: AnyGrader | Judged,
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


def _measured(row: Row, more: Sequence[str] = ()) -> dict[str, Any]:
    """A response without its text (unless `more` names it); what an older row does not say of the text is read from
    it."""
    kept = _short(row, (*SHARED, *KEPT)) | {name: row[name] for name in more}
    if kept["complete_box"] is None and row["finish_reason"] not in UNWRITTEN:
        found = flags(row["text"])
        kept |= {
            "n_reflections": found.reflections,
            "ends_with_code_fence": found.code_fence,
            "complete_box": found.complete_box,
        }
    return kept
