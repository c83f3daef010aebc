"""Rows for tests: a small world of checkpoints that answer questions, written the way a run writes them."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from results.scores import score_rows
from results.spool import Spool
from results.store import Store

Row = dict[str, Any]
START = datetime(2026, 1, 1, tzinfo=UTC)


def response(checkpoint: str, benchmark: str, question: int, index: int = 0, **changes: Any) -> Row:
    """One greedy response, a row of `responses`."""
    draw = changes.get("draw", "greedy")
    row = {
        "response_id": f"{checkpoint}/{benchmark}/{draw}/{question}/{index}",
        "checkpoint": checkpoint,
        "suite": "mini",
        "benchmark": benchmark,
        "benchmark_version": "1",
        "split": "test",
        "source": "generator@1",
        "draw": draw,
        "sample_id": f"{benchmark}-{question}",
        "document_hash": f"doc-{benchmark}-{question}",
        "prompt_hash": f"prompt-{benchmark}-{question}",
        "question": f"What is {question} + {question}?",
        "target": str(2 * question),
        "prompt_mode": "plain",
        "sample_index": index,
        "seed": 2**64 - 1 - index,
        "temperature": 0.0 if draw == "greedy" else 0.3,
        "top_p": 1.0,
        "max_new_tokens": 256,
        "budget": 256,
        "engine": "hf",
        "dtype": "float32",
        "text": f"{question}+{question}={2 * question} \\boxed{{{2 * question}}}",
        "n_generated": 12,
        "n_tokens_text": 12,
        "n_prompt_tokens": 20,
        "finish_reason": "stop",
    }
    return row | changes


def verdict(answer: Row, correct: bool, **changes: Any) -> Row:
    """The verdict of grader `boxed@1` on one response; `extracted=None` makes it one without an answer."""
    extracted = answer["target"] if correct else "999"
    row = {
        "response_id": answer["response_id"],
        "grader": "boxed",
        "grader_version": "1",
        "correct": correct,
        "extracted": extracted,
        "vote": extracted,
        "why": "the boxed answer equals the target"
        if correct
        else "the boxed answer differs from the target",
    }
    return row | changes


def answers(
    checkpoint: str,
    benchmark: str,
    verdicts: Sequence[bool],
    lengths: Sequence[int] | None = None,
    **changes: Any,
) -> tuple[list[Row], list[Row]]:
    """Greedy responses to questions 0, 1, ... with these verdicts and lengths (tokens)."""
    rows = [
        response(checkpoint, benchmark, i, n_tokens_text=lengths[i] if lengths else 10, **changes)
        for i in range(len(verdicts))
    ]
    return rows, [verdict(row, correct) for row, correct in zip(rows, verdicts, strict=True)]


def checkpoint(fingerprint: str, kind: str, *, model_set: str = "pair", at: int = 0, **changes: Any) -> Row:
    """A row of `checkpoints`; `at` seconds after the start of the world."""
    row = {
        "checkpoint": fingerprint,
        "model_set": model_set,
        "name": fingerprint,
        "kind": kind,
        "path": f"models/{fingerprint}",
        "base": None if kind == "base" else "base",
        "n_parameters": 1000,
        "created_at": START + timedelta(seconds=at),
    }
    if kind == "merged":
        row |= {
            "method": fingerprint,
            "parameters": {"lambda": 0.5},
            "experts": ["expert"],
            "merge_id": f"merge-{fingerprint}",
            "merge_seconds": 3.5,
            "peak_bytes": 200 << 20,
        }
    return row | changes


def scores(
    rows: tuple[list[Row], list[Row]], *, expected_n: int, votes: Sequence[int] = (), **changes: Any
) -> list[Row]:
    """The score rows of some answers, in the model set `pair` of `base` and `expert`."""
    common: Row = {"model_set": "pair", "base": "base", "expert": "expert", "domain": "maths"}
    return score_rows(*rows, expected_n=expected_n, votes=votes, **(common | changes))


def write(
    store: Store, rows: Iterator[tuple[str, Row]] | Sequence[tuple[str, Row]], run_id: str = "run-1"
) -> None:
    """Spool (table, row) pairs and ingest them."""
    with Spool(store.spool_dir, run_id) as spool:
        for table, row in rows:
            spool.append(table, row)
    store.ingest()


def world(*, questions: int = 40, pool: int = 16, seed: int = 0) -> list[tuple[str, Row]]:
    """Base, expert and three merges on two benchmarks, the second one with a sampled pool that votes."""
    generator = random.Random(seed)
    models = {
        "base": ("base", 0.45, 15),
        "expert": ("expert", 0.85, 90),
        "fim_ties": ("merged", 0.75, 40),
        "task_arithmetic": ("merged", 0.7, 30),
        "ties": ("merged", 0.6, 45),
    }
    rows: list[tuple[str, Row]] = [("runs", {"run_id": "run-1", "command": "bench run", "engine": "hf"})]
    rows.append(
        ("methods", {"method": "fim_ties", "title": "FIM-TIES", "reconstructed": "the log base is a guess"})
    )
    for at, (name, (kind, skill, tokens)) in enumerate(models.items()):
        rows.append(("checkpoints", checkpoint(name, kind, at=at)))
        for benchmark, ease in (("mini_gsm", 0.1), ("mini_aime", -0.2)):
            drawn = [
                _answer(generator, name, benchmark, q, 0, skill + ease, tokens) for q in range(questions)
            ]
            rows += _recorded(drawn, questions, ())
        drawn = [
            _answer(generator, name, "mini_aime", q, k, skill - 0.2, tokens, draw="vote")
            for q in range(questions)
            for k in range(pool)
        ]
        rows += _recorded(drawn, questions, (1, 8, 16))
    return rows


def _answer(
    generator: random.Random,
    name: str,
    benchmark: str,
    q: int,
    k: int,
    skill: float,
    tokens: int,
    **changes: Any,
) -> tuple[Row, Row]:
    length = max(3, round(generator.gauss(tokens, tokens / 5)))
    row = response(name, benchmark, q, k, n_tokens_text=length, **changes)
    correct = generator.random() < skill
    if correct or generator.random() < 0.8:
        return row, verdict(row, correct)
    row |= {"finish_reason": "length", "text": "1+1=2, 2+1=3, 3+1="}
    return row, verdict(row, False, extracted=None, vote=None, why="no boxed answer was found")


def _recorded(drawn: list[tuple[Row, Row]], questions: int, votes: Sequence[int]) -> list[tuple[str, Row]]:
    responses, verdicts = [list(part) for part in zip(*drawn, strict=True)]
    return [
        *(("responses", row) for row in responses),
        *(("verdicts", row) for row in verdicts),
        *(("scores", row) for row in scores((responses, verdicts), expected_n=questions, votes=votes)),
    ]
