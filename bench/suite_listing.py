"""Rows of `bench suites`: what is asked, through whom, and what is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.catalogue import suites
from tasks.contract import Benchmark, Composite, LmEvalTask, Suite

LM_EVALS = "lm-eval's"  # what lm-eval decides


def suite_listing() -> list[dict[str, Any]]:
    """One row a benchmark: first what is reported and made of others, then what is asked."""
    return [{"suite": suite.name, **row} for suite in suites().values() for row in _rows(suite)]


def _rows(suite: Suite) -> Iterator[dict[str, Any]]:
    yield from (_made(one) for one in suite.composites)
    yield from (_through_lm_eval(one) for one in suite.lm_eval)
    yield from (_ours(one) for one in suite.benchmarks)


def _ours(benchmark: Benchmark) -> dict[str, Any]:
    return {
        "benchmark": benchmark.name,
        "what": benchmark.title,
        "domain": benchmark.domain,
        "splits": ", ".join(benchmark.splits),
        "prompt modes": ", ".join(benchmark.prompts),
        "asked": _asked(benchmark),
        "version": benchmark.version,
    }


def _asked(benchmark: Benchmark) -> str:
    """What is asked for: one of its labels, or texts of so many tokens."""
    if benchmark.labels:
        return f"a label: {', '.join(benchmark.labels)}"
    draws = ", ".join(f"{d.name} n={d.n} T={d.sampling.temperature:g}" for d in benchmark.protocols)
    return f"{draws}, at most {benchmark.protocols[0].sampling.max_new_tokens} tokens"


def _through_lm_eval(task: LmEvalTask) -> dict[str, Any]:
    asked = f"lm-eval's {task.task}, scored by {task.metric}" + (
        f" under {task.filter}" if task.filter != "none" else ""
    )
    return {
        "benchmark": task.name,
        "what": task.title,
        "domain": task.domain,
        "splits": "test",
        "prompt modes": LM_EVALS,
        "asked": f"{asked}; only where it is named" if task.beside else asked,
        "version": LM_EVALS,
    }


def _made(composite: Composite) -> dict[str, Any]:
    parts = ", ".join(
        part.benchmark + (f" ({part.grader.rpartition(':')[2]})" if part.grader else "")
        for part in composite.parts
    )
    return {
        "benchmark": composite.name,
        "what": composite.title,
        "domain": composite.domain,
        "splits": None,
        "prompt modes": None,
        "asked": f"{'best' if composite.how == 'max' else 'mean'} of {parts}"
        if len(composite.parts) > 1
        else parts,
        "version": None,
    }


def suite_entries() -> dict[str, list[tuple[str, list[str]]]]:
    """The same for a person, by suite."""
    entries: dict[str, list[tuple[str, list[str]]]] = {}
    for row in suite_listing():
        heading = f"{row['suite']}: {suites()[row['suite']].title}"
        facts = [f"domain {row['domain']}", row["splits"], _named("prompts", row["prompt modes"])]
        details = "; ".join(filter(None, [*facts, _named("version", row["version"])]))
        entries.setdefault(heading, []).append((row["benchmark"], [row["what"], row["asked"], details]))
    return entries


def _named(name: str, value: str | None) -> str | None:
    return None if value is None else f"{name} {value}"
