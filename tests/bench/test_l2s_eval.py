"""The Long-to-Short suite evaluated on a tiny model: chat prompts, growing pools, budgets, and what is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from bench.evaluation.evaluate import EvalReport, evaluate
from bench.evaluation.questions import pools
from bench.evaluation.target import EvalTarget
from bench.identity import fingerprint, text_hash
from bench.suites import EvalOptions
from results.spool import Spool
from results.store import Store
from tasks.catalogue import resolve
from tests.bench import tiny
from tests.bench.command import bench
from tests.helpers.l2s import row, write

CONTEXT = 600
TEMPLATE = "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model with a chat template, and two problems of AIME24."""
    home = tmp_path_factory.mktemp("l2s")
    tiny.write(home / "model", context=CONTEXT)
    (home / "model" / "chat_template.jinja").write_text(TEMPLATE)
    tiny.write(home / "bare", context=CONTEXT)
    write(home / "data", "aime24", [{**row("aime24", n), "problem": f"What is {n} + 1?"} for n in range(2)])
    return home


class Lab:
    """One model, one database."""

    def __init__(self, folder: Path, place: Path) -> None:
        path = folder / "model"
        mark = fingerprint(path, place / "fingerprints.json")
        self.target = EvalTarget(path=path, fingerprint=mark, name="base", model_set="tiny", base=mark)
        self.store = Store(place / "leaderboard.duckdb")
        self.options = EvalOptions(
            suite="aime24", data_dir=folder / "data", max_new_tokens=12, threads=1, engine="hf"
        )
        self.runs = 0

    def evaluate(self, **options: Any) -> EvalReport:
        chosen = replace(self.options, **options)
        self.runs += 1
        with Spool(self.store.spool_dir, f"run-{self.runs}") as spool:
            asked = pools(resolve("aime24"), chosen)
            report = evaluate(self.target, asked, chosen, store=self.store, spool=spool, progress=False)
        self.store.ingest()
        return report

    def responses(self) -> dict[str, dict[str, Any]]:
        return {row["response_id"]: dict(row) for row in self.store.rows("SELECT * FROM responses")}


def test_chat_prompts_are_rendered_recorded_and_reused(folder: Path, tmp_path: Path) -> None:
    lab = Lab(folder, tmp_path)
    assert lab.evaluate(prompt_mode="chat", samples=0).generated == 2
    for response in lab.responses().values():
        instruction = "Please reason step by step, and put your final answer within \\boxed{}."
        prompt = f"user: {response['question']}\n{instruction}\nassistant:"
        assert response["prompt_hash"] == text_hash(prompt)
        tokens = AutoTokenizer.from_pretrained(lab.target.path)(prompt)["input_ids"]
        assert (response["prompt_mode"], response["n_prompt_tokens"]) == ("chat", len(tokens))
    again = lab.evaluate(prompt_mode="chat", samples=0)
    assert (again.generated, again.reused) == (0, 2)
    assert lab.evaluate(samples=0).generated == 2, "the papers' prompt is another"
    modes = lab.store.rows(
        "SELECT DISTINCT prompt_mode, expected_n, n FROM current_scores ORDER BY prompt_mode"
    )
    assert [tuple(one.values()) for one in modes] == [("chat", 30, 2), ("qwen25-math-cot", 30, 2)]


def test_a_larger_pool_adds_and_changes_none(folder: Path, tmp_path: Path) -> None:
    lab = Lab(folder, tmp_path)
    assert lab.evaluate(samples=2).generated == 2 * (1 + 2)
    before = lab.responses()
    more = lab.evaluate(samples=5)
    assert (more.generated, more.reused) == (2 * 3, 2 * 3)
    after = lab.responses()
    assert {id: after[id]["text"] for id in before} == {id: one["text"] for id, one in before.items()}
    drawn = [one for one in after.values() if one["draw"] == "pool@12"]
    assert sorted(one["sample_index"] for one in drawn) == sorted(2 * list(range(5)))
    assert {one["temperature"] for one in drawn} == {0.3} and {one["top_p"] for one in drawn} == {1.0}


def test_the_effective_budget_is_what_the_context_leaves(folder: Path, tmp_path: Path) -> None:
    lab = Lab(folder, tmp_path)
    lab.evaluate(samples=0, max_new_tokens=None, limit=1)
    [response] = lab.responses().values()
    assert response["max_new_tokens"] == 10_240
    assert response["budget"] == CONTEXT - response["n_prompt_tokens"] > 0


def test_the_command_line_says_what_it_misses(folder: Path, tmp_path: Path) -> None:
    words = (
        "eval",
        "--suite",
        "aime24",
        "--data-dir",
        folder / "data",
        "--max-new-tokens",
        "4",
        "--engine",
        "hf",
    )
    refused = bench(*words, "--model", folder / "bare", "--prompt-mode", "chat", cwd=tmp_path, code=2)
    assert "has no chat template" in refused.stderr and not (tmp_path / "runs").exists()
    done = bench(
        *words, "--model", folder / "model", "--prompt-mode", "chat", "--samples", "2", "--json", cwd=tmp_path
    )
    report = json.loads(done.stdout)["report"]
    assert any("holds 2 rows, the benchmark has 30" in line for line in report)
    assert "holds 2 rows" in done.stderr and any("6 responses generated" in line for line in report)
