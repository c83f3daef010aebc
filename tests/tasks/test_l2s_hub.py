"""The six benchmarks from the Hub: the same samples as from a folder, the commit that was read, and faults."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.identity import document_hash
from tasks.catalogue import resolve
from tasks.l2s.loading import Dataset
from tests.helpers.hub_datasets import Files, commit_of, datasets_hub, jsonl
from tests.helpers.l2s import FOLDERS, SIZES, data

ROOT = Path(__file__).resolve().parents[2]
READ = """
import json, sys
from bench.identity import document_hash
from tasks.catalogue import resolve
from tasks.errors import DataUnavailable
found = {}
for name in sys.argv[1:]:
    [benchmark] = resolve(name).benchmarks
    try:
        samples, source = benchmark.load("test", None)
    except DataUnavailable as error:
        found[name] = str(error)
        continue
    found[name] = {
        "location": source.location, "revision": source.revision, "remarks": source.remarks,
        "samples": [[s.id, document_hash(s.question, s.target)] for s in samples],
        "meta": [dict(s.meta) for s in samples[:3]],
    }
print(json.dumps(found))
"""


def read(endpoint: str, home: Path, *names: str) -> Any:
    """What a process of its own reads from the Hub at `endpoint`: the Hub's clients take their settings at import."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "",
                "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", READ, *names], env={**os.environ, **settings}, capture_output=True, text=True,
        timeout=300, cwd=home.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def repository(name: str, rows: Path, folder: Path) -> tuple[str, Files]:
    """The Hub repository that a benchmark reads, with these rows."""
    [benchmark] = resolve(name).benchmarks
    dataset = benchmark.load.__self__  # type: ignore[attr-defined]
    assert isinstance(dataset, Dataset)
    hub = dataset.hub
    split = hub.splits.get("test", "test")
    return hub.repository, jsonl(folder / name, rows, config=hub.config or "default", split=split)


def test_both_sources_give_the_same_samples(tmp_path: Path) -> None:
    folder = data(tmp_path / "data")
    repositories = dict(
        repository(name, folder / FOLDERS[name] / "test.jsonl", tmp_path / "repositories") for name in SIZES
    )
    with datasets_hub(repositories) as (endpoint, _):
        found = read(endpoint, tmp_path / "home", *SIZES)
    for benchmark in resolve("l2s").benchmarks:
        samples, _ = benchmark.load("test", folder)
        theirs = found[benchmark.name]
        assert theirs["samples"] == [[s.id, document_hash(s.question, s.target)] for s in samples], (
            benchmark.name
        )
        assert theirs["meta"] == [dict(s.meta) for s in samples[:3]]
        repository_id = benchmark.load.__self__.hub.repository  # type: ignore[attr-defined]
        assert theirs["location"].startswith(repository_id)
        assert theirs["revision"] == commit_of(repositories[repository_id])
        assert theirs["remarks"] == []


def test_a_copy_with_other_columns_and_a_missing_one(tmp_path: Path) -> None:
    rows = [{"ID": f"2024-I-{n}", "Problem": f"q{n}", "Solution": "s", "Answer": n} for n in range(29)]
    (tmp_path / "aime.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "wrong.jsonl").write_text(json.dumps({"text": "q", "label": 1}) + "\n")
    repositories = dict(
        [
            repository("aime24", tmp_path / "aime.jsonl", tmp_path / "repositories"),
            repository("math500", tmp_path / "wrong.jsonl", tmp_path / "repositories"),
        ]
    )
    with datasets_hub(repositories) as (endpoint, _):
        found = read(endpoint, tmp_path / "home", "aime24", "math500", "gsm8k")
    assert [hash for _, hash in found["aime24"]["samples"]] == [
        document_hash(f"q{n}", f"{n:03d}") for n in range(29)
    ]
    assert "holds 29 rows, the benchmark has 30" in found["aime24"]["remarks"][0]
    assert "row 1 of HuggingFaceH4/MATH-500 has no 'problem', 'answer' or 'solution'" in found["math500"]
    assert "cannot read openai/gsm8k/main (test) from the Hugging Face Hub" in found["gsm8k"]
    assert "--data-dir FOLDER" in found["gsm8k"]
