"""Dense columns turned so that a known covariance between levels is an identity.

With ``K = T T'`` the random effects of a factor are ``b = (T (x) lambda) u``; what
multiplies ``(I (x) lambda) u`` is ``Z (T (x) I)``. The cross-products of all levels are
turned once, and everything that is asked of the levels themselves is turned back.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from lme.engine.crossproducts import CrossProducts, Pairs

Array = NDArray[np.float64]


def _forth(T: Array | None, rows: Array, p: int) -> Array:
    """``(T' (x) I_p) rows``."""
    if T is None:
        return rows
    columns = rows.shape[1]
    flat = T.T @ rows.reshape(len(T), p * columns)
    return flat.reshape(T.shape[1] * p, columns)


def _back(T: Array | None, rows: Array, p: int) -> Array:
    """``(T (x) I_p) rows``."""
    if T is None:
        return rows
    columns = rows.shape[1]
    flat = T @ rows.reshape(T.shape[1], p * columns)
    return flat.reshape(len(T) * p, columns)


class Rotation:
    """The factors of a dense stage, by level and turned.

    Parameters
    ----------
    cross : CrossProducts
        With a known covariance for one of the factors at least.
    factors : sequence of int

    Attributes
    ----------
    halves : list of (l, r) arrays or None
        ``T`` of each factor; None for the identity.
    ranks : list of int
        Turned levels of each factor, r.
    offsets : list of int
        First row of each factor, by level.
    """

    def __init__(self, cross: CrossProducts, factors: Sequence[int]) -> None:
        self.factors = list(factors)
        self.widths = [cross.widths[g] for g in factors]
        self.levels = [cross.levels[g] for g in factors]
        self._known = [cross.relation(g) for g in factors]
        self.halves = [None if one is None else one.half for one in self._known]
        self.ranks = [
            levels if T is None else T.shape[1]
            for levels, T in zip(self.levels, self.halves, strict=True)
        ]
        sizes = [n * p for n, p in zip(self.levels, self.widths, strict=True)]
        turned = [n * p for n, p in zip(self.ranks, self.widths, strict=True)]
        self.offsets = [int(start) for start in np.cumsum([0, *sizes])[:-1]]
        self._ends = np.cumsum(sizes)[:-1]
        self._turned_ends = np.cumsum(turned)[:-1]

    def forth(self, rows: Array) -> Array:
        """Turned rows (m, c) from rows by level (M, c)."""
        parts = np.split(rows, self._ends)
        each = zip(self.halves, parts, self.widths, strict=True)
        return np.vstack([_forth(T, part, p) for T, part, p in each])

    def back(self, rows: Array) -> Array:
        """``T rows``: by level (M, c) from turned rows (m, c)."""
        parts = np.split(rows, self._turned_ends)
        each = zip(self.halves, parts, self.widths, strict=True)
        return np.vstack([_back(T, part, p) for T, part, p in each])

    def product(self, cross: CrossProducts, i: int, j: int) -> Array | None:
        """``T_i' Z_i'Z_j T_j``; None where neither factor is turned."""
        left, right = self.halves[i], self.halves[j]
        if left is None and right is None:
            return None
        if i == j and left is not None:
            return _own_product(cross.diagonal[self.factors[i]], left)
        pair = cross.between(self.factors[i], self.factors[j])
        return _forth(left, turn_columns(pair, right), self.widths[i])

    def diagonal_blocks(self, i: int, P: Array) -> Array:
        """Blocks by level (l, p, p) of ``T P T'`` for a turned factor's own P."""
        T, p = self.halves[i], self.widths[i]
        if T is None:
            raise ValueError("The factor is not turned.")
        half = _back(T, P, p).reshape(len(T), p, -1, p)
        return np.asarray(np.einsum("lakb,lk->lab", half, T, optimize=True))

    def without_rows(self, i: int, stack: Array, lam: Array) -> Array:
        """What levels without rows add to ``Lambda M^-1 Lambda' r``, r (l, p, c)."""
        known = self._known[i]
        rest = None if known is None else known.rest
        if rest is None:
            return np.zeros_like(stack)
        inner = (lam @ lam.T) @ stack
        return (rest @ inner.reshape(len(rest), -1)).reshape(stack.shape)

    def variances_without_rows(self, i: int, lam: Array) -> Array:
        """The blocks of that by level, (l, p, p)."""
        known = self._known[i]
        rest = None if known is None else known.rest
        size = np.zeros(self.levels[i]) if rest is None else rest.diagonal()
        return np.asarray(size[:, None, None] * (lam @ lam.T))


def _own_product(diagonal: Array, T: Array) -> Array:
    """``(T (x) I)' A (T (x) I)`` for block diagonal A (l, p, p)."""
    p, r = diagonal.shape[1], T.shape[1]
    seen = np.flatnonzero(diagonal.any(axis=(1, 2)))
    A, T = diagonal[seen], T[seen]
    out = np.empty((r * p, r * p))
    for a in range(p):
        for b in range(a + 1):
            weights = A[:, a, b]
            if (weights >= 0.0).all():
                half = np.sqrt(weights)[:, None] * T
                lower = blas.dsyrk(1.0, half.T, lower=1)
                block = np.tril(lower) + np.tril(lower, -1).T
            else:
                block = (T * weights[:, None]).T @ T
            out[a::p, b::p] = block
            out[b::p, a::p] = block
    return out


def turn_columns(pair: Pairs, T: Array | None) -> Array:
    """``Z_f'Z_g (T (x) I)`` as a dense matrix, g the second factor of the pair."""
    if (np.diff(pair.rows) < 0).any():
        order = np.argsort(pair.rows, kind="stable")
        rows, cols = pair.rows[order], pair.cols[order]
        pair = Pairs(rows, cols, pair.blocks[order], pair.shape)
    matrix = pair.matrix
    if T is None:
        return np.asarray(matrix.toarray())
    width = pair.blocks.shape[2]
    out = np.empty((matrix.shape[0], T.shape[1] * width))
    columns = matrix.tocsc()
    for b in range(width):
        out[:, b::width] = columns[:, b::width] @ T
    return out
