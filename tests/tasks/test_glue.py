"""Suite glue: its tables, and rows that are not what they should be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.catalogue import resolve
from tasks.errors import DataUnavailable
from tasks.glue.loading import EXAMPLES
from tasks.glue.suite import COLA, MNLI, SUITE

# Rows of nyu-mll/glue's validation sets (for MNLI the matched one), and its labels in order.
PUBLISHED = {
    "cola": (1043, ["unacceptable", "acceptable"]),
    "mnli": (9815, ["entailment", "neutral", "contradiction"]),
    "mrpc": (408, ["not_equivalent", "equivalent"]),
    "qnli": (5463, ["entailment", "not_entailment"]),
    "qqp": (40430, ["not_duplicate", "duplicate"]),
    "rte": (277, ["entailment", "not_entailment"]),
    "sst2": (872, ["negative", "positive"]),
}


def _write(folder: Path, split: str, rows: list[dict[str, object]], task: str = "cola") -> Path:
    (folder / task).mkdir(exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / task / f"{split}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_tasks_are_those_of_the_hub() -> None:
    assert {b.name: (b.sizes["test"], list(b.labels)) for b in SUITE.benchmarks} == PUBLISHED
    assert all(b.domain == b.name and b.splits == ("train", "test") for b in resolve("glue").benchmarks)
    assert MNLI.scored == "validation_matched" and COLA.scored == "validation"


def test_what_is_scored_is_a_part_where_rows_are_missing(tmp_path: Path) -> None:
    samples, source = COLA.load(
        "test", _write(tmp_path, "test", [{"sentence": "He left.", "label": 1, "idx": 0}])
    )
    assert [(s.question, s.target) for s in samples] == [("sentence: He left.", "acceptable")]
    said = f"cola: {source.location} holds 1 rows, the benchmark has 1043: scores are of a part"
    assert source.remarks == (said,)
    with pytest.raises(DataUnavailable, match="another dataset"):
        COLA.load("test", _write(tmp_path, "test", [{"sentence": "He left.", "label": 1}] * 1044))


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"sentence": "He left.", "label": -1}, r"label -1; cola has 0 to 1 .*own test split has none"),
        ({"sentence": "He left.", "label": 2}, "label 2"),
        ({"sentence": "He left.", "label": True}, "label True"),
        ({"sentence": "He left.", "label": "acceptable"}, "label 'acceptable'"),
        ({"sentence": None, "label": 0}, "sentence is a text, this one is None"),
        ({"sentence": "He left."}, "no 'label'"),
        ({"text": "He left.", "label": 0}, "no 'sentence'"),
    ],
)
def test_rows_that_cannot_be_asked_are_refused(tmp_path: Path, row: dict[str, object], message: str) -> None:
    with pytest.raises(DataUnavailable, match=message):
        COLA.load("test", _write(tmp_path, "test", [{"sentence": "She left.", "label": 0}, row]))


def test_examples_are_drawn_from_all_of_the_training_rows(tmp_path: Path) -> None:
    """CoLA's rows stand by source."""
    rows: list[dict[str, object]] = [
        {"sentence": f"Sentence {i}.", "label": i % 2} for i in range(3 * EXAMPLES)
    ]
    examples = COLA.examples("train", _write(tmp_path, "train", rows))
    numbers = [int(e.prompt.split()[1].rstrip(".")) for e in examples]
    assert len(set(numbers)) == EXAMPLES and numbers == sorted(numbers)
    assert abs(sum(numbers) / EXAMPLES - 1.5 * EXAMPLES) < 200
    assert all(e.label == number % 2 for e, number in zip(examples, numbers, strict=True))
    assert COLA.examples("train", tmp_path) == examples
