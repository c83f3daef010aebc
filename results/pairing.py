"""Compares checkpoints with their bases on the same samples, inside the database.

One aggregating query returns the moments of the differences per question; the tests on them are those of
`results/statistics.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from results.board import Cell
from results.database import Query
from results.statistics import Paired, paired_from_moments

_WANTED = {
    "pair": "INTEGER", "checkpoint": "VARCHAR", "base": "VARCHAR", "benchmark": "VARCHAR",
    "version": "VARCHAR", "prompt_mode": "VARCHAR", "draw": "VARCHAR", "grader": "VARCHAR",
    "grader_version": "VARCHAR", "engine": "VARCHAR", "dtype": "VARCHAR", "base_engine": "VARCHAR",
    "base_dtype": "VARCHAR",
}  # fmt: skip

# A question is paired when document and prompt agree; repeated samples of it are averaged first.
_SQL = """
WITH wanted AS MATERIALIZED (SELECT unnest(from_json_strict($wanted, '[TYPES]'), recursive := true)),
asked AS MATERIALIZED (
    SELECT DISTINCT * FROM (
        SELECT checkpoint, engine, dtype, benchmark, version, prompt_mode, draw, grader, grader_version
        FROM wanted
        UNION ALL
        SELECT base, base_engine, base_dtype, benchmark, version, prompt_mode, draw, grader, grader_version
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
    SELECT checkpoint, benchmark, engine, dtype, sample_id, document_hash, prompt_hash,
        avg(correct::INTEGER) AS correct, avg(n_tokens_text) AS tokens, count(*) AS answers
    FROM answered JOIN judged USING (response_id, grader, grader_version) GROUP BY ALL
)
SELECT pair, count(*) AS n, max(greatest(x.answers, y.answers)) AS answers,
    avg(x.correct - y.correct) AS accuracy, stddev_samp(x.correct - y.correct) AS accuracy_deviation,
    count(*) FILTER (WHERE x.correct > y.correct) AS better,
    count(*) FILTER (WHERE x.correct < y.correct) AS worse,
    count(x.tokens - y.tokens) AS n_lengths,
    avg(x.tokens - y.tokens) AS tokens, stddev_samp(x.tokens - y.tokens) AS tokens_deviation,
    count(*) FILTER (WHERE x.tokens > y.tokens) AS longer,
    count(*) FILTER (WHERE x.tokens < y.tokens) AS shorter
FROM wanted AS w
JOIN questions AS x ON x.checkpoint = w.checkpoint AND x.benchmark = w.benchmark
    AND x.engine IS NOT DISTINCT FROM w.engine AND x.dtype IS NOT DISTINCT FROM w.dtype
JOIN questions AS y ON y.checkpoint = w.base AND y.benchmark = w.benchmark
    AND y.engine IS NOT DISTINCT FROM w.base_engine AND y.dtype IS NOT DISTINCT FROM w.base_dtype
    AND y.sample_id = x.sample_id AND y.document_hash = x.document_hash AND y.prompt_hash = x.prompt_hash
GROUP BY pair
""".replace("TYPES", json.dumps(_WANTED))


def compare_with_bases(
    query: Query, cells: Mapping[tuple[str, str, str], Cell], *, split: str
) -> dict[tuple[str, str, str], Cell]:
    """Cells with `against_base` and `length_against_base`, where the base answered all questions of the cell.

    Keys are (model set, checkpoint, benchmark). A base has no comparison with itself.
    """
    keys: list[tuple[str, str, str]] = []
    wanted = []
    for key, cell in cells.items():
        model_set, checkpoint, benchmark = key
        base = cells.get((model_set, cell.base, benchmark)) if cell.base else None
        if base is not None and cell.base != checkpoint and cell.grader is not None:
            wanted.append(_wanted(len(keys), checkpoint, cell, base))
            keys.append(key)
    compared = dict(cells)
    if not wanted:
        return compared
    for found in query(_SQL, {"wanted": json.dumps(wanted), "split": split}):
        key = keys[found["pair"]]
        if found["n"] == cells[key].n:
            compared[key] = replace(
                cells[key], against_base=_accuracy(found), length_against_base=_length(found)
            )
    return compared


def _wanted(pair: int, checkpoint: str, cell: Cell, base: Cell) -> dict[str, Any]:
    grader, _, version = (cell.grader or "").rpartition("@")
    values = (
        pair, checkpoint, cell.base, cell.benchmark, cell.benchmark_version, cell.prompt_mode, cell.draw,
        grader, version, cell.engine, cell.dtype, base.engine, base.dtype,
    )  # fmt: skip
    return dict(zip(_WANTED, values, strict=True))


def _accuracy(found: dict[str, Any]) -> Paired:
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
