"""The responses themselves, one page at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from results.errors import StoreError
from results.store import Store

OUTCOMES = {
    "all": "true",
    "correct": "correct",
    "wrong": "NOT correct AND extracted IS NOT NULL",
    "no answer": "extracted IS NULL AND correct IS NOT NULL",
    "truncated": "finish_reason = 'length'",
    "not graded": "correct IS NULL",
}


@dataclass(frozen=True)
class Page:
    """`items` are rows of `responses` with grader, grader_version, correct, extracted, vote and why.

    `counts` says how many responses have each outcome; truncated ones are also counted by their verdict.
    """

    items: list[dict[str, Any]]
    total: int
    counts: dict[str, int]


# One grader per response: the one asked for, else the newest verdict.
_GRADED = """
WITH answered AS MATERIALIZED (
    SELECT * FROM responses WHERE checkpoint = $checkpoint AND benchmark = $benchmark AND split = $split
        AND ($draw IS NULL OR draw = $draw) AND ($engine IS NULL OR engine = $engine)
        AND ($version IS NULL OR benchmark_version = $version)
), judged AS (
    SELECT response_id, grader, grader_version, correct, extracted, vote, why FROM verdicts
    WHERE response_id IN (SELECT response_id FROM answered)
        AND ($grader IS NULL OR grader || '@' || grader_version = $grader)
    QUALIFY row_number() OVER (PARTITION BY response_id ORDER BY created_at DESC, rowid DESC) = 1
), graded AS (SELECT * FROM answered LEFT JOIN judged USING (response_id))
"""


def responses_of(
    store: Store,
    checkpoint: str,
    benchmark: str,
    *,
    split: str = "test",
    draw: str | None = None,
    engine: str | None = None,
    benchmark_version: str | None = None,
    grader: str | None = None,
    outcome: str = "all",
    offset: int = 0,
    limit: int = 20,
) -> Page:
    """A page of the responses of one checkpoint on one benchmark, ordered by question and sample index.

    `outcome` is one of OUTCOMES; None elsewhere means any. `grader` is "name@version".
    """
    if outcome not in OUTCOMES:
        raise StoreError(f"unknown outcome {outcome!r}. Known: {', '.join(OUTCOMES)}.")
    where = {
        "checkpoint": checkpoint,
        "benchmark": benchmark,
        "split": split,
        "draw": draw,
        "engine": engine,
        "version": benchmark_version,
        "grader": grader,
    }
    counting = ", ".join(
        f'count(*) FILTER (WHERE {condition}) AS "{name}"' for name, condition in OUTCOMES.items()
    )
    with store.reading() as query:
        counted = query(f"{_GRADED} SELECT {counting} FROM graded", where)
        items = query(
            f"{_GRADED} SELECT * FROM graded WHERE {OUTCOMES[outcome]} "
            "ORDER BY length(sample_id), sample_id, draw, sample_index, response_id "
            "LIMIT $limit OFFSET $offset",
            {**where, "limit": limit, "offset": offset},
        )
    counts = dict(counted[0]) if counted else dict.fromkeys(OUTCOMES, 0)
    return Page(items=items, total=counts[outcome], counts=counts)


def draws_of(store: Store, checkpoint: str, benchmark: str, *, split: str = "test") -> list[str]:
    """The draws under which a checkpoint answered a benchmark: greedy first."""
    rows = store.rows(
        "SELECT DISTINCT draw FROM responses WHERE checkpoint = ? AND benchmark = ? AND split = ? "
        "ORDER BY draw <> 'greedy', draw",
        [checkpoint, benchmark, split],
    )
    return [row["draw"] for row in rows]


@dataclass(frozen=True)
class Measured:
    """A benchmark of which there are scores in one model set and split, with methods and graders that have
    some."""

    model_set: str
    suite: str
    split: str
    benchmark: str
    methods: tuple[str, ...]
    graders: tuple[str, ...] = ()


def measured(store: Store) -> list[Measured]:
    """What a reader can choose from, in the order of the first scores: benchmarks as their suite has them."""
    rows = store.rows(
        """
        SELECT s.model_set, s.suite, s.split, s.benchmark,
            list(DISTINCT c.method ORDER BY c.method) FILTER (WHERE c.method IS NOT NULL) AS methods,
            list(DISTINCT regexp_replace(s.grader, '@[^@]*$', '')) FILTER (WHERE s.metric = 'accuracy'
                AND s.grader IS NOT NULL) AS graders
        FROM scores AS s LEFT JOIN checkpoints AS c USING (model_set, checkpoint)
        GROUP BY ALL ORDER BY min(row(s.created_at, s.rowid))
        """
    )
    lists = ("methods", "graders")
    return [Measured(**{**row, **{name: tuple(sorted(row[name] or ())) for name in lists}}) for row in rows]
