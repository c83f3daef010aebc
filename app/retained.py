"""Performance Retain Rate and retention as tables: by domain, with errors; numbers that sort as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from app.table import TINTS, Written, bold_best, label
from results import text
from results.board import Row
from results.prr import SAFETY
from results.statistics import Estimate

Columns = dict[str, Callable[[Row], Any]]


def rates(rows: Sequence[Row]) -> Any:
    """PRR of some rows, in %, as a pandas Styler: base and experts tinted, the best ranked merges bold."""
    columns: Columns = {"model": label, "mean": lambda row: _rate(row.retain.mean if row.retain else None)}
    domains = [domain.domain for domain in rows[0].retain.domains] if rows and rows[0].retain else []
    columns |= {domain: _domain(domain) for domain in domains}
    if SAFETY in domains:
        columns[f"without {SAFETY}"] = lambda row: _rate(row.retain.without_safety if row.retain else None)
    columns["worst domain"] = _worst
    return _styled(rows, columns)


def kept(rows: Sequence[Row]) -> Any:
    """Retention against the base of some rows, in %, by benchmark."""
    names = [ratio.benchmark for ratio in rows[0].retention.ratios] if rows and rows[0].retention else []
    columns: Columns = {
        "model": label,
        "mean": lambda row: _rate(row.retention.mean if row.retention else None),
        **{name: _benchmark(name) for name in names},
    }
    return _styled(rows, columns)


def _styled(rows: Sequence[Row], columns: Columns) -> Any:
    frame = pd.DataFrame(
        [[of(row) for of in columns.values()] for row in rows], columns=list(columns), dtype=object
    )
    styler = frame.style.format(lambda value: getattr(value, "text", value))
    styler = styler.apply(lambda column: [TINTS.get(row.kind, "") for row in rows], axis=0)
    numbers = [name for name in columns if name not in ("model", "worst domain")]
    return styler.apply(bold_best, axis=0, subset=numbers, ranked=[row.rank is not None for row in rows])


def _domain(name: str) -> Callable[[Row], Written | None]:
    def of(row: Row) -> Written | None:
        found = {domain.domain: domain.estimate for domain in row.retain.domains} if row.retain else {}
        return _rate(found.get(name))

    return of


def _benchmark(name: str) -> Callable[[Row], Written | None]:
    def of(row: Row) -> Written | None:
        found = {ratio.benchmark: ratio.estimate for ratio in row.retention.ratios} if row.retention else {}
        return _rate(found.get(name))

    return of


def _worst(row: Row) -> str | None:
    worst = row.retain.worst if row.retain else None
    return f"{worst[0]} {worst[1].value:.1f}" if worst else None


def _rate(estimate: Estimate | None) -> Written | None:
    return None if estimate is None else Written(estimate.value, text.tokens(estimate))
