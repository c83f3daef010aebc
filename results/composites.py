"""Reported benchmarks that are made of others' scores: their unweighted mean, or the best of them.

Which there are is recorded by runs (table `composites`, which lists all columns of a suite: one that is asked is its
own only part); the numbers are made when somebody asks, from the same cells that a table would show of the parts. A
missing part makes the whole missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from results.cell import Cell
from results.database import Query
from results.scores import document_set
from results.statistics import Estimate, Paired, mean_of_means, pool

T = TypeVar("T")

MAX = "max"


@dataclass(frozen=True)
class Part:
    """The score of a benchmark under one grader, by name; None is the benchmark's first."""

    benchmark: str
    grader: str | None = None

    @property
    def key(self) -> str:
        """What cells of it are called: `ifeval`, `ifeval:loose`."""
        return self.benchmark if self.grader is None else f"{self.benchmark}:{self.grader}"


@dataclass(frozen=True)
class Composite:
    """A benchmark that nobody asks: `how` its parts make it is `mean` (unweighted) or `max` (the best)."""

    name: str
    title: str
    domain: str
    how: str
    parts: tuple[Part, ...]

    @property
    def plain(self) -> bool:
        """It is a benchmark that is asked, made of nothing else."""
        return self.parts == (Part(self.name),)


def composites_of(query: Query, suite: str) -> dict[str, Composite]:
    """The columns of a suite by name, plain ones too, in the order in which runs have recorded them."""
    rows = query("SELECT * FROM composites WHERE suite = $suite ORDER BY created_at, rowid", {"suite": suite})
    return {
        row["benchmark"]: Composite(
            row["benchmark"], row["title"], row["domain"], row["how"], tuple(Part(**p) for p in row["parts"])
        )
        for row in rows
    }


def asked_parts(columns: Iterable[str], composites: Mapping[str, Composite]) -> dict[str, Part]:
    """By key: what must have been asked to fill the columns, each once."""
    found: dict[str, Part] = {}
    for column in columns:
        parts = composites[column].parts if column in composites else (Part(column),)
        found |= {part.key: part for part in parts}
    return found


def columns_of(measured: Iterable[str], recorded: Mapping[str, Composite]) -> tuple[str, ...]:
    """The columns of a suite's table: those recorded, which leaves out what is asked beside them.

    A suite of one domain shows what was measured; of one with several all are shown, because a mean over domains must
    not lose one that nobody was asked.
    """
    found = set(measured)
    if not recorded:
        return tuple(measured)
    several = len({one.domain for one in recorded.values()}) > 1
    return tuple(
        name
        for name, one in recorded.items()
        if several or any(part.benchmark in found for part in one.parts)
    )


def compose(composite: Composite, parts: Mapping[str, Cell | None]) -> Cell | None:
    """The cell of a composite from those of its parts, by key; None where nothing was measured.

    The best of several is the cell of its best part, whichever that is for other models. A mean has the standard
    error of independent parts; it is compared with the base by the mean of the parts' differences, tested on all of
    their questions together.
    """
    known = [cell for cell in parts.values() if cell is not None]
    if not known:
        return None
    best = max(parts, key=lambda key: _score(parts[key]))
    if len(known) < len(parts) or any(cell.accuracy is None for cell in known):
        made = replace(_mean(known), accuracy=None, against_base=None)
    elif len(known) > 1 and composite.how != MAX:
        made = _mean(known)
    else:
        made = replace(parts[best] or known[0], won=best if len(known) > 1 else None)
    return replace(
        made,
        benchmark=composite.name,
        domain=composite.domain,
        document_set=document_set(
            f"{key} {cell.document_set if cell else ''}" for key, cell in parts.items()
        ),
        pairs=None,
        parts=dict(parts),
    )


def _score(cell: Cell | None) -> float:
    return cell.accuracy.value if cell and cell.accuracy else -1.0


def _mean(cells: Sequence[Cell]) -> Cell:
    """The means of cells; spreads, votes and groups have none. What they do not agree on is named together."""
    written = [cell for cell in cells if cell.has_length]
    asked = list({cell.benchmark: cell for cell in cells}.values())
    return Cell(
        benchmark=cells[0].benchmark,
        benchmark_version=_together(cell.benchmark_version for cell in cells) or "",
        base=_same([cell.base for cell in cells]),
        expert=_same([cell.expert for cell in cells]),
        accuracy=mean_of_means([cell.accuracy for cell in cells]),
        length=mean_of_means([cell.length for cell in written]),
        length_median=None,
        length_p90=None,
        truncated=_average([cell.truncated for cell in written]),
        no_answer=_average([cell.no_answer for cell in written]),
        votes={},
        n=sum(cell.n for cell in asked),
        expected_n=sum(cell.expected_n for cell in asked),
        document_set="",
        draw=_together(cell.draw for cell in cells) or "",
        grader=_together(cell.grader for cell in cells),
        prompt_mode=_together(cell.prompt_mode for cell in cells),
        engine=_together(cell.engine for cell in cells),
        dtype=_together(cell.dtype for cell in cells),
        length_ratio=_average([cell.length_ratio for cell in written]),
        against_base=_compared([cell.against_base for cell in cells]),
        has_length=bool(written),
        accuracy_complete=mean_of_means([cell.accuracy_complete for cell in cells]),
        length_fixed=_by_tokenizer([cell.length_fixed for cell in written], mean_of_means),
        length_fixed_ratio=_by_tokenizer([cell.length_fixed_ratio for cell in written], _average),
        samples=_same([cell.samples for cell in cells]),
        stopped=_sum([cell.stopped for cell in asked]),
        budget=_same([cell.budget for cell in cells]),
        constant=_average([cell.constant for cell in cells]),
    )


def _compared(parts: Sequence[Paired | None]) -> Paired | None:
    """The questions of all parts pooled for one test; its difference is the mean of the parts'."""
    pooled = pool(parts)
    if pooled is None:
        return None
    mean = mean_of_means([Estimate(part.difference, part.stderr) for part in parts if part])
    assert mean is not None
    return replace(pooled, difference=mean.value, stderr=mean.stderr)


def _by_tokenizer(
    found: Sequence[Mapping[str, T]], mean: Callable[[Sequence[T | None]], T | None]
) -> dict[str, T]:
    names = dict.fromkeys(name for one in found for name in one)
    means = {name: mean([one.get(name) for one in found]) for name in names}
    return {name: value for name, value in means.items() if value is not None}


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known and len(known) == len(values) else None


def _sum(counts: Sequence[int | None]) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def _same(values: Sequence[T | None]) -> T | None:
    """What all agree on."""
    return values[0] if all(value == values[0] for value in values) else None


def _together(words: Iterable[str | None]) -> str | None:
    return " + ".join(dict.fromkeys(word for word in words if word)) or None
