"""The query behind `bench table` and the leaderboard page.

It reads `scores`, which has a few rows per checkpoint and benchmark, never the responses; only the paired
comparison against the base touches those, in one aggregating query.

What may be compared: one benchmark version, prompt mode, budget and grader per benchmark, and, for a benchmark
that was asked in part, only rows over the same documents. Of several prompt modes and budgets a table shows the
one that is asked for, else greedy answers under the usual budget, then what most models and benchmarks have;
`results/protocol.py` says which, and what else is stored. Engines may differ between rows, and are named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from results.board import Board, Budget, Cell, Elsewhere, Flips, Row, VotePoint
from results.database import Query
from results.errors import StoreError
from results.pairing import compare_with_bases
from results.scores import largest_pools
from results.statistics import Estimate, mean_of_means, pool
from results.store import Store
from results.voting import ROBUST

Record = dict[str, Any]
Key = tuple[str, str, str]  # model set, checkpoint, benchmark
PROTOCOL = ("benchmark_version", "prompt_mode", "draw")
ASKED = ("checkpoint", "benchmark", *PROTOCOL, "engine", "dtype")  # what responses under one budget agree on


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
        known = _known_graders(scores, grader)
        budgets = _budgets(query, suite, split)
        asked = [s for s in scores if _is_asked(s, budgets, prompt_mode, max_new_tokens)]
        chosen, notes = _comparable(asked, columns, grader)
        cells = _length_ratios(chosen, _cells(chosen, budgets))
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
        notes=(*notes, *_votes_elsewhere(chosen, cells), *hidden),
        graders={cell.benchmark: cell.grader for cell in cells.values() if cell.grader},
        known_graders=known,
        flips=_flips(rows, columns),
        elsewhere=_elsewhere([s for s in scores if s["benchmark"] in columns], rows, budgets),
    )


def _budgets(query: Query, suite: str, split: str) -> dict[tuple[Any, ...], Budget]:
    """By `ASKED`: the budget under which the stored responses were generated. Labels have none."""
    found = query(
        f"SELECT {', '.join(ASKED)}, max(max_new_tokens) AS asked, min(budget) AS least FROM responses "
        "WHERE (suite = $suite OR benchmark = $suite) AND split = $split AND budget IS NOT NULL "
        "AND checkpoint IN (SELECT checkpoint FROM scores) GROUP BY ALL",
        {"suite": suite, "split": split},
    )
    known = [row for row in found if row["asked"] is not None]
    return {tuple(row[name] for name in ASKED): Budget(row["asked"], row["least"]) for row in known}


def _budget_of(score: Record, budgets: Mapping[tuple[Any, ...], Budget]) -> Budget | None:
    """The budget of a score: that of its responses, or else the one in the name of its draw."""
    named = _budget(score["draw"])
    return budgets.get(tuple(score[name] for name in ASKED)) or (
        Budget(int(named)) if named.isdigit() else None
    )


def _is_asked(
    score: Record, budgets: Mapping[tuple[Any, ...], Budget], prompt_mode: str | None, tokens: int | None
) -> bool:
    """It is of the prompt mode and budget that are asked for, if any are. Labels are of every budget."""
    if prompt_mode is not None and score["prompt_mode"] != prompt_mode:
        return False
    budget = None if tokens is None else _budget_of(score, budgets)
    return budget is None or budget.asked == tokens


def _elsewhere(
    scores: list[Record], rows: Sequence[Row], budgets: Mapping[tuple[Any, ...], Budget]
) -> tuple[Elsewhere, ...]:
    """Prompt modes, budgets and engines that have accuracies and are not in the table of the rows."""
    cells = {(row.model_set, row.checkpoint, b): (row, c) for row in rows for b, c in row.cells.items() if c}
    shown: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for _, cell in cells.values():
        shown[cell.benchmark].add((cell.prompt_mode, cell.budget.asked if cell.budget else None))
    others: dict[Elsewhere, None] = {}
    engines: dict[str, dict[str, None]] = defaultdict(dict)
    for s in (s for s in scores if s["metric"] == "accuracy"):
        budget = _budget_of(s, budgets)
        mode, tokens = found = s["prompt_mode"], budget.asked if budget else None
        here, place = shown[s["benchmark"]], cells.get(_key(s))
        if found not in here:
            modes, sizes = ({one[i] for one in here} for i in (0, 1))
            others[Elsewhere(None if mode in modes else mode, None if tokens in sizes else tokens)] = None
        elif place and (s["engine"], s["dtype"]) != (place[1].engine, place[1].dtype):
            engines[f"{s['engine']} {s['dtype'] or ''}".strip()][place[0].title] = None
    apart = sorted(
        (one for one in others if one != Elsewhere()),
        key=lambda one: (one.prompt_mode is None, one.prompt_mode or "", one.budget or 0),
    )
    return (*apart, *(Elsewhere(engine=name, models=tuple(titles)) for name, titles in engines.items()))


def _measured(query: Query, suite: str, split: str) -> list[str]:
    """The benchmarks of a suite, of any model set, in the order of their first scores: that of the suite."""
    found = query(
        "SELECT benchmark FROM scores WHERE (suite = $suite OR benchmark = $suite) AND split = $split "
        "GROUP BY benchmark ORDER BY min(row(created_at, rowid))",
        {"suite": suite, "split": split},
    )
    return [row["benchmark"] for row in found]


def _known_graders(scores: list[Record], wanted: str | None) -> tuple[str, ...]:
    """The names of all graders that have accuracies, first ones first; refuses one that has none."""
    graded = [s for s in scores if s["metric"] == "accuracy" and s["grader"]]
    names = tuple(
        dict.fromkeys(_grader_name(s) for s in sorted(graded, key=lambda s: s["first_grader"] is False))
    )
    if wanted is not None and graded and wanted not in names:
        raise StoreError(f"no scores of the grader {wanted!r} here. There are some of: {', '.join(names)}.")
    return names


def _grader_name(score: Record) -> str:
    return str(score["grader"]).rpartition("@")[0]


def _flips(rows: Sequence[Row], benchmarks: Sequence[str]) -> tuple[Flips, ...]:
    """How often other graders differ, over the rows together, on the responses of the draw that is shown."""
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for cell in (cell for row in rows for b in benchmarks if (cell := row.cells[b])):
        for other, share in cell.flips.items():
            found = counts[cell.benchmark, other]
            responses = cell.n * (cell.samples or 1)
            found[0] += round(share * responses)
            found[1] += responses
    return tuple(Flips(benchmark, other, *found) for (benchmark, other), found in counts.items())


def _comparable(
    scores: list[Record], benchmarks: Iterable[str], grader: str | None
) -> tuple[list[Record], list[str]]:
    """The scores of one protocol and grader per benchmark; what else there was, in sentences.

    maj@n comes from a sampled pool beside the draw that gives accuracy and length, so its draw differs but
    for its budget.
    """
    kept, notes = [], []
    common = _common(scores, benchmarks, grader)
    for benchmark in benchmarks:
        here = [s for s in scores if s["benchmark"] == benchmark]
        accuracies = [s for s in here if s["metric"] == "accuracy" and _is_shown(s, grader)]
        if not accuracies:
            continue
        # Greedy first; then what most of the whole table has, and of this column; then the newest.
        holders: dict[tuple[Any, ...], set[str]] = defaultdict(set)
        for s in accuracies:
            holders[_protocol(s)].add(s["checkpoint"])
        newest = {_protocol(s): i for i, s in enumerate(accuracies)}
        best = max(holders, key=lambda p: (_greedy(p[2]), common[p[1]], len(holders[p]), newest[p]))
        left_out = set().union(*holders.values()) - holders[best]
        if left_out:
            notes.append(
                f"{benchmark}: {len(left_out)} checkpoint(s) have scores only under another version, prompt, "
                f"draw or grader than {', '.join(str(part) for part in best)}; they cannot be compared."
            )
        version, prompt_mode, draw, by = best
        for s in here:
            same = (s["benchmark_version"], s["prompt_mode"]) == (version, prompt_mode) and s["grader"] in (
                None,
                by,
            )
            votes = s["metric"].startswith(("maj@", "tokens@")) and _budget(s["draw"]) == _budget(draw)
            if same and (s["draw"] == draw or votes):
                kept.append(s)
            elif same and s["metric"] == "stopped" and _budget(s["draw"]) == _budget(draw):
                kept.append({**s, "metric": f"stopped of {s['draw']}"})  # the answers that vote
    return kept, notes


def _common(scores: list[Record], benchmarks: Iterable[str], grader: str | None) -> Counter[str | None]:
    """On how many cells of the table each prompt mode has an accuracy: means mix modes only where they must."""
    cells = {
        (_key(s), s["prompt_mode"])
        for s in scores
        if s["metric"] == "accuracy" and s["benchmark"] in benchmarks and _is_shown(s, grader)
    }
    return Counter(mode for _, mode in cells)


def _greedy(draw: str) -> int:
    """2 for the greedy draw, 1 for one under a budget of one's own (`greedy@512`), 0 for a sampled pool."""
    return 2 * (draw == "greedy") or int(draw.startswith("greedy@"))


def _budget(draw: str) -> str:
    """The budget in the name of a draw; empty for the usual one. Votes are shown beside accuracies of their
    budget."""
    return draw.partition("@")[2]


def _is_shown(score: Record, grader: str | None) -> bool:
    """It stands on the grader that is asked for, or else on the first one of its benchmark."""
    return score["first_grader"] is not False if grader is None else _grader_name(score) == grader


def _protocol(score: Record) -> tuple[Any, ...]:
    return (*(score[name] for name in PROTOCOL), score["grader"])


def _cells(scores: list[Record], budgets: Mapping[tuple[Any, ...], Budget]) -> dict[Key, Cell]:
    """One cell per checkpoint and benchmark: the measurement over most questions, then from the engine that most
    checkpoints have, then the newest."""
    groups: dict[Key, dict[tuple[Any, ...], dict[str, Record]]] = defaultdict(lambda: defaultdict(dict))
    for s in scores:  # oldest first: the newest stays
        place = (s["document_set"], s["engine"], s["dtype"])
        groups[_key(s)][place][s["metric"]] = s
    holders = Counter(
        (benchmark, engine, dtype)
        for (_, _, benchmark), places in groups.items()
        for engine, dtype in {place[1:] for place, metrics in places.items() if "accuracy" in metrics}
    )

    def preferred(score: Record) -> tuple[Any, ...]:
        by = score["benchmark"], score["engine"], score["dtype"]
        return score["n"] or 0, holders[by], score["created_at"]

    cells = {}
    for key, places in groups.items():
        measured = [metrics for metrics in places.values() if "accuracy" in metrics]
        if measured:
            best = max(measured, key=lambda m: preferred(m["accuracy"]))
            cells[key] = _cell(best, _budget_of(best["accuracy"], budgets))
    return cells


def _votes_elsewhere(scores: list[Record], cells: Mapping[Key, Cell]) -> list[str]:
    """Says which votes are stored and not shown, because they do not rest on what the accuracies rest on."""
    apart: dict[str, set[str]] = defaultdict(set)
    for s in scores:
        cell = cells.get(_key(s))
        if cell and not cell.votes and s["metric"].startswith("maj@") and s["value"] is not None:
            apart[s["benchmark"]].add(s["checkpoint"])
    return [
        f"{benchmark}: {len(checkpoints)} checkpoint(s) have votes over other questions, or from another engine or "
        "dtype, than their accuracy: not shown."
        for benchmark, checkpoints in apart.items()
    ]


def _key(score: Record) -> Key:
    return score["model_set"], score["checkpoint"], score["benchmark"]


def _cell(metrics: Mapping[str, Record], budget: Budget | None) -> Cell:
    def estimate(metric: str) -> Estimate | None:
        score = metrics.get(metric)
        return None if score is None or score["value"] is None else Estimate(score["value"], score["stderr"])

    def value(metric: str) -> float | None:
        found = estimate(metric)
        return found.value if found else None

    head = metrics["accuracy"]
    curve = _curve(metrics, estimate)
    return Cell(
        benchmark=head["benchmark"],
        benchmark_version=head["benchmark_version"],
        base=head["base"],
        expert=head["expert"],
        accuracy=estimate("accuracy"),
        length=estimate("length_mean"),
        length_median=value("length_median"),
        length_p90=value("length_p90"),
        truncated=value("truncated"),
        no_answer=value("no_answer"),
        votes={point.n: point.accuracy for point in curve if point.rule == ROBUST},
        n=head["n"] or 0,
        expected_n=head["expected_n"] or 0,
        document_set=head["document_set"],
        draw=head["draw"],
        grader=head["grader"],
        prompt_mode=head["prompt_mode"],
        engine=head["engine"],
        dtype=head["dtype"],
        has_length="length_mean" in metrics,
        curve=curve,
        flips={m.removeprefix("flips:"): s["value"] for m, s in metrics.items() if m.startswith("flips:")},
        accuracy_complete=estimate("accuracy_complete"),
        length_correct=value("length_correct"),
        length_untruncated=value("length_untruncated"),
        length_fixed={
            m.removeprefix("length_mean@"): found
            for m in metrics
            if m.startswith("length_mean@") and (found := estimate(m)) is not None
        },
        reflections=value("reflections"),
        code_fence=value("code_fence"),
        samples=head["samples"],
        stopped=_stopped(metrics),
        budget=budget,
    )


def _stopped(metrics: Mapping[str, Record]) -> int | None:
    """Responses, those that vote too, on which grading met a limit; None where no score says so."""
    known = [s for m, s in metrics.items() if m.partition(" of ")[0] == "stopped" and s["value"] is not None]
    return sum(round(s["value"] * s["n"] * (s["samples"] or 1)) for s in known) if known else None


def _curve(
    metrics: Mapping[str, Record], estimate: Callable[[str], Estimate | None]
) -> tuple[VotePoint, ...]:
    """Every maj@n that has a value: `maj@8` is of the rule robust, `maj@8:toolkit` names its rule."""
    points = []
    for metric, score in metrics.items():
        if not metric.startswith("maj@") or (accuracy := estimate(metric)) is None:
            continue
        n, _, rule = metric.removeprefix("maj@").partition(":")
        ends = score["low"], score["high"]
        tokens, samples = estimate(f"tokens@{n}"), score["samples"]
        points.append(VotePoint(int(n), rule or ROBUST, accuracy, *ends, tokens, samples))
    return tuple(sorted(points, key=lambda point: (point.rule, point.n)))


def _length_ratios(scores: list[Record], cells: Mapping[Key, Cell]) -> dict[Key, Cell]:
    """Cells with their lengths over those of the expert, where the expert was asked the same documents."""
    lengths: dict[tuple[Any, ...], dict[str, float]] = defaultdict(dict)
    for s in scores:  # oldest first: the newest stays
        if s["metric"].partition("@")[0] == "length_mean":
            for by in ((s["engine"], s["dtype"]), ()):
                lengths[(*_key(s), s["document_set"], *by)][s["metric"]] = s["value"]
    compared = {}
    for (model_set, checkpoint, benchmark), cell in cells.items():
        place = model_set, cell.expert, benchmark, cell.document_set
        # Of the same engine where the expert has them: engines are known to differ a little.
        expert = lengths.get((*place, cell.engine, cell.dtype)) or lengths.get(place, {})
        fixed = {
            name: _over(one, expert.get(f"length_mean@{name}")) for name, one in cell.length_fixed.items()
        }
        compared[model_set, checkpoint, benchmark] = replace(
            cell,
            length_ratio=_over(cell.length, expert.get("length_mean")),
            length_fixed_ratio={name: ratio for name, ratio in fixed.items() if ratio is not None},
        )
    return compared


def _over(length: Estimate | None, expert: float | None) -> float | None:
    return length.value / expert - 1 if length and expert else None


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
