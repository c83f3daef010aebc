"""`bench regress`: whether every method still merges as it was accepted."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands.options import Json
from bench.commands.printing import show_rows
from bench.errors import CheckFailed


def regress(
    *,
    method: Annotated[str, typer.Option("--method", help="Methods, comma-separated, or `all`.")] = "all",
    accept: Annotated[
        str | None, typer.Option("--accept", help="Why changes are right: take them as the accepted results.")
    ] = None,
    json: Json = False,
) -> None:
    """Merge fixed small models with every method, and compare every tensor with the accepted ones."""
    from bench.regress import listing
    from bench.regress import regress as verdicts_of
    from bench.show import status

    with status() as progress:
        verdicts = verdicts_of([method], accept=accept, say=progress)
    show_rows("regress", listing.verdicts(verdicts), json=json, whole=verdicts)
    changes = [] if json else listing.changes(verdicts)
    if changes:
        show_rows("what changed", changes, json=False)
    bad = [verdict.method for verdict in verdicts if not verdict.good]
    if bad:
        raise CheckFailed(f"{', '.join(bad)}. {listing.ADVICE}")
