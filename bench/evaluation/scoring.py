"""Verdicts and scores of one model's stored responses, whoever found them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.evaluation.experts import expert_of
from bench.evaluation.grading import Graded, grade
from bench.evaluation.judges import JudgesOf
from bench.evaluation.progress import Advance
from bench.evaluation.questions import Pool
from bench.evaluation.target import EvalTarget
from bench.evaluation.token_counts import FixedTokenizer, token_counts
from results.schema import SCORES
from results.scores import score_rows
from tasks.contract import Benchmark, GradedAnswer

if TYPE_CHECKING:
    from results.spool import Spool
    from results.store import Store

Row = Mapping[str, Any]
Score = dict[str, Any]


@dataclass(frozen=True)
class Scoring:
    """Grades and scores one model; new rows go to `spool`. `fixed` counts a second length where it is given; `judges`
    are whose words judged graders grade by."""

    target: EvalTarget
    fixed: FixedTokenizer | None
    store: Store
    spool: Spool
    judges: JudgesOf | None = None

    def graded(self, pool: Pool, ids: Sequence[str], *, again: bool, advance: Advance) -> Graded:
        """Verdicts on the stored responses of `ids` (one per ask); stored ones are made once more if `again`."""
        return grade(
            pool, ids, store=self.store, spool=self.spool, rescore=again, advance=advance, judges=self.judges
        )

    def scores(self, pool: Pool, graded: Graded, ids: Sequence[str]) -> list[Score]:
        """The score rows of the questions of `pool` that are complete."""
        expert = expert_of(self.target.experts, pool.benchmark.domain)
        common = {
            "model_set": self.target.model_set,
            "base": self.target.base,
            "expert": expert.fingerprint if expert else None,
        }
        tokens = {}
        if self.fixed and not pool.benchmark.labels:
            tokens[self.fixed.id] = token_counts(
                self.fixed, graded.responses, store=self.store, spool=self.spool
            )
        return score(pool, graded, ids, common, tokens)

    def keep(self, scores: list[Score]) -> None:
        """Spool the scores that say something new, and bring all new rows into the database."""
        self.spool.append_many("scores", new_scores(scores, self.store, self.target.fingerprint))
        self.store.ingest()


def verdicts_due(pool: Pool, ids: Sequence[str]) -> int:
    """How many verdicts `ids` need: one of each grader of the benchmark."""
    return len(ids) * (1 + len(pool.benchmark.also_graded_by))


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
    rows: list[dict[str, Any]] = []
    for name in graded.graders:
        made = _scores_by(name, asked, graded, pool, {**common, "tokens": tokens})
        measured = any(row["grader"] is None for row in rows)  # once, whoever judges
        rows += [row for row in made if not (measured and row["grader"] is None)]
    return rows


def _scores_by(
    name: str, asked: Sequence[Row], graded: Graded, pool: Pool, common: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Score rows under one grader, of the questions on which it has said something of every response."""
    unsaid = {r["sample_id"] for r in asked if r["response_id"] not in graded.verdicts[name]}
    own = [r for r in asked if r["sample_id"] not in unsaid]
    if not own:
        return []
    verdicts = {
        grader: [by_id[r["response_id"]] for r in own]
        for grader, by_id in graded.verdicts.items()
        if all(r["response_id"] in by_id for r in own)
    }
    first = graded.is_first(name)
    made = score_rows(
        own,
        verdicts[name],
        expected_n=pool.expected_n,
        votes=pool.draw.votes,
        others={other: rows for other, rows in verdicts.items() if other != name},
        native=_native(pool.benchmark, own, verdicts[name]) if first else None,
        first=first,
        domain=pool.benchmark.domain,
        **common,
    )
    if not pool.benchmark.native:
        return made
    # Nobody asked for a box there: that one is missing says nothing of an answer that was cut off.
    return [row for row in made if row["metric"] != "accuracy_complete"]


def _native(
    benchmark: Benchmark, responses: Sequence[Row], verdicts: Sequence[Row]
) -> dict[str, list[tuple[float, float]]]:
    """What each response adds to the benchmark's own metrics."""
    seen = [
        GradedAnswer(r["text"], r["target"], r["sample_group"], bool(v["correct"]), v["extracted"])
        for r, v in zip(
            responses if benchmark.native else (), verdicts if benchmark.native else (), strict=True
        )
    ]
    return {name: [of(answer) for answer in seen] for name, of in benchmark.native.items()}


def new_scores(rows: list[dict[str, Any]], store: Store, checkpoint: str) -> list[dict[str, Any]]:
    """Those of `rows` that say something else than the current score of their key."""
    current = {_key(row): row for row in store.fetch("scores", [checkpoint])}
    return [row for row in rows if not _same(row, current.get(_key(row)))]


def _key(row: Row) -> tuple[Any, ...]:
    return tuple(row.get(name) for name in SCORES.key)


def _same(row: Row, stored: Row | None) -> bool:
    return stored is not None and all(stored[name] == value for name, value in row.items())
