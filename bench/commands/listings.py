"""`bench methods`, `bench suites` and `bench models`: what there is to name."""

from __future__ import annotations

from typing import Annotated

import typer

from bench.commands.options import Json
from bench.commands.printing import show, show_json


def methods(
    name: Annotated[str | None, typer.Argument(help="Show one method's parameters.")] = None,
    *,
    json: Json = False,
) -> None:
    """List merge methods, or one method's parameters with default, source and meaning."""
    from bench import listings
    from bench.show import definitions

    if json:
        show_json(listings.method_listing() if name is None else listings.method_details(name))
        return
    if name is None:
        show(definitions("methods", listings.method_entries()))
        show(f"\n{listings.METHOD_LEGEND}")
        return
    details = listings.method_details(name)
    show(details["about"])
    for title, entries in listings.parameter_entries(details).items():
        show(definitions(f"\n{title}", entries))


def suites(*, json: Json = False) -> None:
    """List suites and their benchmarks."""
    from bench.show import definitions
    from bench.suite_listing import suite_entries, suite_listing

    if json:
        show_json(suite_listing())
        return
    for title, entries in suite_entries().items():
        show(definitions(title, entries))
        show("")


def models(*, json: Json = False) -> None:
    """List configured model sets."""
    from bench.listings import model_entries, model_listing
    from bench.show import definitions

    if json:
        show_json(model_listing())
        return
    show(definitions("model sets", model_entries()))
