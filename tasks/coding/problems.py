"""Problems of HumanEval and MBPP, in the columns that they have on the Hub: samples with the tests as reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.coding.prompts import SHOWN_TESTS, docstring
from tasks.contract import Sample, Source
from tasks.errors import DataUnavailable
from tasks.sources import Columns, HubDataset, counted, in_row, read_rows, text_of

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
        samples = [self._sample(split, index, row, source) for index, row in enumerate(rows)]
        return samples, counted(source, self.name, split, len(rows), self.size, "problems")

    def _sample(self, split: str, index: int, row: Row, source: Source) -> Sample:
        with in_row(index + 1, source):
            question, solution, tests, more = self.read(row)
        meta = {"task_id": row["task_id"], **more} if "task_id" in row else more
        return Sample(f"{self.name}-{split}-{index:05d}", question, solution, meta, reference=tests)


def humaneval(row: Row) -> Parts:
    """A signature with its docstring, the body that is right, tests that end in a call of `check`."""
    tests = f"{text_of(row, 'test')}\ncheck({text_of(row, 'entry_point')})"
    return text_of(row, "prompt"), text_of(row, "canonical_solution"), tests, {}


def mbpp_base(row: Row) -> Parts:
    """A description, and the assertions that are shown with it as all of its tests."""
    tests = _shown(row)
    return _description(row), text_of(row, "code"), "\n".join(tests), {"tests": tests}


def mbpp_plus(row: Row) -> Parts:
    """A description, and the tests of MBPP+, of which the model sees three assertions of MBPP."""
    return _description(row), text_of(row, "code"), text_of(row, "test"), {"tests": _shown(row)}


def mbpp_docstring(row: Row) -> Parts:
    """A docstring to go on from, and the tests of MBPP+."""
    asked = docstring(_description(row), _shown(row)[0])
    return asked, text_of(row, "code"), "\n" + text_of(row, "test"), {}


def _description(row: Row) -> str:
    return text_of(row, "prompt" if "prompt" in row else "text")


def _shown(row: Row) -> list[str]:
    tests = row["test_list"]
    if not isinstance(tests, list) or len(tests) < SHOWN_TESTS or not all(isinstance(t, str) for t in tests):
        raise DataUnavailable(
            f"test_list is a list of {SHOWN_TESTS} assertions or more, this one is {tests!r}"
        )
    return tests[:SHOWN_TESTS]
