"""Problems of HumanEval and MBPP, in the columns that they have on the Hub: samples with the tests as reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.coding.prompts import SHOWN_TESTS, docstring
from tasks.contract import Sample, Source
from tasks.errors import DataUnavailable
from tasks.sources import Columns, HubDataset, read_rows

Row = Mapping[str, Any]
# A row's columns by the names that its reader knows them by -> question, solution, tests, what else a prompt needs.
Parts = tuple[str, str, str, dict[str, Any]]


@dataclass(frozen=True)
class Problems:
    """Where problems are and how a row is read. `folders` are other names of the local folder."""

    name: str
    hub: HubDataset
    size: int
    columns: tuple[Columns, ...]
    read: Callable[[Row], Parts]
    folders: tuple[str, ...] = ()

    def load(self, split: str, data_dir: Path | None) -> tuple[list[Sample], Source]:
        """The samples of "test", in the dataset's order.

        A source with fewer problems is read, with a remark; one with more is another dataset. Raises DataUnavailable
        for what cannot be read, with the place.
        """
        rows, source = read_rows(
            self.name, split, data_dir=data_dir, hub=self.hub, fields=self.columns, folders=self.folders
        )
        if len(rows) > self.size:
            raise DataUnavailable(
                f"{source.location} holds {len(rows)} rows, {self.name} has {self.size}: it is another dataset"
            )
        samples = [self._sample(split, index, row, source) for index, row in enumerate(rows)]
        if len(rows) < self.size:
            said = f"{self.name}: {source.location} holds {len(rows)} of {self.size} problems: scores are of a part"
            source = replace(source, remarks=(*source.remarks, said))
        return samples, source

    def _sample(self, split: str, index: int, row: Row, source: Source) -> Sample:
        try:
            question, solution, tests, more = self.read(row)
        except DataUnavailable as error:
            raise DataUnavailable(f"row {index + 1} of {source.location}: {error}") from error
        meta = {"task_id": row["task_id"], **more} if "task_id" in row else more
        return Sample(f"{self.name}-{split}-{index:05d}", question, solution, meta, reference=tests)


def humaneval(row: Row) -> Parts:
    """A signature with its docstring, the body that is right, tests that end in a call of `check`."""
    tests = f"{_text(row, 'test')}\ncheck({_text(row, 'entry_point')})"
    return _text(row, "prompt"), _text(row, "canonical_solution"), tests, {}


def mbpp_base(row: Row) -> Parts:
    """A description, and the assertions that are shown with it as all of its tests."""
    tests = _shown(row)
    return _description(row), _text(row, "code"), "\n".join(tests), {"tests": tests}


def mbpp_plus(row: Row) -> Parts:
    """A description, and the tests of MBPP+, of which the model sees three assertions of MBPP."""
    return _description(row), _text(row, "code"), _text(row, "test"), {"tests": _shown(row)}


def mbpp_docstring(row: Row) -> Parts:
    """A docstring to go on from, and the tests of MBPP+."""
    asked = docstring(_description(row), _shown(row)[0])
    return asked, _text(row, "code"), "\n" + _text(row, "test"), {}


def _description(row: Row) -> str:
    return _text(row, "prompt" if "prompt" in row else "text")


def _shown(row: Row) -> list[str]:
    tests = row["test_list"]
    if not isinstance(tests, list) or len(tests) < SHOWN_TESTS or not all(isinstance(t, str) for t in tests):
        raise DataUnavailable(
            f"test_list is a list of {SHOWN_TESTS} assertions or more, this one is {tests!r}"
        )
    return tests[:SHOWN_TESTS]


def _text(row: Row, column: str) -> str:
    value = row[column]
    if not isinstance(value, str) or not value.strip():
        raise DataUnavailable(f"{column} is a text, this one is {value!r}")
    return value
