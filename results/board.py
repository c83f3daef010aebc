"""What a leaderboard is: the types that `results/leaderboard.py` fills and tables and pages show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from results import text
from results.cell import Cell
from results.composites import Composite
from results.prr import RetainRate, Retention
from results.statistics import Estimate, Paired


@dataclass(frozen=True)
class Flips:
    """On how many of a benchmark's responses, of all rows together, the verdicts of two graders differ."""

    benchmark: str
    other: str
    flipped: int
    responses: int


@dataclass(frozen=True)
class Elsewhere:
    """Accuracies that are stored and not shown: under another prompt mode or budget, or, of `models`, from another
    engine. What is as in the table is None."""

    prompt_mode: str | None = None
    budget: int | None = None
    engine: str | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Row:
    """One checkpoint of one model set. The means are unweighted over the benchmarks of the board.

    A mean is None when a part of it is missing; that of lengths is over the benchmarks that have them.
    `length_reduction` is the mean over benchmarks of (length / expert's length - 1): -0.4 is 40 % shorter.
    `length_fixed` and `length_fixed_reduction` are the same two by fixed tokenizer: models with tokenizers of their
    own count the same text differently.
    `accuracy_gain` is the mean over benchmarks of the difference in accuracy to the base on the same questions:
    the difference of the two `accuracy` where both were asked the same. `against_base` pools the questions of
    all benchmarks, for one test; its difference weighs large benchmarks more. A question of a composite counts once,
    and of the best of several only those of the best.
    `retain` is the share of its experts' performance that is kept, where the model set has experts for at least two
    domains (`results/retained.py`), and `retention` that of the base's, over the domains that have no expert.
    `rank` counts the complete merged rows of one model set that were asked every question, by mean `retain` where
    there is one, else by accuracy. `merge_seconds` include those of the statistics.
    """

    model_set: str
    checkpoint: str
    name: str
    kind: str
    method: str | None
    reconstructed: str | None
    cells: dict[str, Cell | None]
    accuracy: Estimate | None
    length: Estimate | None
    length_reduction: float | None
    accuracy_gain: float | None
    against_base: Paired | None
    merge_seconds: float | None
    statistics_seconds: float | None
    peak_bytes: int | None
    rank: int | None = None
    length_fixed: dict[str, Estimate | None] = field(default_factory=dict)
    length_fixed_reduction: dict[str, float | None] = field(default_factory=dict)
    retain: RetainRate | None = None
    retention: Retention | None = None

    @property
    def measured(self) -> dict[str, Cell]:
        """The cells of what was asked: the parts of composites in place of these."""
        return asked_cells(self.cells)

    @property
    def title(self) -> str:
        """The name as every table shows it: with a mark when the method's definition had to be reconstructed.

        The mark stands behind the method, before its parameters: a name that is cut off keeps it.
        """
        if not self.reconstructed:
            return self.name
        method, space, parameters = self.name.partition(" ")
        return f"{method} {text.RECONSTRUCTED}{space}{parameters}"

    @property
    def complete(self) -> bool:
        """Every benchmark of the board has an accuracy, and a length where answers have one."""
        return not self.missing

    @property
    def limited(self) -> bool:
        """Some benchmark was asked only in part."""
        return any(cell is not None and cell.limited for cell in self.cells.values())

    @property
    def missing(self) -> list[str]:
        """Benchmarks without an accuracy, or without a length that they should have."""
        return [b for b, cell in self.cells.items() if _lacks(cell)]

    @property
    def missing_parts(self) -> list[str]:
        """The same, but of a benchmark that is made of others those of its parts."""
        parts = {b: cell.parts if cell else {} for b, cell in self.cells.items()}
        return [p for b in self.missing for p in [k for k, c in parts[b].items() if _lacks(c)] or [b]]

    @property
    def documents(self) -> tuple[str | None, ...]:
        """What was asked, per benchmark: rows can be ordered among those for which this is equal."""
        return tuple(cell.document_set if cell else None for cell in self.cells.values())


def asked_cells(cells: Mapping[str, Cell | None]) -> dict[str, Cell]:
    """By key, of cells by column: those of what was asked, the parts of composites in place of these."""
    found: dict[str, Cell] = {}
    for column, cell in cells.items():
        parts = cell.parts or {column: cell} if cell else {}
        found |= {key: part for key, part in parts.items() if part is not None}
    return found


def _lacks(cell: Cell | None) -> bool:
    return cell is None or cell.accuracy is None or (cell.has_length and cell.length is None)


@dataclass(frozen=True)
class Board:
    """The leaderboard of one suite and split.

    `benchmarks` are its columns: those of `composites`, and what is part of none. `domains` has the domain of each,
    where known, and `experts`, by model set and domain, the name of the expert that its PRR is over: only of model
    sets that have one.
    `rows`: per model set the base, its experts, then merged rows: ranked ones, limited ones, incomplete ones.
    `votes` lists the n of the maj@n that appear, per benchmark. `notes` says in sentences what was left out.
    `graders` has the grader (name@version) whose numbers are shown, per benchmark, and `known_graders` the
    names of all that have any; `flips` counts where the others differ. `elsewhere` lists what is stored under other
    protocols.
    """

    suite: str
    split: str
    benchmarks: tuple[str, ...]
    model_sets: tuple[str, ...]
    rows: tuple[Row, ...]
    votes: dict[str, tuple[int, ...]]
    notes: tuple[str, ...] = ()
    graders: dict[str, str] = field(default_factory=dict)
    known_graders: tuple[str, ...] = ()
    flips: tuple[Flips, ...] = ()
    elsewhere: tuple[Elsewhere, ...] = ()
    composites: dict[str, Composite] = field(default_factory=dict)
    domains: dict[str, str] = field(default_factory=dict)
    experts: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def tokenizers(self) -> tuple[str, ...]:
        """The fixed tokenizers under which lengths were counted."""
        cells = [cell for row in self.rows for cell in row.cells.values() if cell]
        return tuple(sorted({name for cell in cells for name in cell.length_fixed}))

    @property
    def with_length(self) -> tuple[str, ...]:
        """The benchmarks whose answers have a length: those that nobody has run yet may have one."""
        cells = [(b, row.cells[b]) for b in self.benchmarks for row in self.rows]
        chosen = {b for b, cell in cells if cell is not None and not cell.has_length}
        return tuple(b for b in self.benchmarks if b not in chosen)


def pareto(points: list[tuple[float, float]]) -> list[bool]:
    """Which (accuracy, length) points nothing beats: none is as accurate and as short, and better in one."""
    return [
        not any(a >= accuracy and b <= length and (a, b) != (accuracy, length) for a, b in points)
        for accuracy, length in points
    ]
