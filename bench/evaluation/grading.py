"""The second step of an evaluation: verdicts on stored responses, and their scores. No model is needed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bench.evaluation.questions import Pool
from results.schema import SCORES
from results.scores import score_rows

if TYPE_CHECKING:
    from results.spool import Spool
    from results.store import Store

Row = Mapping[str, Any]
CHUNK = 256  # responses between two writes: what a killed run has to grade again


def grade(
    pool: Pool,
    responses: Mapping[str, Row],
    *,
    store: Store,
    spool: Spool,
    rescore: bool,
    advance: Callable[[int], None],
) -> tuple[dict[str, Row], int]:
    """One verdict of the benchmark's current grader for each of `responses` (by id), and how many are new.

    Stored verdicts of that grader version are used; `rescore` grades everything again. New ones are spooled.
    """
    grader = pool.benchmark.grader()
    by = {"grader": grader.name, "grader_version": grader.version}
    verdicts: dict[str, Row] = {}
    if not rescore:
        verdicts = {row["response_id"]: row for row in store.fetch("verdicts", responses, **by)}
    waiting = [id for id in responses if id not in verdicts]
    for start in range(0, len(waiting), CHUNK):
        ids = waiting[start : start + CHUNK]
        judged = grader.grade([(responses[id]["text"], responses[id]["target"]) for id in ids])
        rows: list[dict[str, Any]] = [
            {
                "response_id": id, **by, "correct": verdict.correct, "extracted": verdict.extracted,
                "vote": verdict.vote, "why": verdict.why,
            }
            for id, verdict in zip(ids, judged, strict=True)
        ]  # fmt: skip
        spool.append_many("verdicts", rows)
        verdicts.update({row["response_id"]: row for row in rows})
        advance(len(ids))
    return verdicts, len(waiting)


def score(
    pool: Pool, responses: Mapping[str, Row], verdicts: Mapping[str, Row], ids: list[str], common: Row
) -> list[dict[str, Any]]:
    """Score rows of the questions of `pool` whose responses (`ids`, one per ask) are all there."""
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
    return score_rows(
        asked,
        [verdicts[row["response_id"]] for row in asked],
        expected_n=pool.expected_n,
        votes=pool.draw.votes,
        domain=pool.benchmark.domain,
        **common,
    )


def new_scores(rows: list[dict[str, Any]], store: Store, checkpoint: str) -> list[dict[str, Any]]:
    """Those of `rows` that say something else than the current score of their key."""
    current = {_key(row): row for row in store.fetch("scores", [checkpoint])}
    return [row for row in rows if not _same(row, current.get(_key(row)))]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in SCORES.key)


def _same(row: Row, stored: Row | None) -> bool:
    return stored is not None and all(stored[name] == value for name, value in row.items())
