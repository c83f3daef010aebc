"""What was measured, beside what is required."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from perf.cases import GB, Case
from perf.measure import Usage

ALIKE = 1.25  # peaks within this factor count as independent of what differs


@dataclass
class Row:
    """One case's figures: the fastest round of each tool, the highest memory of any round.

    `nbytes` is what a merge must read (every input once); `merging` is our seconds without starting up and
    without fingerprinting the inputs; `read`, `write` and `flush` are the times for merely reading the inputs and
    for writing as many bytes as the result has (into the page cache, and until the disk has them).
    """

    case: Case
    shape: str
    nbytes: int
    ours: Usage | None = None
    peer: Usage | None = None
    merging: float = math.inf
    read: float = math.inf
    write: float = math.inf
    flush: float = math.inf

    def add_ours(self, usage: Usage, merging: float) -> None:
        """A round of ours."""
        self.ours = _best(self.ours, usage)
        self.merging = min(self.merging, merging)

    def add_peer(self, usage: Usage) -> None:
        """A round of the peer."""
        self.peer = _best(self.peer, usage)


def _best(a: Usage | None, b: Usage) -> Usage:
    if a is None:
        return b
    return Usage(
        min(a.seconds, b.seconds),
        max(a.anonymous, b.anonymous),
        max(a.resident, b.resident),
        min(a.processor, b.processor),
    )


@dataclass(frozen=True)
class Check:
    """A requirement of a case: what was measured, what is allowed."""

    what: str
    measured: str
    required: str
    met: bool


def checks(row: Row, rows: Mapping[str, Row]) -> list[Check]:
    """Every requirement of a case that could be checked with what has run."""
    case, found = row.case, []
    if row.ours is None:
        return []
    if case.faster and row.peer:
        ratio = row.peer.seconds / row.ours.seconds
        found.append(
            Check("times as fast as mergekit", f"{ratio:.1f}", f">= {case.faster:g}", ratio >= case.faster)
        )
    other = rows.get(case.against or "")
    if other and other.ours and case.at_most:
        if case.per_byte:
            ratio = (row.merging / row.nbytes) / (other.merging / other.nbytes)
            what = f"seconds of merging per byte read, over {case.against}"
        else:
            ratio = row.ours.seconds / other.ours.seconds
            what = f"seconds, over {case.against}"
        found.append(Check(what, f"{ratio:.2f}", f"<= {case.at_most:g}", ratio <= case.at_most))
    like = rows.get(case.memory_like or "")
    if like and like.ours:
        ratio = row.ours.anonymous / like.ours.anonymous
        met = 1 / ALIKE <= ratio <= ALIKE
        found.append(
            Check(f"anonymous peak, over {case.memory_like}", f"{ratio:.2f}", f"within {ALIKE:g}x", met)
        )
    limits = (
        ("seconds", row.ours.seconds, case.seconds, 1, "s"),
        ("anonymous peak", row.ours.anonymous, case.anonymous, GB, "GB"),
        ("resident peak", row.ours.resident, case.resident, GB, "GB"),
    )
    for what, value, limit, unit, name in limits:
        if limit:
            found.append(
                Check(what, f"{value / unit:.2f} {name}", f"<= {limit / unit:g} {name}", value <= limit)
            )
    return found


def text(rows: Mapping[str, Row], *, requirements: bool) -> str:
    """Two tables: figures, and requirements (which are those of the large shapes)."""
    if not requirements:
        return f"\n{_columns(_figures(rows))}\n"
    return "\n" + _columns(_figures(rows)) + "\n\n" + _columns(_requirements(rows)) + "\n"


def _figures(rows: Mapping[str, Row]) -> list[list[str]]:
    """One line for each tool of each case."""
    head = "merge,shape,experts,tool,seconds,processor,merging,ratio,anonymous,resident,read,write,on disk"
    lines = [head.split(",")]
    for row in rows.values():
        for tool, usage in (("ours", row.ours), ("mergekit", row.peer)):
            if usage is not None:
                lines.append(_line(row, tool, usage))
    return lines


def _line(row: Row, tool: str, usage: Usage) -> list[str]:
    ours = tool == "ours"
    return [
        row.case.name,
        row.shape,
        str(row.case.experts),
        tool,
        f"{usage.seconds:.1f} s",
        f"{usage.processor:.1f} s",
        f"{row.merging:.1f} s" if ours else "",
        f"{row.peer.seconds / usage.seconds:.1f}x" if ours and row.peer else "",
        f"{usage.anonymous / GB:.2f} GB",
        f"{usage.resident / GB:.2f} GB",
        f"{row.read:.1f} s",
        f"{row.write:.1f} s",
        f"{row.flush:.1f} s",
    ]


def _requirements(rows: Mapping[str, Row]) -> list[list[str]]:
    lines = [["merge", "requirement", "measured", "required", ""]]
    for row in rows.values():
        for check in checks(row, rows):
            verdict = "met" if check.met else "NOT met"
            lines.append([row.case.name, check.what, check.measured, check.required, verdict])
    return lines


def _columns(lines: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
