"""Verdicts: what every chosen method produces now against what was accepted, and the way to accept a change."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bench.errors import BadInput, unknown
from bench.identity import code_digest
from bench.merging.merge import quiet
from bench.recipe import METHODS, build_method, method_names
from bench.regress import goldens
from bench.regress.cases import Case, cases_of
from bench.regress.compare import Change, compare
from bench.regress.goldens import HERE, Accepted
from bench.regress.produce import Product, produce

State = Literal["ok", "changed", "new", "gone", "failed", "accepted"]


@dataclass(frozen=True)
class Verdict:
    """One method's. `rounding` is the largest difference that was taken for rounding, as a multiple of the task
    vectors' root mean square; `was` is the state before a change was accepted."""

    method: str
    state: State
    cases: int
    changes: list[Change] = field(default_factory=list)
    rounding: float = 0.0
    was: State | None = None

    @property
    def good(self) -> bool:
        """Whether there is nothing to explain."""
        return self.state in ("ok", "accepted")


def regress(
    asked: Sequence[str],
    *,
    accept: str | None = None,
    folder: Path = HERE,
    say: Callable[[str], None] = quiet,
) -> list[Verdict]:
    """A verdict for every method in `asked` (names, or `all`). `accept` gives the reason why changes are right:
    the chosen methods' results become the accepted ones in `folder`. BadInput: no such method, an empty reason."""
    if accept is not None and not accept.strip():
        raise BadInput('--accept needs a reason that a later reader understands: --accept "why"')
    verdicts = []
    for name in chosen(asked, folder):
        say(f"merging the fixed models with {name}")
        verdict, products = check(name, folder)
        if accept is not None and verdict.state in ("changed", "new", "gone"):
            verdict = _accept(verdict, products, accept.strip(), folder)
        verdicts.append(verdict)
    return verdicts


def chosen(asked: Sequence[str], folder: Path) -> list[str]:
    """Method names; `all` adds methods that have goldens and are gone."""
    names = [name for text in asked for name in text.split(",") if name.strip()]
    every = sorted({*method_names(), *goldens.stored_methods(folder)})
    if not names or "all" in names:
        return every
    for name in names:
        if name not in every:
            raise unknown("method", name, [*every, "all"])
    return list(dict.fromkeys(names))


def check(
    name: str, folder: Path = HERE, *, first_change: bool = False
) -> tuple[Verdict, dict[str, Product]]:
    """The verdict on one method, and what its cases gave. `first_change` stops at the first case that changed."""
    if name not in method_names():
        return Verdict(name, "gone", 0, [Change("", "", "has goldens, and is no method any more")]), {}
    accepted = goldens.load(name, folder)
    found, changes, rounding, failed = dict[str, Product](), list[Change](), 0.0, False
    try:
        for title, product in _products(name):
            found[title] = product
            if accepted is None or title not in accepted:
                changes += [Change(title, "", "has no golden yet")] if accepted is not None else []
            else:
                more, noise = compare(title, product, accepted[title])
                changes, rounding = changes + more, max(rounding, noise)
            if first_change and any(change.tensor for change in changes):
                break
        else:
            changes += [Change(t, "", "is no case any more") for t in accepted or () if t not in found]
    except _Failed as error:
        changes.append(Change(error.case, "", error.why))
        failed = True
    state: State = "failed" if failed else "new" if accepted is None else "changed" if changes else "ok"
    if state == "new":
        changes = [Change("", "", "has no goldens yet")]
    return Verdict(name, state, len(found), changes, rounding), found


class _Failed(Exception):
    """A case that gives no tensors."""

    def __init__(self, case: str, error: Exception) -> None:
        super().__init__(case)
        self.case, self.why = case, f"fails: {type(error).__name__}: {error}"


def _products(name: str) -> Iterator[tuple[str, Product]]:
    """Every case's title and result, each merged in a folder of its own."""
    case: Case | None = None
    try:
        for case in cases_of(name):
            with tempfile.TemporaryDirectory(prefix="mergeboard-regress-") as folder:
                product = produce(name, case, Path(folder))
            yield case.title, product
    except Exception as error:  # whatever a method raises is a verdict on it
        raise _Failed(case.title if case else "", error) from error


def _accept(verdict: Verdict, products: dict[str, Product], why: str, folder: Path) -> Verdict:
    """Make what was found the accepted result."""
    name = verdict.method
    if verdict.state == "gone":
        goldens.file_of(name, folder).unlink()
        cases, code = [], ""
    else:
        goldens.save(name, products, folder)
        told = dict.fromkeys(change.case for change in verdict.changes if change.case)
        cases = list(told) or list(products)
        wrapped = build_method(name, {}).wraps()
        code = code_digest(METHODS / f"{part}.py" for part in (name, *wrapped))
    goldens.log(Accepted(goldens.today(), name, cases, why, code), folder)
    return Verdict(name, "accepted", verdict.cases, verdict.changes, verdict.rounding, verdict.state)
