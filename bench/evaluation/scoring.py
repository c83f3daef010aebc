"""Verdicts and scores of one model's stored responses, whoever found them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bench.evaluation.experts import expert_of
from bench.evaluation.grading import Graded, grade, new_scores, score
from bench.evaluation.progress import Advance
from bench.evaluation.questions import Pool
from bench.evaluation.target import EvalTarget
from bench.evaluation.token_counts import FixedTokenizer, token_counts

if TYPE_CHECKING:
    from results.spool import Spool
    from results.store import Store

Row = dict[str, Any]


@dataclass(frozen=True)
class Scoring:
    """Grades and scores one model; new rows go to `spool`. `fixed` counts a second length where it is given."""

    target: EvalTarget
    fixed: FixedTokenizer | None
    store: Store
    spool: Spool

    def graded(self, pool: Pool, ids: Sequence[str], *, again: bool, advance: Advance) -> Graded:
        """Verdicts on the stored responses of `ids` (one per ask); stored ones are made once more if `again`."""
        return grade(pool, ids, store=self.store, spool=self.spool, rescore=again, advance=advance)

    def scores(self, pool: Pool, graded: Graded, ids: Sequence[str]) -> list[Row]:
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

    def keep(self, scores: list[Row]) -> None:
        """Spool the scores that say something new, and bring all new rows into the database."""
        self.spool.append_many("scores", new_scores(scores, self.store, self.target.fingerprint))
        self.store.ingest()


def verdicts_due(pool: Pool, ids: Sequence[str]) -> int:
    """How many verdicts `ids` need: one of each grader of the benchmark."""
    return len(ids) * (1 + len(pool.benchmark.also_graded_by))
