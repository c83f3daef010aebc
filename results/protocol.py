"""What was asked and by what, in sentences that stand beside a table: prompt mode, budget, engine, limits met.

A number under another prompt or a smaller budget is another measurement. Where all numbers of a table agree one
line says so; where they differ it names benchmarks, or models.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

from results.board import Board, Elsewhere
from results.cell import Budget, Cell
from results.text import listed

UNPARSED = "judge_unparsed"
Place = tuple[str, str]  # title of the row, benchmark


def protocol_lines(board: Board) -> list[str]:
    """How the numbers of a board came about, and which others are stored; nothing for a board without either."""
    cells = {(row.title, b): cell for row in board.rows for b, cell in row.measured.items()}
    parts = [
        _part("prompt", cells, lambda cell: cell.prompt_mode),
        _part("budget", cells, lambda cell: budget_text(cell.budget) if cell.budget else None),
        _part("engine", cells, lambda cell: cell.engine and f"{cell.engine} {cell.dtype or ''}".strip()),
        _part("sampled as", cells, _draw) if any(map(_draw, cells.values())) else "",
    ]
    said = "; ".join(filter(None, parts))
    also = "; ".join(_elsewhere(one) for one in board.elsewhere)
    return [
        *([f"{said[0].upper()}{said[1:]}."] if said else []),
        *([f"Also stored: {also}."] if also else []),
    ]


def limit_lines(board: Board) -> list[str]:
    """How many answers a grader gave up on, by benchmark; nothing where there were none."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in board.rows:
        for benchmark, cell in row.measured.items():
            if cell.stopped:
                found[benchmark][row.title] = cell.stopped
    if not found:
        return []
    words = [
        f"{benchmark} {sum(counts.values()):,} ({listed(f'{title} {n:,}' for title, n in counts.items())})"
        for benchmark, counts in found.items()
    ]
    return [f"Answers on which grading stopped at a limit: {'; '.join(words)}."]


def judge_lines(board: Board) -> list[str]:
    """What share of a judge's answers could not be read, by benchmark; nothing where all could."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in board.rows:
        for benchmark, cell in row.measured.items():
            if (unread := cell.native.get(UNPARSED)) and unread.value > 0:
                found[benchmark].append(f"{row.title} {100 * unread.value:.1f} %")
    if not found:
        return []
    words = "; ".join(f"{benchmark} ({listed(whose)})" for benchmark, whose in found.items())
    return [f"Answers of the judge that could not be read: {words}."]


def budget_text(budget: Budget) -> str:
    """`10,240 tokens`, and the least that a context left of it."""
    said = f"{budget.asked:,} tokens"
    if budget.least is not None and budget.least < budget.asked:
        said += f" ({budget.least:,} where the context left less)"
    return said


def _draw(cell: Cell) -> str | None:
    """The name of a sampled pool; None for greedy answers, and for likelihoods of given ones."""
    name = cell.draw.partition("@")[0]
    return None if name in ("greedy", "loglikelihood") else name


def _part(kind: str, cells: dict[Place, Cell], fact: Callable[[Cell], str | None]) -> str:
    """One fact with its value; with its values, where they differ, and whose they are."""
    places: dict[str, list[Place]] = defaultdict(list)
    for place, cell in cells.items():
        if value := fact(cell):
            places[value].append(place)
    if not places:
        return ""
    if len(places) == 1:
        return f"{kind} {next(iter(places))}"
    return f"{kind} " + ", ".join(f"{value} ({_whose(value, places)})" for value in places)


def _whose(value: str, places: dict[str, list[Place]]) -> str:
    """The benchmarks, or else the models, that alone have a value; or else each model with its benchmarks."""
    for part in (1, 0):
        groups = [{place[part] for place in mine} for mine in places.values()]
        if sum(map(len, groups)) == len(set().union(*groups)):
            return listed(dict.fromkeys(place[part] for place in places[value]))
    return listed(f"{title} on {benchmark}" for title, benchmark in places[value])


def _elsewhere(one: Elsewhere) -> str:
    """`prompt chat (`--prompt-mode chat`)`: what it is, and how to see it."""
    names, options = [], []
    if one.prompt_mode is not None:
        names.append(f"prompt {one.prompt_mode}")
        options.append(f"--prompt-mode {one.prompt_mode}")
    if one.budget is not None:
        names.append(f"budget {one.budget:,}")
        options.append(f"--max-new-tokens {one.budget}")
    if one.engine is not None:
        return f"engine {one.engine}, of {listed(one.models)}"
    return f"{', '.join(names)} (`{' '.join(options)}`)"
