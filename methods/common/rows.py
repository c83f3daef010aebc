"""Inner products of a tensor or of its rows, from runs of elements that may begin and end inside a row.

As in `sums.py` the result does not depend on how the tensor was cut: a row's products are summed in the parts
that its borders and the multiples of CHUNK cut it into, and every run begins at such a multiple.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Pass, Piece, Seen, Unit
from methods.common.sums import CHUNK, Chunks, chunk_sums, concatenate, total

Wide = NDArray[np.float64]


class RowSums(NamedTuple):
    """Sums of parts of rows: the row of every part, and one sum per quantity, [quantities, parts]."""

    rows: NDArray[np.int64]
    sums: Wide


def row_length(shape: tuple[int, ...]) -> int:
    """Elements of a row: all but the first axis of a matrix, the whole of a vector."""
    return int(np.prod(shape[1:])) if len(shape) > 1 else int(np.prod(shape))


def row_sums(piece: Piece, products: Iterable[Tensor]) -> RowSums:
    """Sums of every quantity's products, element by element of the piece, over the parts of its rows."""
    length = row_length(piece.info.shape)
    stop = piece.start + piece.base.numel()
    borders = (np.arange(-(-piece.start // step) * step, stop, step) for step in (length, CHUNK))
    begins = np.unique(np.concatenate([[piece.start], *borders]))
    sums = [np.add.reduceat(product.flatten().double().numpy(), begins - piece.start) for product in products]
    return RowSums(begins // length, np.stack(sums))


def join(a: RowSums, b: RowSums) -> RowSums:
    """Parts of two runs that follow one another."""
    return RowSums(np.concatenate([a.rows, b.rows]), np.concatenate([a.sums, b.sums], axis=1))


def by_row(parts: RowSums) -> Wide:
    """The sums of whole rows, [quantities, rows]: a row's parts are added in order."""
    return np.stack([np.bincount(parts.rows, weights=sums) for sums in parts.sums])


def sums_pass(
    name: str,
    granularity: Literal["tensor", "row"],
    products: Callable[[Piece], Iterator[Tensor]],
    finish: Callable[[Sequence[float]], tuple[float, ...]],
) -> Pass:
    """Sum `products` (one tensor a quantity, element by element of a piece) over each tensor, or over each row.

    `finish` turns the sums of all quantities into numbers. The pass's result is their tuple per tensor; by row a
    tuple of arrays, each with one number per row.
    """

    def of_tensor(unit: Unit, seen: Seen) -> Chunks:
        (piece,) = unit.pieces.values()
        return tuple(chunk_sums(product) for product in products(piece))

    def of_rows(unit: Unit, seen: Seen) -> RowSums:
        (piece,) = unit.pieces.values()
        return row_sums(piece, products(piece))

    def finish_tensor(sums: Chunks, seen: Seen, key: str) -> tuple[float, ...]:
        return finish([total(chunks) for chunks in sums])

    def finish_rows(parts: RowSums, seen: Seen, key: str) -> tuple[Wide, ...]:
        return tuple(np.array([finish(row) for row in by_row(parts).T.tolist()]).T)

    if granularity == "row":
        return Pass(name, "tensor", of_rows, join, finish_rows)
    return Pass(name, "tensor", of_tensor, concatenate, finish_tensor)


def spread(piece: Piece, values: Wide) -> Wide:
    """One value per row [..., rows] to one per element of the piece [..., n]."""
    length = row_length(piece.info.shape)
    rows = np.arange(piece.start, piece.start + piece.base.numel()) // length
    return np.asarray(values[..., rows])
