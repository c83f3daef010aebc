"""One GLUE task from a local folder or the Hub (nyu-mll/glue): its rows as samples and as examples.

The labels of GLUE's own test sets are not public: everybody scores its validation sets. They are the split `test`
here, so that nothing that is scored can serve a statistic or a choice.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.contract import Example, Passage, Sample, Source
from tasks.errors import DataUnavailable
from tasks.sources import HubDataset, counted, read_rows
from tasks.splits import refuse_test

REPOSITORY = "nyu-mll/glue"
MAX_TOKENS = 512  # FusionBench cuts there, in training and in evaluation
EXAMPLES = 4096  # of the training split at most: methods take 256 of them
SPLITS = ("train", "test")

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Task:
    """A task: the columns of its one or two texts, its labels in the dataset's order, and how many rows are scored.

    `scored` is the Hub's name of the split that is scored.
    """

    name: str
    fields: tuple[str, ...]
    labels: tuple[str, ...]
    n: int
    scored: str = "validation"

    def load(self, split: str, data_dir: Path | None) -> tuple[list[Sample], Source]:
        """The samples of a split, in the dataset's order; another number than the task's is remarked on.

        Raises DataUnavailable for what cannot be read, with the place.
        """
        rows, source = self._rows(split, data_dir)
        samples = [
            Sample(
                id=f"{self.name}-{split}-{index:05d}",
                question="\n".join(f"{name}: {row[name]}" for name in self.fields),
                target=self.labels[self._label(row, index, source)],
                meta={name: row[name] for name in self.fields},
            )
            for index, row in enumerate(rows)
        ]
        if split == "test":
            source = counted(source, self.name, split, len(samples), self.n)
        return samples, source

    def examples(self, split: str, data_dir: Path | None) -> list[Example]:
        """Labelled texts of the training split: all, or as many as EXAMPLES drawn with a fixed seed.

        CoLA's rows stand by source, so that the first ones are no sample. Raises ValueError for any other split.
        """
        refuse_test(split)
        if split != "train":
            raise ValueError(
                f"{self.name} has no {split} examples: GLUE's validation set is what is scored; take train"
            )
        rows, source = self._rows(split, data_dir)
        places = sorted(random.Random(0).sample(range(len(rows)), min(EXAMPLES, len(rows))))
        found = []
        for place in places:
            passage = self._passage(rows[place])
            label = self._label(rows[place], place, source)
            found.append(Example(passage.text, label=label, passage=passage))
        return found

    def passage(self, sample: Sample) -> Passage:
        """What a classifier is shown."""
        return self._passage(sample.meta)

    def _passage(self, row: Row) -> Passage:
        first, *second = (str(row[name]) for name in self.fields)
        return Passage(first, second[0] if second else None, MAX_TOKENS)

    def _rows(self, split: str, data_dir: Path | None) -> tuple[list[dict[str, Any]], Source]:
        return read_rows(
            self.name,
            split,
            data_dir=data_dir,
            hub=HubDataset(REPOSITORY, self.name, {"test": self.scored}),
            fields=tuple((column,) for column in (*self.fields, "label")),
        )

    def _label(self, row: Row, index: int, source: Source) -> int:
        """The index of the row's label, after a look at its texts."""
        for name in self.fields:
            if not isinstance(row[name], str):
                raise DataUnavailable(
                    f"row {index + 1} of {source.location}: {name} is a text, this one is {row[name]!r}"
                )
        label = row["label"]
        if isinstance(label, bool) or not isinstance(label, int) or not 0 <= label < len(self.labels):
            raise DataUnavailable(
                f"row {index + 1} of {source.location} has the label {label!r}; {self.name} has 0 to "
                f"{len(self.labels) - 1} ({', '.join(self.labels)}). GLUE's own test split has none (-1)"
            )
        return label
