"""Samples of one Long-to-Short benchmark from a local folder or the Hub, the same from both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tasks.contract import Sample, Source
from tasks.errors import DataUnavailable
from tasks.sources import Columns, HubDataset, counted, in_row, read_rows

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Dataset:
    """Where a benchmark's questions are, and how a row is read.

    `sizes` is the number of rows of each split; `question` names the column of the question, `gold` maps the column
    of the gold answer to its parser: of several names the first that a row has is taken (copies differ). `meta` are
    columns that a sample keeps where they exist. `folders` are other names of the local folder. `keep` chooses the
    rows of a copy that holds more than the benchmark.
    """

    name: str
    hub: HubDataset
    sizes: Mapping[str, int]
    question: Columns
    gold: Mapping[str, Callable[[Any], str]]
    meta: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    keep: Callable[[Row], bool] = field(default=lambda row: True)

    def load(self, split: str, data_dir: Path | None) -> tuple[list[Sample], Source]:
        """The samples of a split, in the dataset's order.

        A source with fewer rows than the benchmark is read, with a remark; one with more is another dataset.
        Raises DataUnavailable for what cannot be read, with the place.
        """
        rows, source = read_rows(
            self.name,
            split,
            data_dir=data_dir,
            hub=self.hub,
            fields=(self.question, tuple(self.gold)),
            folders=self.folders,
        )
        rows = [row for row in rows if self.keep(row)]
        samples = [self._sample(split, index, row, source) for index, row in enumerate(rows)]
        return samples, counted(source, self.name, split, len(samples), self.sizes[split])

    def _sample(self, split: str, index: int, row: Row, source: Source) -> Sample:
        question = row[_first(self.question, row)]
        gold = _first(tuple(self.gold), row)
        with in_row(index + 1, source):
            if not isinstance(question, str) or not question.strip():
                raise DataUnavailable(f"a question is a text, this one is {question!r}")
            target = self.gold[gold](row[gold])
        meta = {name: row[name] for name in self.meta if row.get(name) is not None}
        return Sample(f"{self.name}-{split}-{index:05d}", question, target, meta)


def _first(names: Columns, row: Row) -> str:
    return next(name for name in names if name in row)
