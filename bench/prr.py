"""Performance Retain Rate of a table from anywhere: a CSV file in long format, one score a line."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.errors import BadInput
from results.prr import Performance, RetainRate, retain_rate
from results.statistics import Estimate

REQUIRED = ("method", "domain", "benchmark", "value")
EXPERT = ("expert_value", "expert")  # either name
OPTIONAL = {
    "n": "items that the two scores are shares of: standard errors",
    "constant": "score of the best constant answer, which a denominator should not be below",
    "denominator": "measured or quoted: how the expert's score was come by",
}
KINDS = ("measured", "quoted")


@dataclass(frozen=True)
class Line:
    """One score of the file, `number` its line; scores are shares after `scaled`."""

    number: int
    method: str
    domain: str
    benchmark: str
    value: float | None
    expert: float | None
    n: int | None = None
    constant: float | None = None
    kind: str = KINDS[0]


@dataclass(frozen=True)
class Rates:
    """PRR of every method, in the order of the file. `marks` say what a reader must know of the denominators,
    `unread` are columns that mean nothing here."""

    rates: Mapping[str, RetainRate]
    marks: tuple[str, ...]
    unread: tuple[str, ...]


def rates_of(file: Path, *, mixed: bool = False) -> Rates:
    """PRR of the methods of `file`. A benchmark that a method has no line for is missing, as is an empty value.

    Raises BadInput for what is no such file, for two lines on one score, a negative score, and, unless `mixed`, for
    denominators of one benchmark that differ, or of which some were measured and some quoted.
    """
    lines, unread = read_lines(file)
    _check_once(file, lines)
    marks = _marks(file, lines, mixed)
    domains = _domains(file, lines)
    scaled = _scaled(file, lines)
    rates = {}
    for method in dict.fromkeys(line.method for line in scaled):
        own = {line.benchmark: line for line in scaled if line.method == method}
        others = {line.benchmark: replace(line, value=None) for line in scaled}
        performances = [
            _performance(domain, own.get(name) or others[name]) for name, domain in domains.items()
        ]
        rates[method] = retain_rate(performances)
    return Rates(rates, tuple(marks), unread)


def read_lines(file: Path) -> tuple[list[Line], tuple[str, ...]]:
    """The lines of the file, scores as written, and the columns that were not read."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream)
            names = [name.strip().lower() for name in rows.fieldnames or ()]
            rows.fieldnames = names
            expert = _expert_column(file, names)
            lines = [_line(file, rows.line_num, row, expert) for row in rows]
    except (UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file}: not a CSV file in UTF-8: {error}") from error
    if not lines:
        raise BadInput(f"{file}: no line of scores under its header")
    return lines, tuple(name for name in names if name not in {*REQUIRED, expert, *OPTIONAL})


def _expert_column(file: Path, names: Sequence[str]) -> str:
    """The column of the denominators, after all that must be there was found."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise BadInput(f"{file}: two columns are named {twice[0]}")
    missing = [name for name in REQUIRED if name not in names]
    expert = next((name for name in EXPERT if name in names), None)
    if expert is None:
        missing.append(" (or ".join(EXPERT) + ")")
    if expert is None or missing:
        optional = "; ".join(f"{name}: {what}" for name, what in OPTIONAL.items())
        raise BadInput(
            f"{file}: no column {', '.join(missing)}. A line is one score: {', '.join(REQUIRED)}, {EXPERT[0]} (the "
            f"score of the domain's expert, also named {EXPERT[1]}). The header is: {', '.join(names) or 'empty'}. "
            f"Optional columns: {optional}."
        )
    return expert


def _line(file: Path, number: int, row: Mapping[str | None, str | None], expert: str) -> Line:
    where = f"{file}, line {number}"
    if None in row:
        raise BadInput(f"{where}: more cells than the header has columns")
    texts = {name: (row.get(name) or "").strip() for name in (*REQUIRED, expert, *OPTIONAL)}
    for name in REQUIRED[:3]:
        if not texts[name]:
            raise BadInput(f"{where}: {name} is empty")
    kind = texts["denominator"].lower() or KINDS[0]
    if kind not in KINDS:
        raise BadInput(f"{where}: denominator is {kind!r}; it is {' or '.join(KINDS)}")
    items = _number(where, "n", texts["n"])
    if items is not None and (items < 2 or items != int(items)):
        raise BadInput(f"{where}: n is {items:g}; a number of items is whole and at least 2")
    return Line(
        number,
        texts["method"],
        texts["domain"].lower(),
        texts["benchmark"],
        _number(where, "value", texts["value"]),
        _number(where, expert, texts[expert]),
        None if items is None else int(items),
        _number(where, "constant", texts["constant"]),
        kind,
    )


def _number(where: str, column: str, text: str) -> float | None:
    if not text:
        return None
    try:
        number = float(text.removesuffix("%"))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise BadInput(
            f"{where}: {column} is {text!r}, not a number; leave the cell empty where there is none"
        )
    if number < 0:
        raise BadInput(
            f"{where}: {column} is negative, {number:g}. A ratio needs scores where higher is better and the worst "
            "is 0: convert rates of harm and attacks first (100 - rate)"
        )
    return number


def _check_once(file: Path, lines: Iterable[Line]) -> None:
    seen: dict[tuple[str, str], int] = {}
    for line in lines:
        first = seen.setdefault((line.method, line.benchmark), line.number)
        if first != line.number:
            raise BadInput(
                f"{file}, lines {first} and {line.number}: both are {line.method} on {line.benchmark}; keep one"
            )


def _domains(file: Path, lines: Iterable[Line]) -> dict[str, str]:
    """The domain of every benchmark, in the order of the file."""
    domains: dict[str, str] = {}
    for line in lines:
        known = domains.setdefault(line.benchmark, line.domain)
        if known != line.domain:
            raise BadInput(
                f"{file}, line {line.number}: {line.benchmark} is in domain {line.domain} here and in {known} before"
            )
    return domains


def _marks(file: Path, lines: Sequence[Line], mixed: bool) -> list[str]:
    """What must be said of the denominators; refuses to mix them where nobody asked for it."""
    differing = _differing(lines)
    kinds = {line.kind for line in lines if line.expert is not None}
    if not mixed:
        for benchmark, (one, two) in differing.items():
            raise BadInput(
                f"{file}: the expert has {one.expert:g} on {benchmark} in line {one.number} and {two.expert:g} in "
                f"line {two.number}. Rates against two denominators cannot be compared: take one run of the expert "
                "for all methods, or ask for it with --mixed, and the result says so."
            )
        if len(kinds) > 1:
            one, two = (next(line for line in lines if line.kind == kind) for kind in KINDS)
            raise BadInput(
                f"{file}: denominators of line {one.number} were measured and those of line {two.number} are quoted. "
                "Measure all of them in one harness, or ask for it with --mixed, and the result says so."
            )
    marks = [
        f"{benchmark}: rows have different denominators ({one.expert:g}, {two.expert:g}): they cannot be compared"
        for benchmark, (one, two) in differing.items()
    ]
    quoted = dict.fromkeys(line.benchmark for line in lines if line.kind == "quoted")
    if quoted:
        marks.append(f"denominators quoted, not measured with the scores: {', '.join(quoted)}")
    return marks


def _differing(lines: Iterable[Line]) -> dict[str, tuple[Line, Line]]:
    """By benchmark: the first two lines with different denominators."""
    first: dict[str, Line] = {}
    found: dict[str, tuple[Line, Line]] = {}
    for line in (line for line in lines if line.expert is not None):
        before = first.setdefault(line.benchmark, line)
        if before.expert != line.expert:
            found.setdefault(line.benchmark, (before, line))
    return found


def _scaled(file: Path, lines: Sequence[Line]) -> list[Line]:
    """The lines with shares: all numbers of a file are in %, unless none is above 1."""
    values = [line.value for line in lines if line.value]
    experts = [line.expert for line in lines if line.expert]
    if values and experts and (max(values) <= 1 < min(experts) or max(experts) <= 1 < min(values)):
        raise BadInput(
            f"{file}: values go up to {max(values):g} and expert values to {max(experts):g}: the ones are fractions "
            "and the others are in %. Write both alike."
        )
    constants = [line.constant for line in lines if line.constant]
    unit = 100.0 if max([*values, *experts, *constants], default=0.0) > 1 else 1.0
    return [
        replace(
            line,
            value=_share(line.value, unit),
            expert=_share(line.expert, unit),
            constant=_share(line.constant, unit),
        )
        for line in lines
    ]


def _share(number: float | None, unit: float) -> float | None:
    return None if number is None else number / unit


def _performance(domain: str, line: Line) -> Performance:
    merged, expert = _estimate(line.value, line.n), _estimate(line.expert, line.n)
    return Performance(line.benchmark, domain, merged, expert, line.constant)


def _estimate(share: float | None, n: int | None) -> Estimate | None:
    """A share with its binomial error, as `results.statistics.proportion` has it; none above 1, which is no share."""
    if share is None or n is None or share > 1:
        return None if share is None else Estimate(share, None)
    if share in (0.0, 1.0):
        return Estimate(share, 0.5 / (n + 1))
    return Estimate(share, math.sqrt(share * (1 - share) / (n - 1)))
