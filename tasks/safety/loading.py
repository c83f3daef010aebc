"""Samples of one safety benchmark from a local folder or the Hub, the same from both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.contract import Sample, Source
from tasks.errors import DataUnavailable
from tasks.sources import Columns, HubDataset, counted, in_row, read_rows

Row = Mapping[str, Any]
SPLIT = "test"


@dataclass(frozen=True)
class Read:
    """What a row says, without the number that it gets."""

    question: str
    target: str
    group: str
    reference: str | None = None
    meta: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Dataset:
    """Where a benchmark's requests are: `size` of them, each row of which `read` understands.

    `read` returns None for a row that is not asked, and raises DataUnavailable for one that cannot be right.
    `columns` are those that every row must have (copies differ: one of each). `gated`: the Hub gives it only to those
    who accepted its terms.
    """

    name: str
    hub: HubDataset
    size: int
    columns: tuple[Columns, ...]
    read: Callable[[Row], Read | None]
    gated: bool = False

    def load(self, split: str, data_dir: Path | None) -> tuple[list[Sample], Source]:
        """The samples in the dataset's order.

        A source with fewer requests than the benchmark is read, with a remark; one with more is another dataset.
        Raises DataUnavailable for what cannot be read, with the place.
        """
        if split != SPLIT:
            raise DataUnavailable(f"{self.name} has the split {SPLIT!r} alone, not {split!r}")
        rows, source = self._rows(data_dir)
        samples: list[Sample] = []
        for number, row in enumerate(rows, start=1):
            with in_row(number, source):
                read = self.read(row)
            if read is not None:
                samples.append(self._sample(len(samples), read))
        return samples, counted(source, self.name, split, len(samples), self.size, "requests")

    def _rows(self, data_dir: Path | None) -> tuple[list[dict[str, Any]], Source]:
        try:
            return read_rows(self.name, SPLIT, data_dir=data_dir, hub=self.hub, fields=self.columns)
        except DataUnavailable as error:
            if not self.gated or data_dir is not None:
                raise
            raise DataUnavailable(
                f"{error}. {self.hub.repository} is gated: accept its terms on its page at huggingface.co and log in "
                "(`hf auth login`), or bring a copy"
            ) from error

    def _sample(self, index: int, read: Read) -> Sample:
        return Sample(
            f"{self.name}-{index:05d}",
            read.question,
            read.target,
            meta=read.meta or {},
            group=read.group,
            reference=read.reference,
        )


def missing(value: Any) -> bool:
    """Whether a cell is empty: None, a text of nothing, or the NaN that pandas writes."""
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def one_of(row: Row, column: str, *names: str) -> str:
    """A column that must hold one of some words."""
    found = row.get(column)
    if found not in names:
        raise DataUnavailable(f"{column} is one of {', '.join(names)}, here it is {found!r}")
    return str(found)
