"""What a leaderboard is: the types that `results/leaderboard.py` fills and tables and pages show."""

from __future__ import annotations

from dataclasses import dataclass, field

from results import text
from results.statistics import Estimate, Paired


@dataclass(frozen=True)
class VotePoint:
    """maj@n under one rule: value, 95 % interval, and tokens per problem (n times the mean length).

    At n = 1 it is the mean of the single samples, which is the same under both rules. Ends of the interval
    are None for scores that were computed before there were any, and tokens where a length is not known. `samples`
    is the size of the pool, responses a question.
    """

    n: int
    rule: str
    accuracy: Estimate
    low: float | None
    high: float | None
    tokens: Estimate | None
    samples: int | None = None


@dataclass(frozen=True)
class Flips:
    """On how many of a benchmark's responses, of all rows together, the verdicts of two graders differ."""

    benchmark: str
    other: str
    flipped: int
    responses: int


@dataclass(frozen=True)
class Budget:
    """New tokens that a response was allowed: those asked for, and the least that a context left of them (None where
    it is not recorded)."""

    asked: int
    least: int | None = None


@dataclass(frozen=True)
class Elsewhere:
    """Accuracies that are stored and not shown: under another prompt mode or budget, or, of `models`, from another
    engine. What is as in the table is None."""

    prompt_mode: str | None = None
    budget: int | None = None
    engine: str | None = None
    models: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cell:
    """One checkpoint on one benchmark. Fractions in 0..1, lengths in tokens; None is missing, never 0.

    `base` and `expert` are the fingerprints of what it is compared with. `n` questions were answered of the
    `expected_n` of the split. `votes` maps n to maj@n. `length_ratio` is the mean length over the expert's,
    minus 1, on the same documents; `against_base` compares accuracies and `length_against_base` lengths,
    question by question, where the base answered every one of them. `has_length` is false where labels were
    chosen: no length is missing there. `curve` has maj@n under both rules. `flips` is the share of the
    verdicts in which another grader, by name, differs. `accuracy_complete` takes truncated responses without
    a complete box as wrong; `length_fixed` has the mean length by fixed tokenizer, and `length_fixed_ratio` what
    `length_ratio` is under it. `samples` is how many responses a question the accuracy rests on, where known.
    `stopped` counts the responses, those of the votes too, on which grading met a limit; None where that was not
    recorded. `budget` is None for labels, and where no response is stored.
    """

    benchmark: str
    benchmark_version: str
    base: str | None
    expert: str | None
    accuracy: Estimate | None
    length: Estimate | None
    length_median: float | None
    length_p90: float | None
    truncated: float | None
    no_answer: float | None
    votes: dict[int, Estimate]
    n: int
    expected_n: int
    document_set: str
    draw: str
    grader: str | None
    prompt_mode: str | None
    engine: str | None
    dtype: str | None
    length_ratio: float | None = None
    against_base: Paired | None = None
    length_against_base: Paired | None = None
    has_length: bool = True
    curve: tuple[VotePoint, ...] = ()
    flips: dict[str, float] = field(default_factory=dict)
    accuracy_complete: Estimate | None = None
    length_correct: float | None = None
    length_untruncated: float | None = None
    length_fixed: dict[str, Estimate] = field(default_factory=dict)
    length_fixed_ratio: dict[str, float] = field(default_factory=dict)
    samples: int | None = None
    reflections: float | None = None
    code_fence: float | None = None
    stopped: int | None = None
    budget: Budget | None = None

    @property
    def limited(self) -> bool:
        """Only a part of the split was asked."""
        return self.n < self.expected_n

    @property
    def coverage(self) -> str:
        """`50 of 500`, or `500`."""
        return f"{self.n} of {self.expected_n}" if self.limited else str(self.n)


@dataclass(frozen=True)
class Row:
    """One checkpoint of one model set. The means are unweighted over the benchmarks of the board.

    A mean is None when a part of it is missing; that of lengths is over the benchmarks that have them.
    `length_reduction` is the mean over benchmarks of (length / expert's length - 1): -0.4 is 40 % shorter.
    `length_fixed` and `length_fixed_reduction` are the same two by fixed tokenizer: models with tokenizers of their
    own count the same text differently.
    `accuracy_gain` is the mean over benchmarks of the difference in accuracy to the base on the same questions:
    the difference of the two `accuracy` where both were asked the same. `against_base` pools the questions of
    all benchmarks, for one test; its difference weighs large benchmarks more. `rank` counts the complete merged
    rows of one model set that were asked every question, by accuracy. `merge_seconds` include those of the
    statistics.
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
        return [
            b
            for b, cell in self.cells.items()
            if cell is None or cell.accuracy is None or (cell.has_length and cell.length is None)
        ]

    @property
    def documents(self) -> tuple[str | None, ...]:
        """What was asked, per benchmark: rows can be ordered among those for which this is equal."""
        return tuple(cell.document_set if cell else None for cell in self.cells.values())


@dataclass(frozen=True)
class Board:
    """The leaderboard of one suite and split.

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
