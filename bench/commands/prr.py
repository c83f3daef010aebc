"""`bench prr`: Performance Retain Rate of any table of scores, and of the papers' own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from bench.commands.options import Json
from bench.commands.printing import say, show, show_json
from bench.errors import BadInput, CheckFailed


def prr(
    file: Annotated[
        Path | None,
        typer.Argument(help="CSV: method, domain, benchmark, value, expert_value. One score a line."),
    ] = None,
    *,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Allow denominators of different origin; the result says so.")
    ] = False,
    published: Annotated[
        bool, typer.Option("--published", help="Recompute what papers print, and compare. No file.")
    ] = False,
    json: Json = False,
) -> None:
    """Performance Retain Rate of a table of scores, by domain, with flags."""
    if (file is None) != published:
        raise BadInput("name a CSV file, or ask for the papers' own tables with --published (not both)")
    if file is None:
        if mixed:
            raise BadInput("--mixed is about the denominators of a file; --published takes none")
        _published(json)
    else:
        _file(file, mixed=mixed, json=json)


def _file(file: Path, *, mixed: bool, json: bool) -> None:
    from bench.prr import rates_of
    from bench.prr_tables import rates_table

    found = rates_of(file, mixed=mixed)
    if found.unread:
        say(f"Columns that mean nothing here: {', '.join(found.unread)}.")
    if json:
        show_json({"rates": dict(found.rates), "marks": found.marks})
    else:
        show(rates_table(file.name, found))


def _published(json: bool) -> None:
    """Ends badly where something disagrees that is not known to."""
    from bench.prr_tables import claims_tables
    from results.published import published_rows
    from results.published.retained import claims

    found = claims(published_rows())
    if json:
        from dataclasses import asdict

        show_json([{**asdict(claim), "agrees": claim.agrees} for claim in found])
    else:
        for table in claims_tables(found):
            show(table)
            show("")
    unexplained = [claim for claim in found if not claim.agrees and not claim.note]
    if unexplained:
        one = unexplained[0]
        raise CheckFailed(
            f"{len(unexplained)} printed numbers differ from what is recomputed, and no note says why: {one.source}, "
            f"{one.method}, {one.metric} {one.printed:g} against {one.recomputed:.2f}"
        )
