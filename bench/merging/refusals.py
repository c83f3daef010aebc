"""A method that cannot go on in the middle of a merge: which one it was, where, and what it said."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from bench.errors import DEBUG, BadInput
from methods.common.contract import Pass, Seen, Unit

if TYPE_CHECKING:
    from bench.recipe import Recipe


@contextmanager
def refusing(recipe: Recipe, doing: str) -> Iterator[None]:
    """While it lasts, a ValueError is what the method cannot do with these models and parameters: BadInput, caused
    by it. Every other error is a fault of the code and stays what it is."""
    try:
        yield
    except ValueError as error:
        said = " ".join(str(error).split()).rstrip(".") or "no reason was given"
        raise BadInput(
            f"{recipe.name} broke off {doing}: {said}. Give it other parameters (`bench methods {recipe.name}` lists "
            f"them) or take another method; if that does not explain it, {DEBUG}=1 shows where it was raised"
        ) from error


def guarded(pass_: Pass, recipe: Recipe) -> Pass:
    """The pass of a recipe's method, whose ValueErrors name the method, the pass and the place."""
    doing = f"in its pass {pass_.name!r}"

    def observe(unit: Unit, seen: Seen) -> Any:
        with refusing(recipe, f"{doing} at {unit.name}"):
            return pass_.observe(unit, seen)

    def combine(one: Any, other: Any) -> Any:
        with refusing(recipe, doing):
            return pass_.combine(one, other)

    def finish(total: Any, seen: Seen, key: str) -> Any:
        with refusing(recipe, f"{doing} at {'the whole model' if pass_.scope == 'model' else key}"):
            return pass_.finish(total, seen, key)

    return replace(pass_, observe=observe, combine=combine, finish=finish)
