"""`bench doctor`: whether this machine has what the road needs."""

from __future__ import annotations

from bench.commands.options import Json, PlaceGroup
from bench.commands.printing import show_rows
from bench.errors import CheckFailed


def doctor(*, place: PlaceGroup, json: Json = False) -> None:
    """Check this machine: packages, memory, disk, zoo, database, Hub."""
    from bench.doctor import report

    checks = report(runs=place.runs, db=place.database)
    rows = [
        {
            "check": c.name,
            "state": "ok" if c.ok else ("FAILED" if c.required else "no"),
            "found": c.value,
            "advice": c.advice,
        }
        for c in checks
    ]
    show_rows("doctor", rows, json=json)
    failed = [c.name for c in checks if c.required and not c.ok]
    if failed:
        raise CheckFailed(", ".join(failed))
