"""The cross-products of [Z1 .. ZK X y]: one pass over the rows, then n is gone.

Everything that a linear mixed model needs of its data is ``A = [Z X y]'[Z X y]``
(`numerics`, section 1). It is kept by blocks: small dense blocks of one level of one
factor, or of an observed pair of levels of two factors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.covariance.known import Known
from lme.engine.relcov import Factor

Array = NDArray[np.float64]

#: Rows times products of widths above which the products are formed in chunks.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Pairs:
    """Cross-product of two factors on the pairs of levels that occur together.

    Attributes
    ----------
    rows, cols : (m,) intp
        Levels of the first and second factor; sorted by row, then column.
    blocks : (m, p1, p2) float64
    shape : (int, int)
        Numbers of levels of the two factors.
    """

    rows: NDArray[np.intp]
    cols: NDArray[np.intp]
    blocks: Array
    shape: tuple[int, int]

    @cached_property
    def matrix(self) -> sparse.csr_matrix:
        """The products as one sparse matrix, (rows * p1) x (cols * p2)."""
        _, p1, p2 = self.blocks.shape
        shape = (self.shape[0] * p1, self.shape[1] * p2)
        if p1 == p2 == 1:
            coo = (self.blocks.ravel(), (self.rows, self.cols))
            return sparse.csr_matrix(coo, shape=shape)
        starts = np.searchsorted(self.rows, np.arange(self.shape[0] + 1))
        return sparse.bsr_matrix((self.blocks, self.cols, starts), shape=shape).tocsr()

    @cached_property
    def transposed(self) -> sparse.csr_matrix:
        """The transpose of `matrix`, by rows too."""
        return self.matrix.T.tocsr()

    def swapped(self) -> Pairs:
        """The same products with the factors' roles exchanged; not sorted."""
        blocks = self.blocks.transpose(0, 2, 1)
        return Pairs(self.cols, self.rows, blocks, self.shape[::-1])


@dataclass(frozen=True, slots=True)
class CrossProducts:
    """``[Z X y]'[Z X y]`` by blocks.

    Attributes
    ----------
    levels, widths : tuple of int
        Levels ``l_f`` and columns ``p_f`` of each grouping factor.
    diagonal : tuple of (l, p, p) arrays
        ``Z_f' Z_f``, block diagonal.
    pairs : dict of (f, g) with f < g to Pairs
        ``Z_f' Z_g``.
    dense : tuple of (l, p, px + 1) arrays
        ``Z_f' [X y]``.
    gram : (px + 1, px + 1) array
        ``[X y]' [X y]``.
    known : tuple of (Known or None)
        Covariance between the levels of each factor; empty where all are independent.
    """

    levels: tuple[int, ...]
    widths: tuple[int, ...]
    diagonal: tuple[Array, ...]
    pairs: dict[tuple[int, int], Pairs]
    dense: tuple[Array, ...]
    gram: Array
    known: tuple[Known | None, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of random effects of each factor."""
        return tuple(
            levels * p for levels, p in zip(self.levels, self.widths, strict=True)
        )

    def relation(self, f: int) -> Known | None:
        """Covariance between the levels of one factor; None: independent."""
        return self.known[f] if self.known else None

    def between(self, f: int, g: int) -> Pairs:
        """``Z_f' Z_g`` for any two different factors; sorted only if f < g."""
        return self.pairs[f, g] if f < g else self.pairs[g, f].swapped()


def _products(index: NDArray[np.intp], size: int, left: Array, right: Array) -> Array:
    """Sum over rows of ``left_i right_i'`` by `index`, shape (size, p1, p2)."""
    n, p1 = left.shape
    p2 = right.shape[1]
    if p1 == p2 == 1:
        flat = left[:, 0] * right[:, 0]
        sums = np.asarray(np.bincount(index, flat, size), dtype=np.float64)
        return sums.reshape(size, 1, 1)
    width = p1 * p2
    if n * width <= _CHUNK and width <= 16:
        flat_index = (index[:, None] * width + np.arange(width)).ravel()
        flat = (left[:, :, None] * right[:, None, :]).ravel()
        totals = np.bincount(flat_index, flat, size * width)
        return np.asarray(totals, dtype=np.float64).reshape(size, p1, p2)
    out = np.empty((size, p1, p2))
    for a in range(p1):
        for b in range(p2):
            if right is left and b < a:
                out[:, a, b] = out[:, b, a]
            else:
                out[:, a, b] = np.bincount(index, left[:, a] * right[:, b], size)
    return out


def _observed(
    first: Factor, second: Factor
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Observed pairs of levels (rows, cols) and the pair of each row of the data."""
    key = first.codes * second.levels + second.codes
    cells = first.levels * second.levels
    if cells <= 8 * key.size + 4096:
        present = np.zeros(cells, dtype=bool)
        present[key] = True
        unique = np.flatnonzero(present)
        position = np.empty(cells, dtype=np.intp)
        position[unique] = np.arange(unique.size)
        index = position[key]
    else:
        unique, index = np.unique(key, return_inverse=True)
    return unique // second.levels, unique % second.levels, index


@dataclass(frozen=True)
class Pattern:
    """Which levels occur together, and in which rows: fixed for a model.

    Attributes
    ----------
    factors : tuple of Factor
    pairs : dict of (f, g) with f < g to (rows, cols, index)
        Levels of each observed pair, and the pair of every row of the data.
    """

    factors: tuple[Factor, ...]
    pairs: dict[
        tuple[int, int], tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]
    ]

    def cross_products(
        self, dense: Array, weights: Array | None = None
    ) -> CrossProducts:
        """``[Z D]' W [Z D]`` in one pass over the rows.

        Parameters
        ----------
        dense : (n, r) array
            Further columns D; r may be 0.
        weights : (n,) array, optional
            Diagonal of W.
        """
        heavy = self.factors
        right = dense
        if weights is not None:
            column = weights[:, None]
            heavy = tuple(
                replace(factor, values=factor.values * column)
                for factor in self.factors
            )
            right = dense * column
        pairs = {}
        for (f, g), (rows, cols, index) in self.pairs.items():
            first, second = heavy[f], self.factors[g]
            blocks = _products(index, rows.size, first.values, second.values)
            pairs[f, g] = Pairs(rows, cols, blocks, (first.levels, second.levels))
        return of_factors(
            self.factors,
            diagonal=[
                _products(light.codes, light.levels, left.values, light.values)
                for left, light in zip(heavy, self.factors, strict=True)
            ],
            pairs=pairs,
            dense=[factor.gather(right) for factor in self.factors],
            gram=dense.T @ right,
        )

    def quadratic(
        self, diagonal: Sequence[Array], pairs: dict[tuple[int, int], Array]
    ) -> Array:
        """Diagonal of ``Z K Z'`` for K given where ``Z'Z`` has entries, (n,).

        Parameters
        ----------
        diagonal : sequence of (l, p, p) arrays
            Blocks of K by level.
        pairs : dict of (f, g) with f < g to (m, p_f, p_g) arrays
            Blocks of K by observed pair of levels.
        """
        h = np.zeros(self.factors[0].codes.size)
        for factor, block in zip(self.factors, diagonal, strict=True):
            V = factor.values
            if block.shape[1] == 1:
                h += V[:, 0] ** 2 * block[factor.codes, 0, 0]
            else:
                h += np.einsum("na,nab,nb->n", V, block[factor.codes], V)
        for (f, g), block in pairs.items():
            index = self.pairs[f, g][2]
            left, right = self.factors[f].values, self.factors[g].values
            if block.shape[1] == block.shape[2] == 1:
                h += 2.0 * left[:, 0] * right[:, 0] * block[index, 0, 0]
            else:
                h += 2.0 * np.einsum("na,nab,nb->n", left, block[index], right)
        return h


def of_factors(
    factors: Sequence[Factor],
    diagonal: Sequence[Array],
    pairs: dict[tuple[int, int], Pairs],
    dense: Sequence[Array],
    gram: Array,
) -> CrossProducts:
    """Cross-products of these factors, from their blocks; see `CrossProducts`."""
    return CrossProducts(
        levels=tuple(factor.levels for factor in factors),
        widths=tuple(factor.values.shape[1] for factor in factors),
        diagonal=tuple(diagonal),
        pairs=pairs,
        dense=tuple(dense),
        gram=gram,
        known=relations(factors),
    )


def relations(factors: Sequence[Factor]) -> tuple[Known | None, ...]:
    """Covariances between the levels of factors; empty where there are none."""
    known = tuple(factor.known for factor in factors)
    return known if any(each is not None for each in known) else ()


def pattern(factors: Sequence[Factor]) -> Pattern:
    """Find the pairs of levels that occur together."""
    pairs = {}
    for g, second in enumerate(factors):
        for f, first in enumerate(factors[:g]):
            pairs[f, g] = _observed(first, second)
    return Pattern(tuple(factors), pairs)


def cross_products(factors: Sequence[Factor], X: Array, y: Array) -> CrossProducts:
    """``[Z X y]'[Z X y]`` in one pass over the rows.

    Parameters
    ----------
    factors : sequence of Factor
    X : (n, px) array
    y : (n,) array
        All already multiplied by the square roots of the weights.
    """
    return pattern(factors).cross_products(np.column_stack([X, y]))


def rows_times(rows: Array, stack: Array) -> Array:
    """``rows @ stack_i`` for a stack (k, p, q), with i last: shape (l, q, k)."""
    k, p, q = stack.shape
    flat = rows @ stack.transpose(1, 2, 0).reshape(p, q * k)
    return flat.reshape(len(rows), q, k)


def by_rows(stack: Array) -> Array:
    """A stack (l, p, r) as a matrix (l p, r); r may be 0."""
    return stack.reshape(stack.shape[0] * stack.shape[1], stack.shape[2])


def multiply(A: CrossProducts, vectors: Sequence[Array]) -> tuple[list[Array], Array]:
    """Products of A with random effects.

    Parameters
    ----------
    vectors : sequence of (l, p, r) arrays
        Coefficients ``c`` of each factor, r right-hand sides.

    Returns
    -------
    list of (l, p, r) arrays
        ``Z'Z c``.
    (px + 1, r) array
        ``[X y]'Z c``.
    """
    out = [
        block * vector if block.shape[1] == 1 else block @ vector
        for block, vector in zip(A.diagonal, vectors, strict=True)
    ]
    vectors[0].shape[2]
    flat = [by_rows(vector) for vector in vectors]
    for (f, g), pair in A.pairs.items():
        out[f] += (pair.matrix @ flat[g]).reshape(out[f].shape)
        out[g] += (pair.transposed @ flat[f]).reshape(out[g].shape)
    below = sum(
        dense.reshape(len(vector), -1).T @ vector
        for dense, vector in zip(A.dense, flat, strict=True)
    )
    return out, np.asarray(below)
