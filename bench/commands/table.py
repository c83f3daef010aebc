"""`bench table`: the leaderboard, from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from bench.commands.options import Json, Models, PlaceGroup, Split, Suite
from bench.commands.printing import say, show, show_board
from bench.errors import BadInput

if TYPE_CHECKING:
    from results.board import Board
    from results.published import PublishedTable
    from results.published.retained import Recomputed


def table(
    named: Annotated[str | None, typer.Argument(metavar="[SUITE]", help="Suite, or one benchmark.")] = None,
    *,
    suite: Suite = "mini_l2s",
    models: Models = None,
    method: Annotated[
        str | None, typer.Option("--method", help="Only these methods, comma-separated.")
    ] = None,
    split: Split = "test",
    grader: Annotated[
        str | None, typer.Option("--grader", help="Show this grader's numbers [the benchmarks' first].")
    ] = None,
    samples: Annotated[
        int | None,
        typer.Option(
            "--samples", min=1, help="Scores of pools of at most N responses a question [the largest]."
        ),
    ] = None,
    prompt_mode: Annotated[
        str | None, typer.Option("--prompt-mode", help="Numbers under this prompt format [what most have].")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, help="Numbers under this budget [the usual one].")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Also numbers printed in papers, marked as reported.")
    ] = False,
    parts: Annotated[
        bool,
        typer.Option(
            "--parts", help="Also what benchmarks are made of (languages, settings), and own metrics."
        ),
    ] = False,
    place: PlaceGroup,
    json: Json = False,
) -> None:
    """The leaderboard of a suite, from what is stored."""
    from bench.road import board_of
    from results.published import published_tables
    from results.published.recording import recorded
    from results.published.retained import recomputed
    from results.store import Store

    if place.db is not None and not place.db.exists():
        raise BadInput(
            f"--db {place.db}: no such file. `bench run` makes one; without --db it is RUNS/leaderboard.duckdb."
        )
    methods = [name.strip() for name in method.split(",")] if method else None
    board = board_of(
        place.database, named or suite, split=split, model_set=models, methods=methods, grader=grader,
        samples=samples, prompt_mode=prompt_mode, max_new_tokens=max_new_tokens,
    )  # fmt: skip
    rows = recorded(Store(place.database)) if published else ()
    reported = published_tables(rows, board.benchmarks)
    rates = [one for one in recomputed(rows) if one.source in {table.source for table in reported}]
    extra = {"published": reported, "published_retained": rates} if published else {}
    show_board(board, json=json, extra=extra, asked=named or suite, parts=parts)
    if published and not json:
        _show_published(board, reported, rates)


def _show_published(board: Board, reported: Sequence[PublishedTable], rates: Sequence[Recomputed]) -> None:
    from bench.show_published import tables

    if not reported:
        say(f"No published numbers are known for {', '.join(board.benchmarks)}.")
    for one in tables(board, reported, rates):
        show(one)
        show("")
