"""Acceptance: an experiment whose results somebody has published, run here, and compared number by number.

A file of configs/acceptance is an experiment with the published numbers: `322/1043` are counts of right answers, and
`76.8` is a share in % as printed, rounded to its last digit. What may differ (`allow`): `items` is for choices
without sampling, two items for kernels that round differently; `errors` is for texts, whose later words follow from
such a difference: two standard errors of one greedy run. A length may differ by two of its own standard errors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import field_validator

from bench.config import CONFIGS, Experiment, from_file, model_set
from bench.errors import BadInput, unknown
from bench.experiments import Wanted

if TYPE_CHECKING:
    from rich.table import Table

    from results.board import Board, Row
    from results.cell import Cell

FOLDER = CONFIGS / "acceptance"
MEAN = "mean"
ITEMS = 2  # by which counts may differ
ERRORS = 2.0  # standard errors by which shares of right texts, and lengths, may differ
Published = dict[str, dict[str, str]]
"""By row (`base`, `expert:NAME`, a method) and benchmark or `mean`: the number as printed."""


class Acceptance(Experiment):
    """An experiment and its published numbers. `limit` asks only the first items, where the numbers are of those."""

    source: str
    allow: Literal["items", "errors"]
    accuracy: Published
    length: Published = {}
    limit: int | None = None

    @field_validator("accuracy", "length")
    @classmethod
    def _numbers(cls, rows: Published) -> Published:
        for row, numbers in rows.items():
            for benchmark, text in numbers.items():
                try:
                    Printed.of(text)
                except ValueError as error:
                    raise ValueError(f"{row} on {benchmark}: {error}") from error
        return rows

    @property
    def wanted(self) -> Wanted:
        """What a run of it means."""
        return Wanted(self.methods, self.suite, self.models, (), self.settings)


@dataclass(frozen=True)
class Printed:
    """A published number: `value` in %, or tokens, `half` of its last digit, and the counts where these are known."""

    value: float
    half: float = 0.0
    right: int | None = None
    of_items: int | None = None

    @classmethod
    def of(cls, text: str) -> Printed:
        """`322/1043`, or `76.8`. Raises ValueError for anything else."""
        right, slash, items = text.partition("/")
        if slash:
            if not right.isdecimal() or not items.isdecimal() or not 0 <= int(right) <= int(items) != 0:
                raise ValueError(f"{text!r} is not RIGHT/ITEMS")
            return cls(100 * int(right) / int(items), 0.0, int(right), int(items))
        whole, _, decimals = text.partition(".")
        if not whole.isdecimal() or not (decimals or "0").isdecimal():
            raise ValueError(f"{text!r} is neither RIGHT/ITEMS nor a number as printed, in quotes")
        return cls(float(text), 0.5 * 10.0 ** -len(decimals))


@dataclass(frozen=True)
class Check:
    """One published number beside ours. `difference` and `allowed` are in % or tokens, None without ours."""

    row: str
    benchmark: str
    metric: str
    published: str
    measured: str | None
    difference: float | None
    allowed: float | None
    why: str = ""

    @property
    def passed(self) -> bool:
        """Whether ours is there and differs by no more than is allowed."""
        return (
            not self.why
            and self.difference is not None
            and self.allowed is not None
            and abs(self.difference) <= self.allowed + 1e-9
        )


def acceptance_names() -> list[str]:
    """Every file of configs/acceptance."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def acceptance(name: str) -> Acceptance:
    """The file NAME of configs/acceptance, or any YAML file. Raises BadInput where it names what there is not."""
    if name not in acceptance_names() and not Path(name).is_file():
        raise unknown("acceptance", name, acceptance_names())
    file = FOLDER / f"{name}.yaml" if name in acceptance_names() else Path(name)
    where = f"configs/acceptance/{name}.yaml" if name in acceptance_names() else name
    found = from_file(Acceptance, file, where, name=file.stem)
    _check_names(found, where)
    return found


def _check_names(found: Acceptance, where: str) -> None:
    from tasks.catalogue import resolve

    methods = [text.partition("@")[0] for text in found.methods]
    if len(set(methods)) < len(methods):
        raise BadInput(
            f"{where}: a method stands twice in {', '.join(found.methods)}: its rows have one name"
        )
    rows = ["base", *(f"expert:{name}" for name in model_set(found.models).experts), *methods]
    benchmarks = [*resolve(found.suite).reported, MEAN]
    for numbers in (found.accuracy, found.length):
        for row in numbers:
            if row not in rows:
                raise unknown(f"row of {where}", row, rows)
            for benchmark in numbers[row]:
                if benchmark not in benchmarks:
                    raise unknown(f"benchmark of {where}", benchmark, benchmarks)


def compare(found: Acceptance, board: Board, checkpoints: Sequence[str]) -> list[Check]:
    """Every published number beside the board's. `checkpoints` are those of the run: a board may have others."""
    rows = {_key(row): row for row in board.rows if row.checkpoint in checkpoints}
    return [*_checks(found, rows, "accuracy", found.accuracy), *_checks(found, rows, "length", found.length)]


def _key(row: Row) -> str:
    return row.method if row.kind == "merged" and row.method else row.name


def _checks(found: Acceptance, rows: Mapping[str, Row], metric: str, published: Published) -> Iterator[Check]:
    for name, numbers in published.items():
        for benchmark, text in numbers.items():
            row = rows.get(name)
            cells = [] if row is None else _cells(row, benchmark)
            yield _check(found, name, benchmark, metric, text, cells)


def _cells(row: Row, benchmark: str) -> list[Cell | None]:
    return list(row.cells.values()) if benchmark == MEAN else [row.cells.get(benchmark)]


def _check(
    found: Acceptance, row: str, benchmark: str, metric: str, text: str, cells: Sequence[Cell | None]
) -> Check:
    known = [cell for cell in cells if cell is not None and cell.accuracy is not None]
    estimates = [cell.length if metric == "length" else cell.accuracy for cell in known]
    values = [estimate.value for estimate in estimates if estimate is not None]
    if not cells or len(values) < len(cells):
        return Check(row, benchmark, metric, text, None, None, None, "no score")
    printed = Printed.of(text)
    unit = 1.0 if metric == "length" else 100.0
    ours = unit * math.fsum(values) / len(values)
    if metric == "length":
        errors = [estimate.stderr or 0.0 for estimate in estimates if estimate is not None]
        allowed = ERRORS * math.hypot(*errors) / len(errors)
    else:
        allowed = _allowed(found, printed, known)
    measured = f"{ours:.2f}"
    if printed.of_items is not None and len(known) == 1:
        measured = f"{round(values[0] * known[0].n)}/{known[0].n}"
    why = _incomparable(found, printed, known)
    return Check(row, benchmark, metric, text, measured, ours - printed.value, allowed + printed.half, why)


def _allowed(found: Acceptance, printed: Printed, cells: Sequence[Cell]) -> float:
    """Points by which an accuracy, or a mean of accuracies, may differ from a published one."""
    if found.allow == "items":
        return 100 * math.fsum(ITEMS / cell.n for cell in cells) / len(cells)
    # Of a mean, every part has the error that it shows here.
    shares = [printed.value / 100] if len(cells) == 1 else [c.accuracy.value for c in cells if c.accuracy]
    errors = [_binomial(share, cell.n) for share, cell in zip(shares, cells, strict=True)]
    return 100 * ERRORS * math.hypot(*errors) / len(errors)


def _binomial(share: float, n: int) -> float:
    """The error of one greedy run; at 0 and 1 that of half an item."""
    inner = min(max(share, 0.5 / (n + 1)), 1 - 0.5 / (n + 1))
    return math.sqrt(inner * (1 - inner) / n)


def _incomparable(found: Acceptance, printed: Printed, cells: Sequence[Cell]) -> str:
    """Why two numbers are not of the same items; empty where they are."""
    if found.limit is None and any(cell.limited for cell in cells):
        return "asked only in part: " + ", ".join(f"{c.n} of {c.expected_n}" for c in cells if c.limited)
    if printed.of_items is not None and len(cells) == 1 and cells[0].n != printed.of_items:
        return f"{cells[0].n} items here, {printed.of_items} published"
    return ""


def table(found: Acceptance, checks: Sequence[Check]) -> Table:
    """Every number with pass or FAIL."""
    from bench.show import simple_table

    failed = sum(not check.passed for check in checks)
    title = f"acceptance {found.name} · {found.source} · {len(checks) - failed} of {len(checks)} pass"
    columns = ["row", "benchmark", "metric", "published", "measured", "difference", "allowed", ""]
    return simple_table(title, columns, [_line(check) for check in checks])


def _line(check: Check) -> list[str]:
    difference = "–" if check.difference is None else f"{check.difference:+.2f}"
    allowed = "–" if check.allowed is None else f"{check.allowed:.2f}"
    verdict = "pass" if check.passed else f"FAIL {check.why}".strip()
    names = [check.row, check.benchmark, check.metric, check.published, check.measured or "–"]
    return [*names, difference, allowed, verdict]
