"""How much of its experts' performance each row of a board keeps, or of the base's: what is divided by what.

The arithmetic is `results/prr.py`. A denominator is what the domain's expert, in the same model set, reached on the
same documents under the same version, prompt, draw, grader, engine and dtype; otherwise there is none, and the reason
is said. PRR needs two domains at least with experts of their own; a domain without one is compared with the base.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from results.cell import Cell
from results.cells import Places, cell_of
from results.chosen import Key
from results.composites import Composite, asked_parts, compose
from results.prr import RetainRate, Retention, retain_rate, retention
from results.ratio import Pairs, Performance

_AGREE = 1e-6  # of a score and the share of right questions behind it


@dataclass(frozen=True)
class Denominators:
    """What the rows of one model set are divided by.

    `keys` are those of what was asked for each column; `cells` and `places` have the scores of everything asked;
    `experts` has the expert (fingerprint) of each key that the set has a score of, None where it has none, and
    `domains` that of each column.
    """

    model_set: str
    keys: Mapping[str, Sequence[str]]
    domains: Mapping[str, str]
    composites: Mapping[str, Composite]
    cells: Mapping[Key, Cell]
    places: Places
    experts: Mapping[str, str | None]
    base: str | None

    @property
    def lone(self) -> list[str]:
        """The columns without an expert. One that nobody was asked may have one: it is missing, not alone."""
        found = {
            c: {self.experts[key] for key in keys if key in self.experts} for c, keys in self.keys.items()
        }
        return [column for column, experts in found.items() if experts == {None}]

    @property
    def by_domain(self) -> dict[str, str]:
        """The expert of each domain, where two domains at least have one of their own; else nothing."""
        found: dict[str, str] = {}
        for column, keys in self.keys.items():
            for expert in (self.experts.get(key) for key in keys):
                if expert and column in self.domains:
                    found[self.domains[column]] = expert
        return found if len(set(found.values())) > 1 else {}

    def retain(self, cells: Mapping[str, Cell | None]) -> RetainRate | None:
        """PRR of the row with these cells, over the domains that have experts; None without two of them."""
        if not self.by_domain:
            return None
        lone = self.lone
        columns = [column for column in self.keys if column not in lone]
        return retain_rate([self._performance(column, cells.get(column)) for column in columns])

    def retention(self, checkpoint: str, cells: Mapping[str, Cell | None]) -> Retention | None:
        """Performance relative to the base on what has no expert; None where all has one, and for the base."""
        if not self.lone or self.base is None or self.base == checkpoint:
            return None
        return retention([self._performance(c, cells.get(c), self.base) for c in self.lone])

    def _performance(self, column: str, cell: Cell | None, base: str | None = None) -> Performance:
        composite = self.composites.get(column)
        parts = cell.parts if cell and composite else {column: cell}
        others, why = {}, {}
        for key in self.keys[column]:
            others[key], why[key] = self._other(key, parts.get(key), base)
        other = compose(composite, others) if composite else others[column]
        return Performance(
            benchmark=column,
            domain=self.domains.get(column, column),
            merged=cell.accuracy if cell else None,
            expert=other.accuracy if other else None,
            constant=other.constant if other else None,
            pairs=_pairs(cell, other, _with_base if base else _with_expert) if cell and other else None,
            shares=self._shared(column),
            why="; ".join(dict.fromkeys(reason for reason in why.values() if reason)) or None,
        )

    def _other(self, key: str, cell: Cell | None, base: str | None) -> tuple[Cell | None, str | None]:
        """The denominator of what was asked, or the reason why there is none."""
        whose = "the base" if base else "its expert"
        checkpoint = base or self.experts.get(key)
        usual = self.cells.get((self.model_set, checkpoint, key)) if checkpoint else None
        if checkpoint is None or usual is None:
            return None, f"{whose} has no score on {key}"
        if cell is None:
            return usual, None
        places = self.places[self.model_set, checkpoint, key]
        metrics = places.get((cell.document_set, cell.engine, cell.dtype), {})
        if "accuracy" in metrics:
            return cell_of(metrics), None
        if cell.document_set not in {place[0] for place in places}:
            return None, f"{whose} was asked other questions of {key}"
        return None, f"{whose} answered {key} under {_engine(usual)}, this model under {_engine(cell)}"

    def _shared(self, column: str) -> str | None:
        """The asked benchmark that another column rests on too."""
        mine, *others = [_benchmarks(c, self.composites) for c in (column, *(set(self.keys) - {column}))]
        return next((name for name in mine if any(name in other for other in others)), None)


def denominators(
    model_set: str,
    columns: Iterable[str],
    domains: Mapping[str, str],
    composites: Mapping[str, Composite],
    cells: Mapping[Key, Cell],
    places: Places,
) -> Denominators:
    """What the rows of a model set are divided by, from the cells of everything that was asked."""
    mine = {key: cell for key, cell in cells.items() if key[0] == model_set}
    experts: dict[str, str | None] = {}
    for (_, _, key), cell in mine.items():
        experts[key] = cell.expert or experts.get(key)
    base = next((cell.base for cell in mine.values() if cell.base), None)
    keys = {column: tuple(asked_parts([column], composites)) for column in columns}
    return Denominators(model_set, keys, domains, composites, mine, places, experts, base)


def _benchmarks(column: str, composites: Mapping[str, Composite]) -> list[str]:
    return list(dict.fromkeys(part.benchmark for part in asked_parts([column], composites).values()))


def _engine(cell: Cell) -> str:
    return f"{cell.engine} {cell.dtype or ''}".strip()


def _with_expert(cell: Cell) -> Pairs | None:
    return cell.pairs


def _with_base(cell: Cell) -> Pairs | None:
    """The same of the base, from the questions on which only one of the two was right."""
    compared = cell.against_base
    if compared is None or compared.test != "mcnemar" or compared.n != cell.n or cell.accuracy is None:
        return None
    right = round(cell.accuracy.value * compared.n)
    both = right - compared.better
    return Pairs(both, compared.better, compared.worse, compared.n - both - compared.better - compared.worse)


def _pairs(
    cell: Cell, other: Cell, pairs_of: Callable[[Cell], Pairs | None]
) -> Pairs | tuple[Pairs, ...] | None:
    """Who was right on what, in each part; None where two different parts are the best, or verdicts have changed
    since they were scored."""
    if cell.won != other.won:
        return None
    parts = [cell.parts[cell.won]] if cell.won else [*cell.parts.values()] or [cell]
    found = [pairs for part in parts if part and (pairs := pairs_of(part))]
    if len(found) < len(parts) or not cell.accuracy or not other.accuracy:
        return None
    merged = sum((pair.both + pair.only_merged) / pair.n for pair in found) / len(found)
    expert = sum((pair.both + pair.only_expert) / pair.n for pair in found) / len(found)
    agree = abs(merged - cell.accuracy.value) < _AGREE and abs(expert - other.accuracy.value) < _AGREE
    return tuple(found) if agree else None
