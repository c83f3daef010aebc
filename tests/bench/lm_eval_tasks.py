"""Tasks of lm-eval on files of the test's own: GSM8K's layout, and ifeval's with lm-eval's checkers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bench.lm_eval.run import LmEvalOptions, LmEvalReport, run_lm_eval
from bench.suites import EvalOptions
from results.store import Store
from tasks.catalogue import resolve

# The filters of lm-eval's own gsm8k.yaml.
FILTERS = [
    {
        "name": "strict-match",
        "filter": [
            {"function": "regex", "regex_pattern": "#### (\\-?[0-9\\.\\,]+)"},
            {"function": "take_first"},
        ],
    },
    {
        "name": "flexible-extract",
        "filter": [
            {"function": "regex", "group_select": -1, "regex_pattern": "(-?[$0-9.,]{2,})|(-?[0-9]+)"},
            {"function": "take_first"},
        ],
    },
]
EXACT = {
    "metric": "exact_match", "aggregation": "mean", "higher_is_better": True, "ignore_case": True,
    "ignore_punctuation": False, "regexes_to_ignore": [",", "\\$", "(?s).*#### ", "\\.$"],
}  # fmt: skip
IFEVAL = "from lm_eval.tasks.ifeval.utils import agg_inst_level_acc, process_results  # noqa: F401\n"
AT_LEAST = {"num_words": 3, "relation": "at least"}
LESS_THAN = {"num_words": 40, "relation": "less than"}
WORDS, NO_COMMA, EXISTENCE = "length_constraints:number_words", "punctuation:no_comma", "keywords:existence"
INSTRUCTIONS: list[tuple[str, dict[str, dict[str, Any]]]] = [
    ("Write about the sea. Use no commas.", {NO_COMMA: {}}),
    ("Write at least 3 words about dogs.", {WORDS: AT_LEAST}),
    ("Write fewer than 40 words about tea, without commas.", {WORDS: LESS_THAN, NO_COMMA: {}}),
    ("Say hello, with the word bag in it.", {EXISTENCE: {"keywords": ["bag"]}}),
]


def write_lines(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def questions(n: int) -> list[dict[str, str]]:
    """Questions in GSM8K's columns that the embedded models were trained for."""
    samples, _ = resolve("mini_gsm").benchmarks[0].load("test", None)
    return [{"question": s.question, "answer": f"Some steps.\n#### {s.target}"} for s in samples[:n]]


def write_task(folder: Path, name: str, rows: Sequence[Mapping[str, Any]], **settings: Any) -> Path:
    """A task file on a local data file beside it; `settings` override its fields. Returns the folder."""
    folder.mkdir(exist_ok=True)
    data = write_lines(folder / f"{name}.jsonl", rows)
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}, "cache_dir": str(folder / "cache")},
        "output_type": "generate_until",
        "test_split": "test",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_target": "{{answer}}",
        "num_fewshot": 0,
        "generation_kwargs": {"until": ["\nQ:"], "do_sample": False, "max_gen_toks": 100},
        "metric_list": [EXACT],
        "filter_list": FILTERS,
        "metadata": {"version": 3.0},
        **settings,
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(task, sort_keys=False))
    return folder


def write_ifeval(
    folder: Path, instructions: Sequence[tuple[str, Mapping[str, Any]]], **settings: Any
) -> Path:
    """A task with ifeval's columns, metrics and checkers. Returns the folder."""
    columns = {key for _, asked in instructions for kwargs in asked.values() for key in kwargs}
    rows = [
        {
            "key": key,
            "prompt": prompt,
            "instruction_id_list": list(asked),
            "kwargs": [dict.fromkeys(columns) | kwargs for kwargs in asked.values()],
        }
        for key, (prompt, asked) in enumerate(instructions)
    ]
    metrics = [
        {"metric": f"{level}_level_{how}_acc", "aggregation": "AGG" if level == "inst" else "mean",
         "higher_is_better": True}
        for how in ("strict", "loose") for level in ("prompt", "inst")
    ]  # fmt: skip
    budget = {"until": [], "do_sample": False, "temperature": 0.0, "max_gen_toks": 60}
    write_task(
        folder, "ifeval_local", rows, doc_to_text="prompt", doc_to_target=0, metric_list=metrics,
        filter_list=None, generation_kwargs=budget, process_results="CHECK", metadata={"version": 4.0}, **settings,
    )  # fmt: skip
    (folder / "checkers.py").write_text(IFEVAL)
    file = folder / "ifeval_local.yaml"
    text = file.read_text().replace(" AGG", " !function checkers.agg_inst_level_acc")
    text = text.replace(" CHECK", " !function checkers.process_results").replace("filter_list: null\n", "")
    file.write_text(text)
    return folder


def ask(
    folder: Path,
    names: Sequence[str],
    runs: Path,
    *,
    model: str | Path = "zoo:l2s-expert",
    chat: bool = False,
    fewshot: int | None = None,
    engine: str = "hf",
    **options: Any,
) -> LmEvalReport:
    """`bench lm-eval` in this process."""
    asked = LmEvalOptions(tuple(names), folder, fewshot, chat)
    chosen = EvalOptions(suite="lm_eval", engine=engine, **options)
    return run_lm_eval(
        [str(model)],
        asked,
        chosen,
        models=None,
        runs=runs,
        db=runs / "leaderboard.duckdb",
        say=lambda text: None,
    )


def stored(runs: Path, sql: str) -> list[dict[str, Any]]:
    """Rows of the run's database."""
    return Store(runs / "leaderboard.duckdb").rows(sql)
