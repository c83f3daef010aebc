"""Which scores may stand in one table.

One benchmark version, prompt mode, budget and grader per benchmark: those that are asked for, else greedy answers
under the usual budget, then what most models and benchmarks have. What else is stored is named.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from results.board import Elsewhere, Row
from results.cell import Budget
from results.composites import Part
from results.database import Query
from results.errors import StoreError

Record = dict[str, Any]
Key = tuple[str, str, str]  # model set, checkpoint, and what was asked: the key of a `Part`
PROTOCOL = ("benchmark_version", "prompt_mode", "draw")
ASKED = ("checkpoint", "benchmark", *PROTOCOL, "engine", "dtype")  # what responses under one budget agree on


def budgets_of(query: Query, suite: str, split: str) -> dict[tuple[Any, ...], Budget]:
    """By `ASKED`: the budget under which the stored responses were generated. Labels have none."""
    found = query(
        f"SELECT {', '.join(ASKED)}, max(max_new_tokens) AS asked, min(budget) AS least FROM responses "
        "WHERE (suite = $suite OR benchmark = $suite) AND split = $split AND budget IS NOT NULL "
        "AND checkpoint IN (SELECT checkpoint FROM scores) GROUP BY ALL",
        {"suite": suite, "split": split},
    )
    known = [row for row in found if row["asked"] is not None]
    return {tuple(row[name] for name in ASKED): Budget(row["asked"], row["least"]) for row in known}


def budget_of(score: Record, budgets: Mapping[tuple[Any, ...], Budget]) -> Budget | None:
    """The budget of a score: that of its responses, or else the one in the name of its draw."""
    named = _budget(score["draw"])
    return budgets.get(tuple(score[name] for name in ASKED)) or (
        Budget(int(named)) if named.isdigit() else None
    )


def is_asked(
    score: Record, budgets: Mapping[tuple[Any, ...], Budget], prompt_mode: str | None, tokens: int | None
) -> bool:
    """It is of the prompt mode and budget that are asked for, if any are. Labels are of every budget."""
    if prompt_mode is not None and score["prompt_mode"] != prompt_mode:
        return False
    budget = None if tokens is None else budget_of(score, budgets)
    return budget is None or budget.asked == tokens


def known_graders(scores: list[Record], wanted: str | None) -> tuple[str, ...]:
    """The names of all graders that have accuracies, first ones first; refuses one that has none."""
    graded = [s for s in scores if s["metric"] == "accuracy" and s["grader"]]
    names = tuple(
        dict.fromkeys(_grader_name(s) for s in sorted(graded, key=lambda s: s["first_grader"] is False))
    )
    if wanted is not None and graded and wanted not in names:
        raise StoreError(f"no scores of the grader {wanted!r} here. There are some of: {', '.join(names)}.")
    return names


def comparable(
    scores: list[Record], asked: Mapping[str, Part], grader: str | None
) -> tuple[list[Record], list[str]]:
    """The scores of one protocol and grader for each of `asked`, by its key; what else there was, in sentences.

    Each record says in `asked` which of them it belongs to. `grader` is that of those that name none. maj@n comes
    from a sampled pool beside the draw that gives accuracy and length, so its draw differs but for its budget.
    """
    kept, notes = [], []
    common = _common(scores, asked, grader)
    for key, part in asked.items():
        here = [{**s, "asked": key} for s in scores if s["benchmark"] == part.benchmark]
        accuracies = [s for s in here if s["metric"] == "accuracy" and _is_shown(s, part.grader or grader)]
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
                f"{key}: {len(left_out)} checkpoint(s) have scores only under another version, prompt, "
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


def elsewhere(
    scores: list[Record], rows: Sequence[Row], budgets: Mapping[tuple[Any, ...], Budget]
) -> tuple[Elsewhere, ...]:
    """Prompt modes, budgets and engines that have accuracies and are not in the table of the rows."""
    cells = {
        (row.model_set, row.checkpoint, c.benchmark): (row, c) for row in rows for c in row.measured.values()
    }
    shown: dict[str, set[tuple[Any, ...]]] = defaultdict(set)
    for _, cell in cells.values():
        shown[cell.benchmark].add((cell.prompt_mode, cell.budget.asked if cell.budget else None))
    others: dict[Elsewhere, None] = {}
    engines: dict[str, dict[str, None]] = defaultdict(dict)
    for s in (s for s in scores if s["metric"] == "accuracy"):
        budget = budget_of(s, budgets)
        mode, tokens = found = s["prompt_mode"], budget.asked if budget else None
        here, place = shown[s["benchmark"]], cells.get(key_of(s))
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


def _common(scores: list[Record], asked: Mapping[str, Part], grader: str | None) -> Counter[str | None]:
    """On how many cells of the table each prompt mode has an accuracy: means mix modes only where they must."""
    graders: dict[str, list[str | None]] = defaultdict(list)
    for part in asked.values():
        graders[part.benchmark].append(part.grader or grader)
    cells = {
        (key_of(s), s["prompt_mode"])
        for s in scores
        if s["metric"] == "accuracy" and any(_is_shown(s, by) for by in graders.get(s["benchmark"], ()))
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


def _grader_name(score: Record) -> str:
    return str(score["grader"]).rpartition("@")[0]


def _protocol(score: Record) -> tuple[Any, ...]:
    return (*(score[name] for name in PROTOCOL), score["grader"])


def key_of(score: Record) -> Key:
    """Whose score of what; of a score that was not chosen for a table yet, of its benchmark."""
    return score["model_set"], score["checkpoint"], score["asked"] if "asked" in score else score["benchmark"]
