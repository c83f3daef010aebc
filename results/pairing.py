"""Compares checkpoints with their bases and with the experts of a domain on the same samples, inside the database.

One aggregating query returns the moments of the differences per question; the tests on them are those of
`results/statistics.py`, the bootstrap on the counts that of `results/ratio.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from results.cell import Cell
from results.chosen import Key
from results.database import Query
from results.ratio import Pairs
from results.statistics import Paired, paired_from_moments

_WANTED = {
    "pair": "INTEGER", "checkpoint": "VARCHAR", "other": "VARCHAR", "benchmark": "VARCHAR",
    "version": "VARCHAR", "prompt_mode": "VARCHAR", "draw": "VARCHAR", "grader": "VARCHAR",
    "grader_version": "VARCHAR", "engine": "VARCHAR", "dtype": "VARCHAR", "other_engine": "VARCHAR",
    "other_dtype": "VARCHAR",
}  # fmt: skip

# A question is paired when document and prompt agree; repeated samples of it are averaged first.
_SQL = """
WITH wanted AS MATERIALIZED (SELECT unnest(from_json_strict($wanted, '[TYPES]'), recursive := true)),
asked AS MATERIALIZED (
    SELECT DISTINCT * FROM (
        SELECT checkpoint, engine, dtype, benchmark, version, prompt_mode, draw, grader, grader_version
        FROM wanted
        UNION ALL
        SELECT other, other_engine, other_dtype, benchmark, version, prompt_mode, draw, grader, grader_version
        FROM wanted
    )
),
answered AS MATERIALIZED (
    SELECT a.*, r.response_id, r.sample_id, r.document_hash, r.prompt_hash, r.n_tokens_text
    FROM responses AS r JOIN asked AS a ON r.checkpoint = a.checkpoint AND r.benchmark = a.benchmark
        AND r.benchmark_version = a.version AND r.draw = a.draw
        AND r.prompt_mode IS NOT DISTINCT FROM a.prompt_mode AND r.engine IS NOT DISTINCT FROM a.engine
        AND r.dtype IS NOT DISTINCT FROM a.dtype
    WHERE r.split = $split
),
judged AS MATERIALIZED (
    SELECT response_id, grader, grader_version, arg_max(correct, row(created_at, rowid)) AS correct
    FROM verdicts WHERE response_id IN (SELECT response_id FROM answered) GROUP BY ALL
),
questions AS MATERIALIZED (
    SELECT checkpoint, benchmark, engine, dtype, version, prompt_mode, draw, grader, grader_version,
        sample_id, document_hash, prompt_hash, avg(correct::INTEGER) AS correct, avg(n_tokens_text) AS tokens,
        count(*) AS answers
    FROM answered JOIN judged USING (response_id, grader, grader_version) GROUP BY ALL
)
SELECT pair, count(*) AS n,
    max(greatest(x.answers, y.answers)) AS answers, count(x.correct - y.correct) AS judged,
    avg(x.correct - y.correct) AS accuracy, stddev_samp(x.correct - y.correct) AS accuracy_deviation,
    count(*) FILTER (WHERE x.correct > y.correct) AS better,
    count(*) FILTER (WHERE x.correct < y.correct) AS worse,
    count(*) FILTER (WHERE x.correct = 1 AND y.correct = 1) AS both,
    count(x.tokens - y.tokens) AS n_lengths,
    avg(x.tokens - y.tokens) AS tokens, stddev_samp(x.tokens - y.tokens) AS tokens_deviation,
    count(*) FILTER (WHERE x.tokens > y.tokens) AS longer,
    count(*) FILTER (WHERE x.tokens < y.tokens) AS shorter
FROM wanted AS w
JOIN questions AS x ON x.checkpoint = w.checkpoint AND x.benchmark = w.benchmark
    AND x.version = w.version AND x.draw = w.draw
    AND x.prompt_mode IS NOT DISTINCT FROM w.prompt_mode AND x.grader = w.grader
    AND x.grader_version = w.grader_version
    AND x.engine IS NOT DISTINCT FROM w.engine AND x.dtype IS NOT DISTINCT FROM w.dtype
JOIN questions AS y ON y.checkpoint = w.other AND y.benchmark = w.benchmark
    AND y.version = w.version AND y.draw = w.draw
    AND y.prompt_mode IS NOT DISTINCT FROM w.prompt_mode AND y.grader = w.grader
    AND y.grader_version = w.grader_version
    AND y.engine IS NOT DISTINCT FROM w.other_engine AND y.dtype IS NOT DISTINCT FROM w.other_dtype
    AND y.sample_id = x.sample_id AND y.document_hash = x.document_hash AND y.prompt_hash = x.prompt_hash
GROUP BY pair
""".replace("TYPES", json.dumps(_WANTED))


@dataclass(frozen=True)
class _Pairing:
    """A cell and the checkpoint that it is compared with, as that one's engine answered."""

    key: Key
    other: str
    engine: str | None
    dtype: str | None
    is_expert: bool = False


def compared(
    query: Query, cells: Mapping[Key, Cell], *, split: str, experts: Iterable[str] = ()
) -> dict[Key, Cell]:
    """Cells with `against_base` and `length_against_base`, where the base answered all questions of the cell.

    Those of the model sets `experts` also have `pairs`, where the domain's expert answered them too, under the same
    engine. A base has no comparison with itself.
    """
    wanted = [*_with_bases(cells), *_with_experts(cells, set(experts))]
    found = dict(cells)
    if not wanted:
        return found
    asked = [_wanted(i, pairing, cells[pairing.key]) for i, pairing in enumerate(wanted)]
    for row in query(_SQL, {"wanted": json.dumps(asked), "split": split}):
        pairing = wanted[row["pair"]]
        cell = found[pairing.key]
        if row["n"] != cell.n:
            continue
        if pairing.is_expert:
            found[pairing.key] = replace(cell, pairs=_pairs(row))
        else:
            found[pairing.key] = replace(cell, against_base=_accuracy(row), length_against_base=_length(row))
    return found


def _with_bases(cells: Mapping[Key, Cell]) -> Iterable[_Pairing]:
    for (model_set, checkpoint, asked), cell in cells.items():
        base = cells.get((model_set, cell.base, asked)) if cell.base else None
        if base is not None and cell.base is not None and cell.base != checkpoint and cell.grader is not None:
            yield _Pairing((model_set, checkpoint, asked), cell.base, base.engine, base.dtype)


def _with_experts(cells: Mapping[Key, Cell], model_sets: set[str]) -> Iterable[_Pairing]:
    for key, cell in cells.items():
        if key[0] in model_sets and cell.expert is not None and cell.grader is not None:
            yield _Pairing(key, cell.expert, cell.engine, cell.dtype, is_expert=True)


def _wanted(number: int, pairing: _Pairing, cell: Cell) -> dict[str, Any]:
    grader, _, version = (cell.grader or "").rpartition("@")
    values = (
        number, pairing.key[1], pairing.other, cell.benchmark, cell.benchmark_version, cell.prompt_mode, cell.draw,
        grader, version, cell.engine, cell.dtype, pairing.engine, pairing.dtype,
    )  # fmt: skip
    return dict(zip(_WANTED, values, strict=True))


def _pairs(found: dict[str, Any]) -> Pairs | None:
    """None of means of several answers, and of graders that do not say right or wrong."""
    if found["answers"] != 1 or found["judged"] != found["n"]:
        return None
    both, better, worse = found["both"], found["better"], found["worse"]
    return Pairs(both, better, worse, found["n"] - both - better - worse)


def _accuracy(found: dict[str, Any]) -> Paired | None:
    if found["judged"] != found["n"]:
        return None
    return paired_from_moments(
        n=found["n"],
        difference=found["accuracy"],
        deviation=found["accuracy_deviation"],
        better=found["better"],
        worse=found["worse"],
        binary=found["answers"] == 1,
    )


def _length(found: dict[str, Any]) -> Paired | None:
    if found["n_lengths"] != found["n"]:
        return None
    return paired_from_moments(
        n=found["n"],
        difference=found["tokens"],
        deviation=found["tokens_deviation"],
        better=found["shorter"],
        worse=found["longer"],
        binary=False,
    )
