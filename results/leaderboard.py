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
from dataclasses import replace
from typing import Any

from results.board import Board, Cell, Flips, Row
from results.cells import cells_of, length_ratios, votes_elsewhere
from results.chosen import Key, Record, budgets_of, comparable, elsewhere, is_asked, known_graders
from results.database import Query
from results.pairing import compare_with_bases
from results.scores import largest_pools
from results.statistics import mean_of_means, pool
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
) -> Board:
    """The board of a suite, or of one benchmark.

    `benchmarks` fixes the columns and their order, so that a benchmark nobody has run yet makes rows
    incomplete; by default the columns are those of which any model set has a score, in the order they came.
    `methods` selects merged rows (bases and experts always stay). `paired=False` leaves out the comparison
    with the base. `grader` names the one whose numbers are shown; by default it is each benchmark's first. Scores
    of a sampled pool are those of the largest one that was scored, or of the largest of at most `samples` responses
    a question. `prompt_mode` and `max_new_tokens`, the budget that was asked for, select scores under them. No
    database, or no scores: a board without rows. Raises StoreError for a grader that has no scores.
    """
    with store.reading() as query:
        scores = query(
            "SELECT * FROM current_scores WHERE (suite = $suite OR benchmark = $suite) AND split = $split "
            "AND ($model_set IS NULL OR model_set = $model_set) ORDER BY created_at, benchmark",
            {"suite": suite, "split": split, "model_set": model_set},
        )
        scores = largest_pools(scores, samples)
        columns = tuple(benchmarks or _measured(query, suite, split))
        known = known_graders(scores, grader)
        budgets = budgets_of(query, suite, split)
        asked = [s for s in scores if is_asked(s, budgets, prompt_mode, max_new_tokens)]
        chosen, notes = comparable(asked, columns, grader)
        cells = length_ratios(chosen, cells_of(chosen, budgets))
        checkpoints, hidden = _shown(
            query("SELECT * FROM current_checkpoints ORDER BY created_at"), cells, methods
        )
        if paired:
            cells = compare_with_bases(query, cells, split=split)
        reconstructed = {m["method"]: m["reconstructed"] for m in query("SELECT * FROM current_methods")}
    rows = [_row(c, columns, cells, reconstructed) for c in checkpoints]
    return Board(
        suite=suite,
        split=split,
        benchmarks=columns,
        model_sets=tuple(sorted({row.model_set for row in rows})),
        rows=tuple(_ranked(rows)),
        votes={
            b: tuple(sorted({n for (_, _, name), c in cells.items() if name == b for n in c.votes}))
            for b in columns
        },
        notes=(*notes, *votes_elsewhere(chosen, cells), *hidden),
        graders={cell.benchmark: cell.grader for cell in cells.values() if cell.grader},
        known_graders=known,
        flips=_flips(rows, columns),
        elsewhere=elsewhere([s for s in scores if s["benchmark"] in columns], rows, budgets),
    )


def _measured(query: Query, suite: str, split: str) -> list[str]:
    """The benchmarks of a suite, of any model set, in the order of their first scores: that of the suite."""
    found = query(
        "SELECT benchmark FROM scores WHERE (suite = $suite OR benchmark = $suite) AND split = $split "
        "GROUP BY benchmark ORDER BY min(row(created_at, rowid))",
        {"suite": suite, "split": split},
    )
    return [row["benchmark"] for row in found]


def _flips(rows: Sequence[Row], benchmarks: Sequence[str]) -> tuple[Flips, ...]:
    """How often other graders differ, over the rows together, on the responses of the draw that is shown.

    A model that stands in several model sets counts once.
    """
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    cells = {(row.checkpoint, b): cell for row in rows for b in benchmarks if (cell := row.cells[b])}
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


def _left_open(checkpoint: Record, reconstructed: Mapping[str, str | None]) -> str | None:
    """What had to be guessed of a row's method; of one that works on another's result, also of that one."""
    inner = str((checkpoint["parameters"] or {}).get("inner", "")).partition(" ")[0]
    own, others = reconstructed.get(checkpoint["method"]), reconstructed.get(inner)
    return "; ".join(filter(None, (own, others and f"its inner method {inner}: {others}"))) or None


def _row(
    checkpoint: Record,
    benchmarks: tuple[str, ...],
    cells: Mapping[Key, Cell],
    reconstructed: Mapping[str, str | None],
) -> Row:
    name = checkpoint["model_set"], checkpoint["checkpoint"]
    mine = {b: cells.get((*name, b)) for b in benchmarks}
    # A benchmark of labels has no length: the means are over the others.
    written = [cell for cell in mine.values() if cell is None or cell.has_length]
    ratios = [cell.length_ratio if cell else None for cell in written]
    against = [cell.against_base if cell else None for cell in mine.values()]
    tokenizers = sorted({name for cell in written if cell for name in cell.length_fixed})
    return Row(
        model_set=checkpoint["model_set"],
        checkpoint=checkpoint["checkpoint"],
        name=checkpoint["name"],
        kind=checkpoint["kind"],
        method=checkpoint["method"],
        reconstructed=_left_open(checkpoint, reconstructed),
        cells=mine,
        accuracy=mean_of_means([cell.accuracy if cell else None for cell in mine.values()]),
        length=mean_of_means([cell.length if cell else None for cell in written]),
        length_reduction=_mean(ratios),
        accuracy_gain=_mean([comparison.difference if comparison else None for comparison in against]),
        against_base=pool(against),
        merge_seconds=checkpoint["merge_seconds"],
        statistics_seconds=checkpoint["statistics_seconds"],
        peak_bytes=checkpoint["peak_bytes"],
        length_fixed={
            name: mean_of_means([cell.length_fixed.get(name) if cell else None for cell in written])
            for name in tokenizers
        },
        length_fixed_reduction={
            name: _mean([cell.length_fixed_ratio.get(name) if cell else None for cell in written])
            for name in tokenizers
        },
    )


def _mean(values: Sequence[float | None]) -> float | None:
    """None when a part is missing."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known and len(known) == len(values) else None


def _ranked(rows: Iterable[Row]) -> list[Row]:
    """Rows in reading order, with ranks among complete merged rows over all documents of the split."""
    places: dict[tuple[Any, ...], int] = defaultdict(int)
    ordered = []
    for row in sorted(rows, key=_reading_order):
        if row.kind == "merged" and row.complete and not row.limited:
            group = (row.model_set, row.documents)
            places[group] += 1
            row = replace(row, rank=places[group])
        ordered.append(row)
    return ordered


def _reading_order(row: Row) -> tuple[Any, ...]:
    kind = {"base": 0, "expert": 1}.get(row.kind, 2)
    accuracy = row.accuracy.value if row.accuracy else 0.0
    length = row.length.value if row.length else 0.0
    documents = tuple(d or "" for d in row.documents) if row.limited else ()
    return row.model_set, kind, not row.complete, row.limited, documents, -accuracy, length, row.name
