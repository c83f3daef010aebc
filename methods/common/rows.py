"""Inner products of a tensor's rows from runs of elements that may begin and end inside a row.

As in `sums.py` the result does not depend on how the tensor was cut: a row's products are summed in the parts
that its borders and the multiples of CHUNK cut it into, and every run begins at such a multiple.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from methods.common.contract import Piece
from methods.common.sums import CHUNK

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


def spread(piece: Piece, values: Wide) -> Wide:
    """One value per row [..., rows] to one per element of the piece [..., n]."""
    length = row_length(piece.info.shape)
    rows = np.arange(piece.start, piece.start + piece.base.numel()) // length
    return np.asarray(values[..., rows])
