"""Numbers printed in papers: reported, never mixed with measured ones.

One CSV file for each printed table, with the columns of the table `published` (`results/schema.py`):
accuracies in %, lengths in tokens, changes of length in %; `mean` is the printed mean over benchmarks, whose
metric `PRR` is over domains and `PRR:maths` of one domain. `note` says what contradicts a number; nothing was
corrected but decimal points that the source text had lost. Tables that print one experiment (scores in some, means
in another) have one source. `recording.py` puts them into the database, where tables and pages read them;
`retained.py` recomputes every printed PRR.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
MEAN = "mean"
RESTORED = "decimal point restored"


@dataclass
class PublishedRow:
    """One row as printed: `accuracy` in %, `length` in tokens, both by benchmark; `printed` are the printed
    means.

    `notes` are sentences on single numbers of the row.
    """

    method: str
    accuracy: dict[str, float] = field(default_factory=dict)
    length: dict[str, float] = field(default_factory=dict)
    printed: dict[str, float] = field(default_factory=dict)
    votes: dict[int, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass
class PublishedTable:
    """One printed table, on the benchmarks of a board. `restored` counts numbers whose decimal point was lost."""

    source: str
    model_set: str
    rows: list[PublishedRow] = field(default_factory=list)
    restored: int = 0

    @property
    def vote_sizes(self) -> list[int]:
        """The n of the votes that are printed: none in a table of greedy accuracies."""
        return sorted({n for row in self.rows for n in row.votes})


@dataclass(frozen=True)
class Means:
    """Means of a printed row, formed as those of measured rows are; None where a part was not printed.

    `accuracy` and `length` are unweighted over the benchmarks, `change` is the mean over benchmarks of
    (length / expert's length - 1). A length that was only printed as a mean is taken as printed.
    """

    accuracy: float | None
    length: float | None
    change: float | None


def published_rows() -> list[dict[str, str]]:
    """All rows of all files, as text, in the order of the papers."""
    rows = []
    for file in sorted(FOLDER.glob("*.csv")):
        with file.open(encoding="utf-8", newline="") as lines:
            rows += list(csv.DictReader(lines))
    return rows


def published_tables(
    rows: Iterable[Mapping[str, Any]], benchmarks: Sequence[str]
) -> tuple[PublishedTable, ...]:
    """The printed tables of the suite that `benchmarks` are of, with what they print on those.

    A table of other benchmarks beside these is one of another suite, where even a benchmark of the same name is
    asked in another way, unless it has all of `benchmarks`: then these are a part of its suite. `rows` are those
    of the table `published`.
    """
    lines = list(rows)
    tables: dict[str, PublishedTable] = {}
    methods: dict[tuple[str, str], PublishedRow] = {}
    fitting = {source for source, asked in _asked(lines).items() if _one_suite(asked, set(benchmarks))}
    for line in lines:
        source, method = line["source"], line["method"]
        if source not in fitting or line["benchmark"] not in (*benchmarks, MEAN):
            continue
        table = tables.setdefault(source, PublishedTable(source, line["model_set"]))
        if (source, method) not in methods:
            methods[source, method] = PublishedRow(method)
            table.rows.append(methods[source, method])
        _take(table, methods[source, method], line)
    for table in tables.values():  # base and experts first, in whichever of its tables the paper prints them
        if any("PRR" in row.printed for row in table.rows):
            table.rows.sort(key=lambda row: "PRR" in row.printed)
    return tuple(table for table in tables.values() if any(row.accuracy for row in table.rows))


def _asked(rows: Iterable[Mapping[str, Any]]) -> dict[str, set[str]]:
    """The benchmarks of every source."""
    asked: dict[str, set[str]] = {}
    for line in rows:
        asked.setdefault(line["source"], set()).update({line["benchmark"]} - {MEAN})
    return asked


def _one_suite(printed: set[str], shown: set[str]) -> bool:
    return bool(printed & shown) and (printed <= shown or shown <= printed)


def _take(table: PublishedTable, row: PublishedRow, line: Mapping[str, Any]) -> None:
    """Put one printed number at its place, with what must be known of it."""
    benchmark, metric, value = line["benchmark"], line["metric"], float(line["value"])
    if benchmark == MEAN:
        row.printed[metric] = value
    elif metric.startswith("maj@"):
        row.votes[int(metric.removeprefix("maj@"))] = value
    else:
        {"accuracy": row.accuracy, "length": row.length}[metric][benchmark] = value
    notes = [note for note in (line["note"] or "").split("; ") if note]
    table.restored += RESTORED in notes
    what = f"{benchmark} {metric}".replace("mean length_change", "mean change of length")
    what = f"PRR of {metric.removeprefix('PRR:')}" if metric.startswith("PRR:") else what
    printed = f"{value:g}" if metric == "length" or round(value, 1) != value else f"{value:.1f}"
    row.notes += [f"{row.method}, {what} {printed}: {note}" for note in notes if note != RESTORED]


def means(row: PublishedRow, expert: PublishedRow | None, benchmarks: Sequence[str]) -> Means:
    """The means of `row` over `benchmarks`; `expert` is the row whose lengths are the reference."""
    accuracy = _mean([row.accuracy.get(b) for b in benchmarks])
    length = _mean([row.length.get(b) for b in benchmarks])
    if length is None and len(row.accuracy) == len(benchmarks):
        length = row.printed.get("length")
    ratios: list[float | None] = [
        row.length[b] / expert.length[b] - 1 if expert and b in row.length and expert.length.get(b) else None
        for b in benchmarks
    ]
    return Means(accuracy, length, _mean(ratios))


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def expert_of(table: PublishedTable) -> PublishedRow | None:
    """The row of the long-thinking model, which lengths are compared with."""
    return next((row for row in table.rows if row.method.startswith("DeepSeek-R1")), None)
