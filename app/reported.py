"""Numbers printed in papers, as tables of their own: reported, never mixed with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.published import PublishedRow, PublishedTable, expert_of, means
from results.published.retained import PRR, Recomputed


def frame(table: PublishedTable, benchmarks: Sequence[str], rates: Sequence[Recomputed] = ()) -> pd.DataFrame:
    """One printed table: accuracies in %, lengths in tokens, and means formed as those of measured rows are.

    `rates` are what its scores give for its PRR, one for each row of denominators: they stand beside what is printed.
    """
    expert = expert_of(table)
    mine = [rate for rate in rates if rate.source == table.source]
    rows = [
        {("", "model"): f"{row.method} (reported)"}
        | _rates(row, mine)
        | _row(row, expert, table.vote_sizes, benchmarks)
        for row in table.rows
    ]
    found = pd.DataFrame(rows).dropna(axis="columns", how="all")
    found.columns = pd.MultiIndex.from_tuples(found.columns)
    return found


def _rates(row: PublishedRow, rates: Sequence[Recomputed]) -> dict[tuple[str, str], Any]:
    """PRR as printed, and as its scores give it: the mean, then the domains."""
    cells: dict[tuple[str, str], Any] = {}
    for rate in rates:
        found = rate.rates.get(row.method)
        over = "from its scores" + (f", over {rate.denominators}" if len(rates) > 1 else "")
        estimates = [(PRR, found.mean)] if found else []
        estimates += (
            [(f"{PRR}:{domain.domain}", domain.estimate) for domain in found.domains] if found else []
        )
        for metric, estimate in estimates:
            name = metric.replace(":", " ")
            cells[name, "printed"] = row.printed.get(metric)
            cells[name, over] = estimate.value if estimate else None
    return cells


def _row(
    row: PublishedRow, expert: PublishedRow | None, votes: Sequence[int], benchmarks: Sequence[str]
) -> dict[tuple[str, str], Any]:
    cells: dict[tuple[str, str], Any] = {}
    mean = means(row, expert, benchmarks)
    if len(benchmarks) > 1:
        name = f"mean of {len(benchmarks)}"
        cells |= {(name, "accuracy"): mean.accuracy, (name, "length"): mean.length}
    cells["compared", "length vs expert, %"] = None if mean.change is None else 100 * mean.change
    for benchmark in benchmarks:
        cells[benchmark, "accuracy"] = row.accuracy.get(benchmark)
        if benchmark in row.accuracy:
            cells |= {(benchmark, f"maj@{n}"): row.votes.get(n) for n in votes}
        cells[benchmark, "length"] = row.length.get(benchmark)
    return cells
