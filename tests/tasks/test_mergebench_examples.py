"""Examples of MergeBench's domains: from a folder, and from a Hub of our own with the columns of the real sets."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tasks.contract import Example
from tasks.errors import DataUnavailable
from tasks.mergebench.examples import DOMAINS, EXAMPLES, MOST_EXAMPLES
from tests.helpers.hub_datasets import datasets_hub, jsonl

ROOT = Path(__file__).resolve().parents[2]
# As MergeBench's own code names them.
COLUMNS = {
    "maths": ("query", "response"),
    "multilingual": ("inputs", "targets"),
    "instruction": ("instruction", "output"),
    "coding": ("instruction", "response"),
    "safety": ("prompt", "response"),
}
REPOSITORIES = {
    "maths": "MergeBench/math_val",
    "multilingual": "MergeBench/multilingual_val",
    "instruction": "MergeBench/instruction_val",
    "coding": "MergeBench/coding_val",
}  # and not safety_val: it is missing
READ = """
from tasks.errors import DataUnavailable
from tasks.mergebench.examples import EXAMPLES
for read in EXAMPLES.values():
    try:
        print([(e.prompt, e.response) for e in read("train", None)])
    except DataUnavailable as error:
        print("unavailable:", error)
"""


def write(folder: Path, domain: str, *rows: Any) -> Path:
    file = folder / "examples" / f"{domain}.jsonl"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def pairs(domain: str, n: int = 3) -> list[tuple[str, str]]:
    return [(f"{domain} {i}?", f"Antwort é {i}") for i in range(n)]


@pytest.mark.parametrize("domain", COLUMNS)
def test_a_local_copy_has_our_columns_or_the_datasets(domain: str, tmp_path: Path) -> None:
    said = pairs(domain)
    wanted = [Example(prompt, response) for prompt, response in said]
    write(tmp_path / "ours", domain, *(dict(zip(("prompt", "response"), pair, strict=True)) for pair in said))
    write(tmp_path / "theirs", domain, *(dict(zip(COLUMNS[domain], pair, strict=True)) for pair in said))
    for folder in (tmp_path / "ours", tmp_path / "theirs", tmp_path / "ours" / "examples"):
        assert EXAMPLES[domain]("train", folder) == wanted


def test_the_hub_gives_what_a_folder_gives_and_a_missing_set_is_named(tmp_path: Path) -> None:
    repositories = {}
    for domain, repository in REPOSITORIES.items():
        rows = [dict(zip(COLUMNS[domain], pair, strict=True)) for pair in pairs(domain)]
        repositories[repository] = jsonl(
            tmp_path / domain, write(tmp_path, domain, *rows), config="default", split="train"
        )
    with datasets_hub(repositories) as (endpoint, _):
        settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "",
                    "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}  # fmt: skip
        done = subprocess.run([sys.executable, "-c", READ], env={**os.environ, **settings}, capture_output=True,
                              text=True, timeout=300, cwd=tmp_path)  # fmt: skip
    assert done.returncode == 0, done.stderr
    *read, last = done.stdout.splitlines()
    assert read == [str(pairs(domain)) for domain in REPOSITORIES]
    assert last.startswith("unavailable: cannot read MergeBench/safety_val (train)")
    assert "examples/safety.jsonl" in last


def test_a_long_file_lends_the_same_part_every_time(tmp_path: Path) -> None:
    write(tmp_path, "maths", *({"prompt": str(i), "response": "r"} for i in range(3 * MOST_EXAMPLES)))
    found = EXAMPLES["maths"]("train", tmp_path)
    places = [int(example.prompt) for example in found]
    assert len(set(places)) == MOST_EXAMPLES and places == sorted(places)
    assert max(places) > 2 * MOST_EXAMPLES, "of the whole file, not of its beginning"
    assert EXAMPLES["maths"]("train", tmp_path) == found


def test_what_has_no_answer_is_no_example(tmp_path: Path) -> None:
    """Some requests of the set that `safety_val` is made of were never answered."""
    write(tmp_path, "safety", {"prompt": "a", "response": None}, {"prompt": "b", "response": "No."},
          {"prompt": "c", "response": " "})  # fmt: skip
    assert EXAMPLES["safety"]("train", tmp_path) == [Example("b", "No.")]
    write(tmp_path, "coding", {"instruction": "a", "response": ""})
    with pytest.raises(DataUnavailable, match="no row with both a prompt and a response"):
        EXAMPLES["coding"]("train", tmp_path)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataUnavailable, match=r"must hold examples/coding\.jsonl"):
        EXAMPLES["coding"]("train", tmp_path)
    write(tmp_path, "coding", {"instruction": "a", "output": "b"})
    with pytest.raises(DataUnavailable, match="row 1 of .* has no 'response'"):
        EXAMPLES["coding"]("train", tmp_path)
    write(tmp_path, "coding", {"instruction": "a", "response": "b"}, {"instruction": "a", "response": 7})
    with pytest.raises(DataUnavailable, match="row 2 of .*: response is a text, this one is 7"):
        EXAMPLES["coding"]("train", tmp_path)


def test_only_the_training_split_is_lent(tmp_path: Path) -> None:
    for domain in DOMAINS:
        write(tmp_path, domain, {"prompt": "a", "response": "b"})
        with pytest.raises(DataUnavailable, match="take train"):
            EXAMPLES[domain]("validation", tmp_path)
        with pytest.raises(ValueError, match="only ever scored"):
            EXAMPLES[domain]("test", tmp_path)
