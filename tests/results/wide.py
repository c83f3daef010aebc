"""Rows as a run on a wide suite writes them: five domains with an expert each, thirteen columns, one weak expert."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from tests.results.factory import START, Row, checkpoint, response, scores, verdict

LANGUAGES = ("fr", "de", "ru", "es")
TASKS = ("m_mmlu", "m_arc", "m_hellaswag")
ASKED = {
    "maths": ("gsm8k_direct", "gsm8k_cot", "minerva"),
    "multilingual": tuple(f"{task}_{language}" for task in TASKS for language in LANGUAGES),
    "instruction": ("ifeval",),
    "coding": ("humaneval_plus", "mbpp_plus"),
    "safety": ("wildguardtest", "harmbench", "dan", "xstest"),
}
# Name, domain, how, and parts with their graders.
COLUMNS: tuple[tuple[str, str, str, tuple[tuple[str, str | None], ...]], ...] = (
    ("gsm8k", "maths", "max", (("gsm8k_direct", None), ("gsm8k_cot", None))),
    ("minerva", "maths", "mean", (("minerva", None),)),
    *((t, "multilingual", "mean", tuple((f"{t}_{one}", None) for one in LANGUAGES)) for t in TASKS),
    *((f"ifeval_{by}", "instruction", "mean", (("ifeval", by),)) for by in ("strict", "loose")),
    *((name, domain, "mean", ((name, None),)) for domain in ("coding", "safety") for name in ASKED[domain]),
)
MERGES = {"drift_median top_k=0.2": 0.6, "ties keep=0.2": 0.55, "task_arithmetic lambda=0.4": 0.5}
QUESTIONS = 40


def wide(model_set: str = "pair") -> list[tuple[str, Row]]:
    """Base, five experts and three merges; the last merge has no Russian ARC, and XSTest is worse than a constant."""
    generator = random.Random(1)
    rows: list[tuple[str, Row]] = [("runs", {"run_id": "run-1", "command": "bench run", "engine": "hf"})]
    rows += [("composites", _column(i, *column)) for i, column in enumerate(COLUMNS)]
    names = {
        "base": "base",
        **{f"expert:{domain}": "expert" for domain in ASKED},
        **dict.fromkeys(MERGES, "merged"),
    }
    for at, (name, kind) in enumerate(names.items()):
        rows.append(
            ("checkpoints", checkpoint(name, kind, at=at, method=name.split()[0], model_set=model_set))
        )
        for domain, benchmarks in ASKED.items():
            for benchmark in benchmarks:
                if (name, benchmark) != ("task_arithmetic lambda=0.4", "m_arc_ru"):
                    skill = MERGES.get(name, 0.7 if name == f"expert:{domain}" else 0.3)
                    skill = 0.4 if benchmark == "xstest" and kind != "merged" else skill
                    rows += _measured(generator, name, benchmark, domain, skill, model_set)
    return rows


def _column(at: int, name: str, domain: str, how: str, parts: tuple[tuple[str, str | None], ...]) -> Row:
    return {
        "suite": "mergebench",
        "benchmark": name,
        "title": name.replace("_", " "),
        "domain": domain,
        "how": how,
        "parts": [{"benchmark": benchmark, "grader": grader} for benchmark, grader in parts],
        "created_at": START + timedelta(seconds=at),
    }


def _measured(
    generator: random.Random, name: str, benchmark: str, domain: str, skill: float, model_set: str
) -> Iterator[tuple[str, Row]]:
    asked = [_response(name, benchmark, domain, q, skill) for q in range(QUESTIONS)]
    first = [verdict(row, generator.random() < skill) for row in asked]
    graded = {"boxed": first}
    if benchmark == "ifeval":
        loose = [row | {"correct": row["correct"] or generator.random() < 0.1} for row in first]
        graded = {"strict": first, "loose": loose}
    graded = {by: [row | {"grader": by} for row in rows] for by, rows in graded.items()}
    yield from (("responses", row) for row in asked)
    for place, (by, judged) in enumerate(graded.items()):
        others = {other: rows for other, rows in graded.items() if other != by}
        yield from (("verdicts", row) for row in judged)
        made = scores(
            (asked, judged), expected_n=QUESTIONS, expert=f"expert:{domain}", domain=domain, first=place == 0,
            others=others, model_set=model_set,
        )  # fmt: skip
        yield from (("scores", row) for row in made)


def _response(name: str, benchmark: str, domain: str, question: int, skill: float) -> Row:
    unwritten = {"finish_reason": "likelihood", "n_generated": None, "n_tokens_text": None, "budget": None}
    changes: dict[str, Any] = unwritten if domain == "multilingual" else {"n_tokens_text": int(200 * skill)}
    if benchmark == "xstest":
        group = "safe" if question < 24 else "unsafe"
        changes = changes | {"sample_group": group, "target": group}
    return response(name, benchmark, question, suite="mergebench", **changes)
