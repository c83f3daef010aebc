"""TIES-Merging: trim each task vector, elect a sign per coordinate, merge what agrees (arXiv 2306.01708)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Scope, Seen, TensorInfo, Unit, parameter
from methods.common.election import Aggregate, ZeroSign, agreeing, majority_pass, sign_count, sign_of_zero
from methods.common.selection import Selection, TrimRule


class Ties(Method):
    """With one expert it is magnitude trimming and scaling: there is no sign to elect."""

    card: ClassVar[Card] = Card(
        title="TIES-Merging",
        source="Yadav et al. 2023, arXiv 2306.01708",
        summary="trim by magnitude, elect signs, mean or sum of the experts that agree, scale by lambda",
        aliases={"k": "keep", "density": "keep", "reset_thresh": "keep"},
    )

    keep: float = parameter(
        0.2, "fraction of every task vector kept", "original TIES; L2S 1.5B and 7B", gt=0, le=1
    )
    aggregate: Aggregate = parameter("mean", "agreeing entries: disjoint mean, or sum", "original TIES")
    lambda_: float = parameter(
        1.0, "scale on the merged task vector", "original TIES", alias="lambda", ge=-10, le=10
    )
    scope: Scope = parameter(
        "model", "where the largest are counted: tensor, block or model", "original TIES"
    )
    trim_rule: TrimRule = parameter(
        "exact",
        "exact count, or the original code's inclusive threshold, or an interpolated quantile",
        "our choice",
    )
    zero_sign: ZeroSign = parameter(
        "majority",
        "sign of a zero sum: none, positive, or that of the sum of all elected signs in `scope`",
        "original TIES code",
    )

    @property
    def trim(self) -> Selection:
        """The largest entries of each task vector."""
        return Selection("trim", self.scope, self.keep, self.trim_rule, score=lambda piece, m: piece.delta(m))

    def passes(self) -> tuple[Pass, ...]:
        """Thresholds, then the majority sign."""
        trims = self.trim.passes()
        if self.zero_sign != "majority":
            return trims
        return (*trims, majority_pass(self.scope, self._count_signs, _several))

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32."""
        merged = agreeing(
            self.trimmed(piece, seen), piece.weights, self.aggregate, zero_sign=self._zero_sign(piece, seen)
        )
        return piece.moved(merged, self.lambda_)

    def trimmed(self, piece: Piece, seen: Seen) -> Tensor:
        """Task vectors with all but the largest entries 0, [M, *shape]."""
        return self.trim.largest(piece, seen, piece.deltas)

    def _count_signs(self, unit: Unit, seen: Seen) -> int:
        return sum(sign_count(self.trimmed(piece, seen), piece.weights) for piece in unit.pieces.values())

    def _zero_sign(self, piece: Piece, seen: Seen) -> float:
        voted = self.zero_sign == "majority" and len(piece.weights) > 1
        return sign_of_zero(self.zero_sign, seen.of("majority", piece.info) if voted else 0)


def _several(seen: Seen, info: TensorInfo, experts: int) -> bool:
    """A single expert's kept entries never sum to 0: there is no sign to borrow."""
    return experts > 1


METHOD = Ties
