"""Every printed Performance Retain Rate, recomputed from the printed scores, and where the two do not agree.

The printed tables disagree with themselves in known places; the note of such a number says how. What agrees shows
that our arithmetic is that of the paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from results.prr import Performance, RetainRate, retain_rate
from results.published import MEAN
from results.statistics import Estimate

PAPER = "DRIFT-MEDIAN (ICLR 2026 submission)"
PRR = "PRR"
DOMAINS = {
    "gsm8k": "maths", "minerva": "maths",
    "m_mmlu": "multilingual", "m_arc": "multilingual", "m_hellaswag": "multilingual",
    "ifeval_strict": "instruction", "ifeval_loose": "instruction",
    "humaneval_plus": "coding", "mbpp_plus": "coding",
    "wildguardtest": "safety", "harmbench": "safety", "dan": "safety", "xstest": "safety",
}  # fmt: skip
"""The domains of the MergeBench models. The other tables have an expert, so a domain, for each benchmark."""
MERGEBENCH = ("Tables 2, 7 and 8", "Tables 3, 9 and 10")
# Printed with one decimal, so recomputed from such numbers; all others have two.
COARSE = f"{PAPER}, Table 1"
TOLERANCE, COARSE_TOLERANCE = 0.015, 0.06

# A table, the table and the row of its denominators. Table 11 prints none: its experts are those of Table 5. The
# rows of Table 4 were divided by two different ones, so both are tried.
_DENOMINATORS = (
    ("Table 1", "Table 1", "Fine-tuned Models"),
    *((table, table, "Skyline(s)") for table in MERGEBENCH),
    ("Table 4", "Table 4", "Fine-tuned Models (quoted)"),
    ("Table 4", "Table 4", "Fine-tuned Models (own)"),
    ("Table 5", "Table 5", "Skyline(s)"),
    ("Table 11", "Table 5", "Skyline(s)"),
)

Numbers = dict[tuple[str, str], dict[str, Any]]
"""The rows of one method: by benchmark and metric."""


@dataclass(frozen=True)
class Recomputed:
    """PRR of the rows of a printed table against one row of denominators, from the printed scores."""

    source: str
    model_set: str
    denominators: str
    rates: Mapping[str, RetainRate]


@dataclass(frozen=True)
class Claim:
    """A printed number beside what printed numbers give for it, both in %.

    `of` says from what: the row of denominators, or the printed numbers that are averaged. `note` says what is
    known to contradict it.
    """

    source: str
    model_set: str
    method: str
    metric: str
    of: str
    printed: float
    recomputed: float
    tolerance: float
    note: str

    @property
    def agrees(self) -> bool:
        """Whether the two differ by no more than rounding explains."""
        return abs(self.printed - self.recomputed) <= self.tolerance


def recomputed(rows: Iterable[Mapping[str, Any]]) -> list[Recomputed]:
    """PRR of every method of every table that prints scores, in the order of the paper. `rows`: `published`."""
    tables, sets = _tables(rows)
    return [
        Recomputed(f"{PAPER}, {table}", sets[table], expert, _rates(tables[table], tables[experts][expert]))
        for table, experts, expert in _DENOMINATORS
        if table in tables and expert in tables.get(experts, {})
    ]


def claims(rows: Iterable[Mapping[str, Any]]) -> list[Claim]:
    """Every printed PRR and mean that printed numbers say something about."""
    lines = list(rows)
    tables, _ = _tables(lines)
    found = [claim for one in recomputed(lines) for claim in _of_scores(one, tables[_table(one.source)])]
    return found + [claim for table in tables.values() for row in table.values() for claim in _of_means(row)]


def _of_scores(one: Recomputed, methods: Mapping[str, Numbers]) -> Iterable[Claim]:
    """The PRR of a row and of its domains."""
    for method, rate in one.rates.items():
        for metric, estimate in (
            *((f"{PRR}:{domain.domain}", domain.estimate) for domain in rate.domains),
            (PRR, rate.mean),
        ):
            row = methods[method].get((MEAN, metric))
            if row is not None and estimate is not None:
                yield _claim(row, one.denominators, estimate.value)


def _of_means(numbers: Numbers) -> Iterable[Claim]:
    """The mean of a row's printed accuracies, and that of its printed domains."""
    accuracies = [_value(row) for _, row in _scores(numbers)]
    domains = [row for (_, metric), row in numbers.items() if metric.startswith(f"{PRR}:")]
    accuracy, rate = numbers.get((MEAN, "accuracy")), numbers.get((MEAN, PRR))
    if accuracy is not None and accuracies:
        yield _claim(accuracy, "its scores", math.fsum(accuracies) / len(accuracies))
    if rate is not None and domains:
        note = "; ".join(filter(None, dict.fromkeys(_said(row) for row in (rate, *domains))))
        value = math.fsum(map(_value, domains)) / len(domains)
        yield _claim(rate, "its printed domains", value, note)


def _claim(row: Mapping[str, Any], of: str, value: float, note: str | None = None) -> Claim:
    return Claim(
        row["source"],
        row["model_set"],
        row["method"],
        row["metric"],
        of,
        _value(row),
        value,
        COARSE_TOLERANCE if row["source"] == COARSE else TOLERANCE,
        _said(row) if note is None else note,
    )


def _rates(methods: Mapping[str, Numbers], expert: Numbers) -> dict[str, RetainRate]:
    """PRR of every method that has scores, the experts themselves left out."""
    rates = {}
    for method, numbers in methods.items():
        scores = _scores(numbers)
        if scores and numbers is not expert:
            rates[method] = retain_rate([_performance(name, row, expert) for name, row in scores])
    return rates


def _scores(numbers: Numbers) -> list[tuple[str, dict[str, Any]]]:
    """The benchmarks and their rows, without the printed mean."""
    return [(name, row) for (name, metric), row in numbers.items() if metric == "accuracy" and name != MEAN]


def _performance(benchmark: str, row: Mapping[str, Any], expert: Numbers) -> Performance:
    known = expert.get((benchmark, "accuracy"))
    domain = DOMAINS[benchmark] if _table(row["source"]) in MERGEBENCH else benchmark
    return Performance(
        benchmark,
        domain,
        Estimate(_value(row) / 100, None),
        None if known is None else Estimate(_value(known) / 100, None),
    )


def _tables(rows: Iterable[Mapping[str, Any]]) -> tuple[dict[str, dict[str, Numbers]], dict[str, str]]:
    """The paper's tables in its order: by method, and the models of each."""
    tables: dict[str, dict[str, Numbers]] = {}
    sets: dict[str, str] = {}
    for row in rows:
        if row["source"].startswith(f"{PAPER}, "):
            table = _table(row["source"])
            sets[table] = row["model_set"]
            numbers = tables.setdefault(table, {}).setdefault(row["method"], {})
            numbers[row["benchmark"], row["metric"]] = dict(row)
    return tables, sets


def _table(source: str) -> str:
    return source.removeprefix(f"{PAPER}, ")


def _value(row: Mapping[str, Any]) -> float:
    return float(row["value"])


def _said(row: Mapping[str, Any]) -> str:
    return row["note"] or ""


def contradictions(found: Sequence[Claim]) -> list[Claim]:
    """What does not agree."""
    return [claim for claim in found if not claim.agrees]
