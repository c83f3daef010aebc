"""Numbers printed in papers, as tables of their own: reported, never mixed with measured ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

from results.published import PublishedRow, PublishedTable, expert_of, means


def frame(table: PublishedTable, benchmarks: Sequence[str]) -> pd.DataFrame:
    """One printed table: accuracies in %, lengths in tokens, and means formed as those of measured rows are."""
    expert = expert_of(table)
    rows = [_row(row, expert, table.vote_sizes, benchmarks) for row in table.rows]
    found = pd.DataFrame(rows).dropna(axis="columns", how="all")
    found.columns = pd.MultiIndex.from_tuples(found.columns)
    return found


def _row(
    row: PublishedRow, expert: PublishedRow | None, votes: Sequence[int], benchmarks: Sequence[str]
) -> dict[tuple[str, str], Any]:
    cells: dict[tuple[str, str], Any] = {("", "model"): f"{row.method} (reported)"}
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
