"""Which of the labelled questions of PubMedQA are its test set: the 500 ids that its authors publish.

They are the keys of data/test_ground_truth.json of the repository pubmedqa/pubmedqa, in its order; all ten folds of
the data share this test set.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datasets import Dataset

FILE = Path(__file__).with_name("pubmedqa_test_ids.txt")


@cache
def official_ids() -> frozenset[str]:
    """PubMed ids of the test set."""
    return frozenset(FILE.read_text(encoding="utf-8").split())


def only_test(dataset: Dataset) -> Dataset:
    """The rows whose `pubid` is in the test set, in the order of the dataset."""
    ids = official_ids()
    return dataset.filter(lambda row: str(row["pubid"]) in ids)
