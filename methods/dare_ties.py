"""DARE-TIES: TIES's sign election and merge on randomly sparsified task vectors (arXiv 2311.03099, 2306.01708)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import model_validator
from torch import Tensor

from methods.common.contract import Card, Pass, Piece, Seen, parameter
from methods.common.dropping import DroppingMethod
from methods.common.selection import Selection
from methods.ties import Ties


class DareTies(DroppingMethod, Ties):
    """TIES whose trim is replaced (or, with keep < 1, followed) by random dropping and rescaling."""

    card: ClassVar[Card] = Card(
        title="DARE-TIES",
        source="Yu et al. 2024, arXiv 2311.03099; Yadav et al. 2023, arXiv 2306.01708",
        summary="drop most of every task vector at random, rescale, elect signs, merge what agrees",
        aliases={"p": "drop_rate", "density": "drop_rate", "k": "keep"},
    )

    keep: float = parameter(
        1.0,
        "fraction kept by a second trim, by magnitude; 1: none",
        "mergekit has none; fusion_bench 0.2",
        gt=0,
        le=1,
    )

    @model_validator(mode="after")
    def _ranks_are_comparable(self) -> DareTies:
        if self.keep < 1 and self.rescale == "l1" and self.scope != "tensor":
            raise ValueError(
                "with rescale=l1 every tensor has a factor of its own: a second trim (keep < 1) needs scope=tensor"
            )
        return self

    @property
    def trim(self) -> Selection:
        """The largest entries of what was not dropped."""
        return Selection("trim", self.scope, self.keep, self.trim_rule, score=self.undropped)

    def passes(self) -> tuple[Pass, ...]:
        """Norms for the rescaling, thresholds of a second trim, the majority sign."""
        passes = super().passes()
        return (*self.rescale_passes(), *(passes if self.keep < 1 else passes[len(self.trim.passes()) :]))

    def trimmed(self, piece: Piece, seen: Seen) -> Tensor:
        """Task vectors after drop, rescale and second trim, [M, *shape]."""
        sparse = self.sparse(piece, seen)
        return sparse if self.keep == 1 else self.trim.largest(piece, seen, sparse)


METHOD = DareTies
