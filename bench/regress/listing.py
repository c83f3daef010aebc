"""Verdicts as rows of a table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.regress.check import Verdict

SHOWN = 12  # changes of one method
ADVICE = (
    "If this is what you meant, accept it: bench regress --method NAME --accept \"why\"; "
    "else the change is a fault"
)  # fmt: skip


def verdicts(found: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One row a method."""
    return [
        {
            "method": verdict.method,
            "verdict": verdict.state,
            "cases": verdict.cases,
            "changed cases": len({change.case for change in verdict.changes if change.case}),
            "tensors": sum(bool(change.tensor) for change in verdict.changes),
            "elements": sum(change.changed for change in verdict.changes),
            "rounding": f"{verdict.rounding:.0e}" if verdict.rounding else "0",
        }
        for verdict in found
    ]


def changes(found: Sequence[Verdict]) -> list[dict[str, Any]]:
    """One row a change, at most SHOWN a method: which case, which tensor, how many elements, how much.

    `largest` is in multiples of the task vectors' root mean square.
    """
    rows = []
    for verdict in found:
        for change in verdict.changes[:SHOWN]:
            largest = "" if change.largest is None else f"{change.largest:.2g}"
            rows.append(_row(verdict.method, change.case, change.tensor, change.what, largest))
        if (more := len(verdict.changes) - SHOWN) > 0:
            rows.append(_row(verdict.method, "", "", f"{more} more (--json lists all)", ""))
    return rows


def _row(method: str, case: str, tensor: str, what: str, largest: str) -> dict[str, Any]:
    return {"method": method, "case": case, "tensor": tensor, "changed": what, "largest": largest}
