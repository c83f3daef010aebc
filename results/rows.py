"""Rows of a leaderboard: the means of a checkpoint's cells, what it keeps of its experts' performance, its rank."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from results.board import Row, asked_cells
from results.cell import Cell
from results.chosen import Record
from results.retained import Denominators
from results.statistics import Paired, mean_of_means, pool


def row_of(
    checkpoint: Record,
    cells: dict[str, Cell | None],
    divisors: Denominators,
    reconstructed: Mapping[str, str | None],
) -> Row:
    """The row of a checkpoint (a row of `checkpoints`) with these cells, by column.

    `reconstructed` has, by method, what of its definition had to be guessed.
    """
    # A benchmark of labels has no length: the means are over the others.
    written = [cell for cell in cells.values() if cell is None or cell.has_length]
    ratios = [cell.length_ratio if cell else None for cell in written]
    against = [cell.against_base if cell else None for cell in cells.values()]
    tokenizers = sorted({name for cell in written if cell for name in cell.length_fixed})
    return Row(
        model_set=checkpoint["model_set"],
        checkpoint=checkpoint["checkpoint"],
        name=checkpoint["name"],
        kind=checkpoint["kind"],
        method=checkpoint["method"],
        reconstructed=_left_open(checkpoint, reconstructed),
        cells=cells,
        accuracy=mean_of_means([cell.accuracy if cell else None for cell in cells.values()]),
        length=mean_of_means([cell.length if cell else None for cell in written]),
        length_reduction=_mean(ratios),
        accuracy_gain=_mean([comparison.difference if comparison else None for comparison in against]),
        against_base=_pooled(cells),
        merge_seconds=checkpoint["merge_seconds"],
        statistics_seconds=checkpoint["statistics_seconds"],
        peak_bytes=checkpoint["peak_bytes"],
        length_fixed={
            name: mean_of_means([cell.length_fixed.get(name) if cell else None for cell in written])
            for name in tokenizers
        },
        length_fixed_reduction={
            name: _mean([cell.length_fixed_ratio.get(name) if cell else None for cell in written])
            for name in tokenizers
        },
        retain=divisors.retain(cells),
        retention=divisors.retention(checkpoint["checkpoint"], cells),
    )


def _pooled(cells: Mapping[str, Cell | None]) -> Paired | None:
    """The comparison with the base on all questions together, each once; None when a part of it is missing."""
    if any(cell is None or cell.accuracy is None for cell in cells.values()):
        return None
    chosen = {column: _taken(cell) for column, cell in cells.items() if cell}
    asked: dict[str, Cell] = {}
    for cell in asked_cells(chosen).values():
        asked.setdefault(cell.benchmark, cell)
    return pool([cell.against_base for cell in asked.values()])


def _taken(cell: Cell) -> Cell:
    """Of the best of several the best alone."""
    return (cell.parts[cell.won] or cell) if cell.won else cell


def _left_open(checkpoint: Record, reconstructed: Mapping[str, str | None]) -> str | None:
    """What had to be guessed of a row's method; of one that works on another's result, also of that one."""
    inner = str((checkpoint["parameters"] or {}).get("inner", "")).partition(" ")[0]
    own, others = reconstructed.get(checkpoint["method"]), reconstructed.get(inner)
    return "; ".join(filter(None, (own, others and f"its inner method {inner}: {others}"))) or None


def _mean(values: Sequence[float | None]) -> float | None:
    """None when a part is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def ranked(rows: Iterable[Row]) -> list[Row]:
    """Rows in reading order, with ranks among complete merged rows over all documents of the split."""
    places: dict[tuple[Any, ...], int] = defaultdict(int)
    ordered = []
    for row in sorted(rows, key=_reading_order):
        if _may_be_ranked(row):
            group = (row.model_set, row.documents)
            places[group] += 1
            row = replace(row, rank=places[group])
        ordered.append(row)
    return ordered


def _may_be_ranked(row: Row) -> bool:
    return (
        row.kind == "merged"
        and row.complete
        and not row.limited
        and (row.retain is None or row.retain.mean is not None)
    )


def _reading_order(row: Row) -> tuple[Any, ...]:
    kind = {"base": 0, "expert": 1}.get(row.kind, 2)
    accuracy = row.accuracy.value if row.accuracy else 0.0
    retained = row.retain.mean.value if row.kind == "merged" and row.retain and row.retain.mean else 0.0
    length = row.length.value if row.length else 0.0
    documents = tuple(d or "" for d in row.documents) if row.limited else ()
    return (
        *(row.model_set, kind, not row.complete, row.limited, documents),
        *(-retained, -accuracy, length, row.name),
    )
