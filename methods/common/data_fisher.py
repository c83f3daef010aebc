"""What methods share that weigh experts by a diagonal Fisher on their own data: parameters, and normalisation."""

from __future__ import annotations

import math
from typing import Any, Literal

from methods.common.contract import Need, Pass, Piece, Seen, Unit, parameter
from methods.common.on_data import EVERYWHERE, OnData
from methods.common.sums import Chunks, chunk_sums, concatenate, total

Point = Literal["base", "experts", "aligned"]
Sums = tuple[int, Chunks]  # elements, and chunk sums of every expert

FISHER = "fisher"


class DataFisherMethod(OnData):
    """Parameters of the Fisher on data. They, and no other, are part of its identity: what a method does with the
    Fisher may change without computing it again."""

    examples: int = parameter(
        1000,
        "examples of each expert's own data for its Fisher",
        "DRIFT-MEDIAN: 1000 for LLMs, 256 GPT-2",
        ge=1,
    )
    estimator: Literal["empirical", "exact", "sampled", "argmax", "batch_sqrt"] = parameter(
        "empirical",
        "whose log-likelihood: the label's, all classes' by their probability, a drawn one's, the likeliest at the "
        "last token, or FusionBench's square-root form",
        "DRIFT-MEDIAN eq. 1; `exact` is Fisher averaging's own for classifiers",
    )
    token_reduction: Literal["sum", "mean"] = parameter(
        "sum",
        "log-likelihood of an answer: sum or mean over its tokens (a sum gives long answers a larger Fisher)",
        "the log-likelihood of y given x",
    )
    normalize_fisher: Literal["none", "l2", "mean"] = parameter(
        "none",
        "divide every expert's Fisher by its L2 norm or by its mean, so that no expert weighs more on the whole",
        "raw values as printed; the code of Fisher averaging divides by the norm",
    )
    normalize_scope: Literal["tensor", "model"] = parameter(
        "model", "where norm or mean is taken", "code of Fisher averaging"
    )

    def fisher_need(self, of: Point, **options: Any) -> Need:
        """The Fisher of every expert's own data, at the weights `of`."""
        own = {"estimator": self.estimator, "token_reduction": self.token_reduction}
        return Need(
            FISHER, "fisher_data", of, {**self.data_options, **own, **options}, data="own", roles=EVERYWHERE
        )

    @property
    def size_passes(self) -> tuple[Pass, ...]:
        """The pass that learns every expert's norm or mean; none where nothing is normalised."""
        if self.normalize_fisher == "none":
            return ()
        return (Pass("fisher_size", self.normalize_scope, self._observe_size, add_sums, self._factors),)

    def factors(self, piece: Piece, seen: Seen) -> tuple[float, ...]:
        """What each expert's Fisher is multiplied by."""
        if self.normalize_fisher == "none":
            return (1.0,) * len(piece.experts)
        return tuple(seen.of("fisher_size", piece.info))

    def _observe_size(self, unit: Unit, seen: Seen) -> Sums:
        (piece,) = unit.pieces.values()
        rows = (fisher.double() for fisher in piece.statistics[FISHER])
        squares = self.normalize_fisher == "l2"
        return piece.base.numel(), tuple(chunk_sums(row.square() if squares else row) for row in rows)

    def _factors(self, sums: Sums, seen: Seen, key: str) -> tuple[float, ...]:
        """1 / size; a Fisher that is 0 everywhere stays so."""
        n, rows = sums
        sizes = [total(row) for row in rows]
        sizes = [math.sqrt(size) if self.normalize_fisher == "l2" else size / n for size in sizes]
        return tuple(1 / size if size > 0 else 1.0 for size in sizes)


def add_sums(a: Sums, b: Sums) -> Sums:
    """Two runs of elements together."""
    return a[0] + b[0], concatenate(a[1], b[1])
