"""Coupling of a batched factor to the columns that are treated densely.

Eliminating a factor whose blocks are ``A_j`` (one per level) changes the matrix over
the remaining columns by ``sum_j B_j' P_j B_j``, where ``B_j`` holds the cross-products
of level j with those columns. Two representations give the same numbers: a dense
array, and, where few columns meet each level, a constant sparse matrix ``T`` that
maps the entries of all ``P_j`` to the update at once (its transpose is the adjoint).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import blas

from lme.engine.crossproducts import Pairs
from lme.engine.rotation import turn_columns

Array = NDArray[np.float64]

#: Most entries that the constant matrix may have (12 bytes each).
MAX_ENTRIES = 30_000_000
#: A multiply-add in sparse code costs about as much as this many in a matrix product.
SPARSE_COST = 80.0


def batched_product(left: Array, right: Array) -> Array:
    """``left_j @ right_j`` for stacks of small matrices."""
    if left.shape[-1] == 1:
        # Broadcasting beats one matrix product per level by a factor of five.
        return left * right
    return left @ right


def sum_products(left: Array, right: Array) -> Array:
    """``sum_j left_j' right_j`` as one matrix product."""
    rows = left.shape[0] * left.shape[1]
    return left.reshape(rows, -1).T @ right.reshape(rows, -1)


def _times_symmetric(left: Array, lower: Array) -> Array:
    """``left @ S`` for symmetric S of which only the lower triangle is given."""
    # In C order the lower triangle of S is the upper one of its transpose.
    return blas.dsymm(1.0, lower.T, left.T, side=0, lower=0).T


class DenseCoupling:
    """All of ``B`` as an array of shape (l, p, m)."""

    def __init__(self, values: Array, places: Sequence[NDArray[np.intp]] = ()) -> None:
        self.values = values
        self.places = places

    def refill(self, pairs: Sequence[Pairs]) -> None:
        """Take other products of the same pairs of levels."""
        flat = self.values.reshape(-1)
        for place, pair in zip(self.places, pairs, strict=True):
            flat[place] = pair.blocks

    def update(self, P: Array) -> Array:
        """``sum_j B_j' P_j B_j``, shape (m, m)."""
        return sum_products(self.values, batched_product(P, self.values))

    def quadratic(self, middle: Array) -> Array:
        """``B_j M B_j'`` for symmetric M (lower triangle), shape (l, p, p)."""
        levels, p, m = self.values.shape
        half = _times_symmetric(self.values.reshape(levels * p, m), middle)
        half = half.reshape(levels, p, m)
        if p == 1:
            squares: Array = np.einsum("lam,lam->l", half, self.values)
            return squares.reshape(levels, 1, 1)
        return half @ self.values.transpose(0, 2, 1)

    def right(self, columns: Array) -> Array:
        """``B_j C`` for C (m, r), shape (l, p, r)."""
        levels, p, m = self.values.shape
        return (self.values.reshape(levels * p, m) @ columns).reshape(levels, p, -1)

    def left(self, stack: Array) -> Array:
        """``sum_j B_j' Y_j`` for Y (l, p, r), shape (m, r)."""
        return sum_products(self.values, stack)


class TurnedCoupling(DenseCoupling):
    """Coupling to dense columns some of which are turned; see `rotation`.

    Parameters
    ----------
    pairs : sequence of Pairs
        Cross-products of the batched factor with each dense factor.
    halves : sequence of (l, r) arrays or None
        ``T`` of each dense factor; None where it is not turned.
    """

    def __init__(self, pairs: Sequence[Pairs], halves: Sequence[Array | None]) -> None:
        self.halves = halves
        super().__init__(np.empty((0, 0, 0)))
        self.refill(pairs)

    def refill(self, pairs: Sequence[Pairs]) -> None:
        """Take other products of the same pairs of levels."""
        levels, p = pairs[0].shape[0], pairs[0].blocks.shape[1]
        each = zip(pairs, self.halves, strict=True)
        blocks = [turn_columns(pair, half) for pair, half in each]
        self.values = np.hstack(blocks).reshape(levels, p, -1)


def _entry_values(pairs: Sequence[Pairs]) -> Array:
    """The p values of every entry of B, factor after factor."""
    values = [
        pair.blocks.transpose(0, 2, 1).reshape(-1, pair.blocks.shape[1])
        for pair in pairs
    ]
    return np.concatenate(values)


class SparseCoupling:
    """``B`` by its nonzeros, with the update as a constant sparse matrix.

    Levels that meet very many columns are kept as rows of a dense array instead:
    their number of products grows with the square of the columns they meet.
    Of symmetric results only the lower triangle is formed.
    """

    def __init__(
        self,
        pairs: Sequence[Pairs],
        offsets: Sequence[int],
        levels: int,
        p: int,
        m: int,
    ) -> None:
        self.levels, self.p, self.m = levels, p, m
        self._diagonal = np.arange(m)
        level, column = [], []
        for pair, offset in zip(pairs, offsets, strict=True):
            width = pair.blocks.shape[2]
            level.append(np.repeat(pair.rows, width))
            place = offset + pair.cols[:, None] * width + np.arange(width)
            column.append(place.ravel())
        every, columns = np.concatenate(level), np.concatenate(column)
        self._order = np.lexsort((columns, every))
        self._level, self._column = every[self._order], columns[self._order]
        count = np.bincount(self._level, minlength=levels)
        light = _light_levels(count, p, m)
        self.heavy = np.flatnonzero(~light)
        self._keep = light[self._level]
        self._find_products()
        self.refill(pairs)

    def _find_products(self) -> None:
        """Which two entries each product takes, and where it goes."""
        level, column = self._level[self._keep], self._column[self._keep]
        count = np.bincount(level, minlength=self.levels)
        start = np.cumsum(count) - count
        position = np.arange(level.size) - start[level]
        first = np.repeat(np.arange(level.size, dtype=np.int32), position + 1)
        ends = np.cumsum(position + 1)
        within = np.arange(first.size) - np.repeat(ends - position - 1, position + 1)
        second = (start[level[first]] + within).astype(np.int32)
        dtype = np.int32 if self.m**2 < 2**31 else np.int64
        self._flat = (column[first] * self.m + column[second]).astype(dtype)
        self._indptr = np.concatenate([[0], np.cumsum(count * (count + 1) // 2)])
        self._first, self._second = first, second
        self.entries = [(a, b) for a in range(self.p) for b in range(a, self.p)]

    def refill(self, pairs: Sequence[Pairs]) -> None:
        """Take the values of these products; their pattern is that of the first."""
        p, shape = self.p, (self.levels * self.p, self.m)
        value = _entry_values(pairs)[self._order]
        if p == 1:
            ends = np.searchsorted(self._level, np.arange(self.levels + 1))
            self.B = sparse.csr_matrix((value[:, 0], self._column, ends), shape=shape)
        else:
            rows = (self._level[:, None] * p + np.arange(p)).ravel()
            place = rows, np.repeat(self._column, p)
            self.B = sparse.csr_matrix((value.ravel(), place), shape=shape)
        light = value[self._keep]
        self.maps = []
        for a, b in self.entries:
            data = light[self._first, a] * light[self._second, b]
            if a != b:
                data += light[self._first, b] * light[self._second, a]
            self.maps.append(
                sparse.csr_matrix(
                    (data, self._flat, self._indptr),
                    shape=(self.levels, self.m**2),
                    copy=False,
                )
            )
        heavy_rows = (self.heavy[:, None] * p + np.arange(p)).ravel()
        self.rows = self.B[heavy_rows].toarray()

    def update(self, P: Array) -> Array:
        """``sum_j B_j' P_j B_j``, shape (m, m); lower triangle only."""
        flat = self.maps[0].T @ P[:, 0, 0]
        for (a, b), mapping in zip(self.entries[1:], self.maps[1:], strict=True):
            flat += mapping.T @ P[:, a, b]
        out = flat.reshape(self.m, self.m)
        if self.heavy.size:
            if self.p == 1:
                G = self.rows * np.sqrt(P[self.heavy, 0, 0])[:, None]
                out += blas.dsyrk(1.0, G.T).T
            else:
                stack = self.rows.reshape(self.heavy.size, self.p, self.m)
                out += sum_products(stack, P[self.heavy] @ stack)
        return out

    def quadratic(self, middle: Array) -> Array:
        """``B_j M B_j'`` for symmetric M (lower triangle), shape (l, p, p)."""
        out = np.empty((self.levels, self.p, self.p))
        # The maps hold the lower triangle only, so what is off the diagonal counts
        # twice: fold the diagonal's share back by halving it.
        folded = 2.0 * middle
        folded[self._diagonal, self._diagonal] *= 0.5
        vector = folded.ravel()
        for (a, b), mapping in zip(self.entries, self.maps, strict=True):
            value = mapping @ vector
            out[:, a, b] = value if a == b else 0.5 * value
            out[:, b, a] = out[:, a, b]
        if self.heavy.size:
            half = _times_symmetric(self.rows, middle)
            shape = (self.heavy.size, self.p, self.m)
            if self.p == 1:
                out[self.heavy, 0, 0] = np.einsum("lm,lm->l", half, self.rows)
            else:
                out[self.heavy] = half.reshape(shape) @ self.rows.reshape(
                    shape
                ).transpose(0, 2, 1)
        return out

    def right(self, columns: Array) -> Array:
        """``B_j C`` for C (m, r), shape (l, p, r)."""
        return (self.B @ columns).reshape(self.levels, self.p, -1)

    def left(self, stack: Array) -> Array:
        """``sum_j B_j' Y_j`` for Y (l, p, r), shape (m, r)."""
        return self.B.T @ stack.reshape(self.levels * self.p, -1)


def _light_levels(count: NDArray[np.intp], p: int, m: int) -> NDArray[np.bool_]:
    """Levels whose products are cheaper, and affordable, one by one."""
    entries = count * (count + 1) // 2 * (p * (p + 1) // 2)
    light = entries * SPARSE_COST <= m * m * p
    order = np.argsort(entries, kind="stable")
    affordable = np.empty(count.size, dtype=bool)
    affordable[order] = np.cumsum(entries[order]) <= MAX_ENTRIES
    return light & affordable


def couple(
    pairs: Sequence[Pairs],
    offsets: Sequence[int],
    levels: int,
    p: int,
    m: int,
    dense: bool = False,
) -> DenseCoupling | SparseCoupling:
    """The cheaper of the two representations.

    Parameters
    ----------
    pairs : sequence of Pairs
        Cross-products of the batched factor with each dense factor.
    offsets : sequence of int
        First dense column of each of these factors.
    levels, p : int
        Levels and columns of the batched factor.
    m : int
        Number of dense columns.
    dense : bool
        Take the dense one in any case.
    """
    nonzeros = sum(pair.blocks.size for pair in pairs)
    if dense or levels * p * m <= 300_000 or nonzeros > 0.3 * levels * p * m:
        places = []
        for pair, offset in zip(pairs, offsets, strict=True):
            width = pair.blocks.shape[2]
            columns = offset + pair.cols[:, None] * width + np.arange(width)
            rows = (pair.rows[:, None] * p + np.arange(p)) * m
            places.append(rows[:, :, None] + columns[:, None, :])
        out = DenseCoupling(np.zeros((levels, p, m)), places)
        out.refill(pairs)
        return out
    return SparseCoupling(pairs, offsets, levels, p, m)
