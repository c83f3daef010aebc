"""Tasks of lm-eval whose data are on the Hub, from a local server that speaks its protocol: the rows of a local copy.

One that reads a dataset of plain files, and one that reads the parquet conversion of a dataset that is a program.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

lm_eval = pytest.importorskip("lm_eval", reason="lm-eval is not installed: the extra lm-eval")

from bench.lm_eval.suite import load_suite  # noqa: E402
from bench.suites import EvalOptions  # noqa: E402
from tasks.catalogue import resolve  # noqa: E402
from tasks.contract import Suite  # noqa: E402
from tasks.general.lm_eval.test_set import official_ids  # noqa: E402
from tests.bench import suite_data as made  # noqa: E402
from tests.helpers.hub_datasets import Files, commit_of, datasets_hub, jsonl  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
ASKED = {"pubmedqa": "pubmedqa_labeled", "cmmlu": "cmmlu_agronomy"}  # of a group one task will do
READ = """
import json, sys
from bench.lm_eval.suite import load_suite
from bench.suites import EvalOptions
from tests.bench.test_suite_hub import ASKED, of_one_task
found = {}
for suite in ASKED:
    for name, one in load_suite(of_one_task(suite), EvalOptions(suite)).asked.items():
        found[name] = {"documents": [one.document(doc) for doc in one.docs], "source": one.source.location,
                       "revision": one.source.revision}
print(json.dumps(found))
"""


def of_one_task(suite: str) -> Suite:
    """The benchmark, of one task alone."""
    part = resolve(suite)
    return replace(part, lm_eval=tuple(replace(task, task=ASKED[suite]) for task in part.lm_eval))


def read(endpoint: str, home: Path) -> Any:
    """What a process of its own reads from the Hub at `endpoint`: the Hub's clients take their settings at import."""
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_TOKEN": "",
                "HF_DATASETS_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", READ], env={**os.environ, **settings}, capture_output=True, text=True,
        timeout=300, cwd=home.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def converted(folder: Path, data: Path) -> Files:
    """CMMLU as the Hub converts it: a folder for each subject and split."""
    import duckdb

    files = {}
    rows = f"SELECT * FROM read_json('{data}/cmmlu_agronomy/test.jsonl')"
    for split in ("test", "dev"):
        file = folder / split / "0000.parquet"
        file.parent.mkdir(parents=True)
        duckdb.sql(f"COPY ({rows}) TO '{file}' (FORMAT parquet)")
        files[f"agronomy/{split}/0000.parquet"] = file
    return files


@pytest.mark.slow
def test_the_hub_gives_the_documents_of_a_local_copy(tmp_path: Path) -> None:
    data = tmp_path / "data"
    made.write(data, "pubmedqa_labeled", made.pubmedqa(official_ids()), 8)
    made.write(data, "cmmlu_agronomy", made.cmmlu("agronomy"))
    copy = jsonl(
        tmp_path / "pubmed", data / "pubmedqa_labeled" / "test.jsonl", config="pqa_labeled", split="train"
    )
    repositories = {"qiaojin/pubmed_qa": copy, "haonan-li/cmmlu": converted(tmp_path / "cmmlu", data)}
    with datasets_hub(repositories) as (endpoint, asked):
        found = read(endpoint, tmp_path / "home")
    assert found["pubmedqa_labeled"]["source"] == "qiaojin/pubmed_qa/pqa_labeled"
    assert found["pubmedqa_labeled"]["revision"] == commit_of(copy)
    assert any("refs%2Fconvert%2Fparquet" in line or "refs/convert/parquet" in line for line in asked)
    for suite in ASKED:
        tasks = load_suite(of_one_task(suite), EvalOptions(suite, data_dir=data))
        assert tasks is not None
        for name, one in tasks.asked.items():
            assert found[name]["documents"] == [one.document(doc) for doc in one.docs], name
