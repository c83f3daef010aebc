"""The query behind `bench table` and the leaderboard page.

It reads `scores`, which has a few rows per checkpoint and benchmark, never the responses; only the paired
comparison against the base touches those, in one aggregating query.

What may be compared is one protocol per benchmark (`results/chosen.py`) and, for a benchmark that was asked in part,
only rows over the same documents. `results/protocol.py` says which protocol that is, and what else is stored. Engines
may differ between rows, and are named.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from results.board import Board, Flips, Row
from results.cell import Cell
from results.cells import cells_of, length_ratios, places_of, votes_elsewhere
from results.chosen import Key, Record, budgets_of, comparable, elsewhere, is_asked, known_graders
from results.composites import Composite, Part, asked_parts, columns_of, compose, composites_of
from results.database import Query
from results.pairing import compared
from results.retained import denominators
from results.rows import ranked, row_of
from results.scores import largest_pools
from results.store import Store


def leaderboard(
    store: Store,
    suite: str,
    *,
    model_set: str | None = None,
    split: str = "test",
    methods: Collection[str] | None = None,
    benchmarks: Sequence[str] | None = None,
    paired: bool = True,
    grader: str | None = None,
    samples: int | None = None,
    prompt_mode: str | None = None,
    max_new_tokens: int | None = None,
    composed: bool = True,
) -> Board:
    """The board of a suite, or of one benchmark.

    `benchmarks` fixes the columns and their order, so that a benchmark nobody has run yet makes rows
    incomplete; by default they are `columns_of` what any model set has scores of. Composites stand in place of their
    parts; with `composed=False` each name is a benchmark that was asked.
    `methods` selects merged rows (bases and experts always stay). `paired=False` leaves out the comparison
    with the base. `grader` names the one whose numbers are shown; by default it is each benchmark's first. Scores
    of a sampled pool are those of the largest one that was scored, or of the largest of at most `samples` responses
    a question. `prompt_mode` and `max_new_tokens`, the budget that was asked for, select scores under them. No
    database, or no scores: a board without rows. Raises StoreError for a grader that has no scores.
    """
    with store.reading() as query:
        scores = largest_pools(_scores(query, suite, split, model_set), samples)
        frame = _frame(query, suite, split, benchmarks, composed=composed)
        known = known_graders(scores, grader)
        budgets = budgets_of(query, suite, split)
        wanted = [s for s in scores if is_asked(s, budgets, prompt_mode, max_new_tokens)]
        chosen, notes = comparable(wanted, frame.asked, grader)
        places = places_of(chosen)
        cells = length_ratios(chosen, cells_of(places, budgets))
        checkpoints, hidden = _shown(
            query("SELECT * FROM current_checkpoints ORDER BY created_at"), cells, methods
        )
        model_sets = tuple(sorted({c["model_set"] for c in checkpoints}))
        divisors = {
            name: denominators(name, frame.columns, frame.domains, frame.composites, cells, places)
            for name in model_sets
        }
        experts = {name: one.by_domain for name, one in divisors.items() if one.by_domain}
        if paired:
            cells = compared(query, cells, split=split, experts=experts)
        reconstructed = {m["method"]: m["reconstructed"] for m in query("SELECT * FROM current_methods")}
    rows = [row_of(c, frame.cells(c, cells), divisors[c["model_set"]], reconstructed) for c in checkpoints]
    graded = {part.benchmark for part in frame.asked.values()}
    return Board(
        suite=suite,
        split=split,
        benchmarks=frame.columns,
        model_sets=model_sets,
        rows=tuple(ranked(rows)),
        votes={
            b: tuple(sorted({n for row in rows if (c := row.cells[b]) for n in c.votes}))
            for b in frame.columns
        },
        notes=(*notes, *votes_elsewhere(chosen, cells), *hidden),
        graders={key: cell.grader for (_, _, key), cell in cells.items() if cell.grader},
        known_graders=known,
        flips=_flips(rows),
        elsewhere=elsewhere([s for s in scores if s["benchmark"] in graded], rows, budgets),
        composites={name: one for name, one in frame.composites.items() if name in frame.columns},
        domains=frame.domains,
        experts={name: _titles(rows, name, by_domain) for name, by_domain in experts.items()},
    )


def _scores(query: Query, suite: str, split: str, model_set: str | None) -> list[Record]:
    return query(
        "SELECT * FROM current_scores WHERE (suite = $suite OR benchmark = $suite) AND split = $split "
        "AND ($model_set IS NULL OR model_set = $model_set) ORDER BY created_at, benchmark",
        {"suite": suite, "split": split, "model_set": model_set},
    )


@dataclass(frozen=True)
class _Frame:
    """The columns of a board: their domains, where known, what some are made of, and what must be asked for them."""

    columns: tuple[str, ...]
    domains: dict[str, str]
    composites: Mapping[str, Composite]

    @property
    def asked(self) -> dict[str, Part]:
        return asked_parts(self.columns, self.composites)

    def cells(self, checkpoint: Record, cells: Mapping[Key, Cell]) -> dict[str, Cell | None]:
        """The cells of one checkpoint by column: those of what was asked, and those made of them."""
        name = checkpoint["model_set"], checkpoint["checkpoint"]
        found: dict[str, Cell | None] = {}
        for column in self.columns:
            composite = self.composites.get(column)
            if composite is None:
                found[column] = cells.get((*name, column))
            else:
                parts = {part.key: cells.get((*name, part.key)) for part in composite.parts}
                found[column] = compose(composite, parts)
        return found


def _frame(
    query: Query, suite: str, split: str, benchmarks: Sequence[str] | None, *, composed: bool
) -> _Frame:
    recorded = composites_of(query, suite) if composed else {}
    measured = _measured(query, suite, split)
    columns = tuple(benchmarks or columns_of(measured, recorded))
    named = {**measured, **{name: one.domain for name, one in recorded.items()}}
    return _Frame(
        columns,
        {column: named[column] for column in columns if named.get(column)},
        {name: one for name, one in recorded.items() if not one.plain},
    )


def _measured(query: Query, suite: str, split: str) -> dict[str, str]:
    """The benchmarks of a suite with their domains, of any model set, in the order of their first scores: that of
    the suite."""
    found = query(
        "SELECT benchmark, max(domain) AS domain FROM scores WHERE (suite = $suite OR benchmark = $suite) "
        "AND split = $split GROUP BY benchmark ORDER BY min(row(created_at, rowid))",
        {"suite": suite, "split": split},
    )
    return {row["benchmark"]: row["domain"] for row in found}


def _titles(rows: Iterable[Row], model_set: str, experts: Mapping[str, str]) -> dict[str, str]:
    """Experts by domain, as their rows are called; by fingerprint where they have none."""
    named = {row.checkpoint: row.title for row in rows if row.model_set == model_set and row.kind == "expert"}
    return {domain: named.get(mark, mark) for domain, mark in experts.items()}


def _flips(rows: Sequence[Row]) -> tuple[Flips, ...]:
    """How often other graders differ, over the rows together, on the responses of the draw that is shown.

    A model that stands in several model sets counts once, and so does a benchmark that is shown under two graders.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    cells: dict[tuple[str, str], Cell] = {}
    for row in rows:
        for cell in row.measured.values():
            cells.setdefault((row.checkpoint, cell.benchmark), cell)
    for cell in cells.values():
        for other, share in cell.flips.items():
            found = counts[cell.benchmark, other]
            responses = cell.n * (cell.samples or 1)
            found[0] += round(share * responses)
            found[1] += responses
    return tuple(Flips(benchmark, other, *found) for (benchmark, other), found in counts.items())


def _shown(
    checkpoints: list[Record], cells: Mapping[Key, Cell], methods: Collection[str] | None
) -> tuple[list[Record], list[str]]:
    """The checkpoints that have a row: the last of each name, and no merge of models that were replaced.

    `checkpoints` in the order in which they were recorded. The notes say which others have scores too.
    """
    measured = {key[:2] for key in cells}
    have = [c for c in checkpoints if (c["model_set"], c["checkpoint"]) in measured]
    last = {(c["model_set"], c["name"]): c for c in have}
    replaced = [c for c in have if last[c["model_set"], c["name"]] is not c]
    # A merge may have the weights of its base, so that what replaces it says nothing about the base.
    gone = _parents(replaced) - _parents(last.values())
    shown, stale = [], []
    for c in last.values():
        parents = [c["base"], *(c["experts"] or [])]
        if c["kind"] == "merged" and any((c["model_set"], parent) in gone for parent in parents):
            stale.append(c)
        elif c["kind"] != "merged" or methods is None or c["method"] in methods:
            shown.append(c)
    notes = []
    if replaced:
        notes.append(
            f"{len(replaced)} checkpoint(s) are hidden, because another one was recorded later under the same "
            f"name: {_names(replaced)}."
        )
    if stale:
        notes.append(
            f"{len(stale)} merge(s) are hidden, because another base or expert was recorded later under the "
            f"name of one that they were merged from: {_names(stale)}."
        )
    nameless = len(measured - {(c["model_set"], c["checkpoint"]) for c in checkpoints})
    if nameless:
        notes.append(f"{nameless} checkpoint(s) have scores but no row in `checkpoints`, and are not shown.")
    return shown, notes


def _parents(checkpoints: Iterable[Record]) -> set[tuple[str, str]]:
    return {(c["model_set"], c["checkpoint"]) for c in checkpoints if c["kind"] != "merged"}


def _names(checkpoints: Iterable[Record]) -> str:
    return ", ".join(sorted({c["name"] for c in checkpoints}))
