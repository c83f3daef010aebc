"""PCB-Merging: weigh every entry by its size and by its agreement with the other experts, drop the lowest."""

from __future__ import annotations

from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from methods.common.contract import Card, Method, Pass, Piece, Seen, Unit, parameter
from methods.common.order_statistics import OrderStatistics
from methods.common.sums import Chunks, chunk_sums, concatenate, total

FLOOR = 1e-12  # of the summed scores, as in the released code


class Extremes(NamedTuple):
    """Smallest and largest squared entry per expert [M], and product of entries per pair of experts [M, M]."""

    low_square: Tensor
    high_square: Tensor
    low_product: Tensor
    high_product: Tensor


class Softmax(NamedTuple):
    """Elements, and denominators of the softmax over all elements: of squares [M], of products [M, M]."""

    n: int
    squares: Tensor
    products: Tensor


class Pcb(Method):
    """Whole-model vectors. An entry that every expert drops stays the base's.

    With few elements the clipping position int(n (1 - clip) - 1) lies one below its meaning: tiny models want
    clip 0. A weight multiplies its expert's task vector in the numerator only, like the code's own lambdas.
    """

    card: ClassVar[Card] = Card(
        title="PCB-Merging",
        source="Du et al. 2024, arXiv 2410.02396; released code, duguodong7/pcb-merging",
        summary="parameter competition: intra- and inter-expert scores per entry, lowest dropped, weighted mean",
        aliases={"ratio": "keep", "pcb_ratio": "keep", "c": "clip"},
        reconstructed="the released code has three forms (main, vision, paired), which differ from each other and "
        "from the equations of the paper (form paper, written from a summary); Llama-2 and CLIP settings of the "
        "published tables are not stated",
    )
    min_experts: ClassVar[int] = 2

    variant: Literal["main", "vision", "paired", "paper"] = parameter(
        "main",
        "the released main code, its vision code, its evolutionary-search code, or the paper's equations",
        "released code: pcb-merging.py; vision is pcb.py, paired is pcb_ES.py",
    )
    keep: float = parameter(
        0.1, "fraction of every expert's entries kept", "released main code; vision 0.05", gt=0, le=1
    )
    clip: float = parameter(
        0.0001,
        "fraction of magnitudes clipped at each end before scoring (not used by variant paper)",
        "released main code; vision 0.01",
        ge=0,
        lt=0.5,
    )
    lambda_: float = parameter(
        1.0, "scale on the merged task vector", "main: 1; vision code: 1.2", alias="lambda", ge=-10, le=10
    )

    @property
    def magnitude(self) -> OrderStatistics:
        """Bounds of the clipped magnitudes |tau_m|."""
        return OrderStatistics(
            "magnitude",
            "model",
            lambda n: (int(n * self.clip), int(n * (1 - self.clip) - 1)),
            lambda piece, seen: piece.deltas.abs(),
        )

    @property
    def balance(self) -> OrderStatistics:
        """The threshold and the largest of the scores b_m."""
        return OrderStatistics(
            "balance", "model", lambda n: (int(n * (1 - self.keep)), n - 1), self._competition
        )

    def passes(self) -> tuple[Pass, ...]:
        """Two sweeps for what normalises the scores, two for their threshold."""
        if self.variant == "paper":
            extremes = Pass("extremes", "model", _observe_extremes, _wider, lambda found, seen, key: found)
            softmax = Pass("softmax", "model", _observe_softmax, _joined, _softmax)
            return (extremes, softmax, *self.balance.passes())
        return (*self.magnitude.passes(), *self.balance.passes())

    def merge_piece(self, piece: Piece, seen: Seen) -> Tensor:
        """One run of elements, float32: theta_0 + sum_m lambda_m tau'_m S_m / sum_m S_m."""
        weights = torch.tensor(piece.weights).reshape(-1, *[1] * piece.base.dim())
        scores = self._scores(piece, seen)
        change = (weights * self._values(piece, seen) * scores).sum(0) / scores.sum(0).clamp(min=FLOOR)
        return piece.base + self.lambda_ * change

    def _values(self, piece: Piece, seen: Seen) -> Tensor:
        """tau'_m: the task vectors with clipped magnitudes, [M, *shape]."""
        if self.variant == "paper":
            return piece.deltas
        return piece.deltas.sign() * self._clipped(piece, seen)

    def _clipped(self, piece: Piece, seen: Seen) -> Tensor:
        """A_m."""
        low, high = self.magnitude.values(seen, piece).unbind(1)
        return piece.deltas.abs().clamp(low, high)

    def _scores(self, piece: Piece, seen: Seen) -> Tensor:
        """S_m, [M, *shape]: 0 for what is dropped."""
        competition = self._competition(piece, seen)
        threshold, top = self.balance.values(seen, piece).unbind(1)
        if self.variant == "paper":
            return torch.where(competition >= threshold, competition, 0.0)
        return _norm01(competition.clamp(min=threshold), threshold, top)

    def _competition(self, piece: Piece, seen: Seen) -> Tensor:
        """b_m = intra_m * inter_m, [M, *shape]."""
        if self.variant == "paper":
            return _paper_competition(piece, seen)
        low, high = self.magnitude.values(seen, piece).unbind(1)
        size = _norm01(self._clipped(piece, seen), low, high)
        intra = (len(size) * size.square()).exp()
        return intra * self._agreement(piece.deltas, size)

    def _agreement(self, deltas: Tensor, size: Tensor) -> Tensor:
        """inter_m. Sums over experts in float64, so that their order does not decide who is dropped."""
        if self.variant == "main":
            return (deltas * deltas.double().sum(0).float()).tanh()
        signed = deltas.sign() * size
        if self.variant == "vision":
            return (deltas * signed.double().sum(0).float()).tanh()
        return torch.stack([(own * signed).tanh().double().sum(0).float() for own in signed])


def _norm01(values: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Min-max scaling to [0, 1]; 0 where all values are equal. The range is taken in float64."""
    span = high.double() - low.double()
    return torch.where(span > 0, (values - low) / torch.where(span > 0, span, 1.0).float(), 0.0)


def _products(deltas: Tensor) -> Tensor:
    """tau_m tau_j, [M, M, *shape]."""
    return deltas[:, None] * deltas[None]


def _observe_extremes(unit: Unit, seen: Seen) -> Extremes:
    (piece,) = unit.pieces.values()
    squares, products = piece.deltas.square().flatten(1), _products(piece.deltas).flatten(2)
    return Extremes(squares.amin(1), squares.amax(1), products.amin(2), products.amax(2))


def _wider(a: Extremes, b: Extremes) -> Extremes:
    return Extremes(
        torch.minimum(a.low_square, b.low_square),
        torch.maximum(a.high_square, b.high_square),
        torch.minimum(a.low_product, b.low_product),
        torch.maximum(a.high_product, b.high_product),
    )


def _exponentials(piece: Piece, seen: Seen) -> tuple[Tensor, Tensor]:
    """exp(M norm01(tau_m^2)) [M, *shape] and exp(norm01(tau_m tau_j)) [M, M, *shape]."""
    bounds: Extremes = seen.of("extremes", piece.info)
    one = [1] * piece.base.dim()
    low_square, high_square = (b.reshape(-1, *one) for b in bounds[:2])
    low_product, high_product = (b.reshape(*b.shape, *one) for b in bounds[2:])
    squares = _norm01(piece.deltas.square(), low_square, high_square)
    products = _norm01(_products(piece.deltas), low_product, high_product)
    return (len(squares) * squares).exp(), products.exp()


def _observe_softmax(unit: Unit, seen: Seen) -> tuple[int, Chunks]:
    """Number of elements, and chunk sums of every row of the exponentials."""
    (piece,) = unit.pieces.values()
    squares, products = _exponentials(piece, seen)
    rows = [*squares, *products.flatten(0, 1)]
    return piece.base.numel(), tuple(chunk_sums(row) for row in rows)


def _joined(a: tuple[int, Chunks], b: tuple[int, Chunks]) -> tuple[int, Chunks]:
    return a[0] + b[0], concatenate(a[1], b[1])


def _softmax(found: tuple[int, Chunks], seen: Seen, key: str) -> Softmax:
    n, rows = found
    sums = torch.tensor([total(row) for row in rows], dtype=torch.float64)
    experts = len(seen.group("extremes", key).low_square)
    return Softmax(n, sums[:experts], sums[experts:].reshape(experts, experts))


def _paper_competition(piece: Piece, seen: Seen) -> Tensor:
    """softmax over all elements of M norm01(tau_m^2), times sum_j of that of norm01(tau_m tau_j).

    Every softmax is multiplied by the number of elements: the quotient stays the same, and scores of large
    models do not fall under its floor.
    """
    softmax: Softmax = seen.of("softmax", piece.info)
    squares, products = _exponentials(piece, seen)
    one = [1] * piece.base.dim()
    intra = squares * (softmax.n / softmax.squares).float().reshape(-1, *one)
    inter = products * (softmax.n / softmax.products).float().reshape(*softmax.products.shape, *one)
    return intra * inter.double().sum(1).float()


METHOD = Pcb
