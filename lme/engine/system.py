"""The matrix ``M = Lambda' A_ZZ Lambda + I`` on a constant sparse pattern.

Entries are kept in the order of the blocks of the cross-products: per factor the lower
triangles of its diagonal blocks, then every observed pair of levels, then the pairs of
levels that a known precision ties together. Zeros stay, so that the pattern does not
depend on lambda.

A factor with a known covariance K between levels has ``K^-1 (x) I`` in place of I:
with ``b = (I (x) lambda) w`` and ``w ~ N(0, K (x) I)`` its inverse is all it takes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.engine.crossproducts import CrossProducts
from lme.errors import OptionError

Array = NDArray[np.float64]
Index = NDArray[np.intp]


def _congruence(blocks: Array, left: Array, right: Array) -> Array:
    """``left' B_j right`` for a stack of blocks (m, p1, p2)."""
    if left.size == right.size == 1:
        return blocks * float(left[0, 0] * right[0, 0])
    if left.size * right.size <= 1500:
        # One product with all blocks as rows, not two small products for each.
        flat = blocks.reshape(len(blocks), -1) @ np.kron(left, right)
        return flat.reshape(blocks.shape)
    return np.asarray(left.T @ (blocks @ right))


@dataclass(frozen=True)
class Tie:
    """A known precision between the levels of one factor.

    Attributes
    ----------
    diagonal : (l,) array
    rows, cols : (m,) intp
        Levels of the entries below the diagonal.
    values : (m,) array
    matrix : (l, l) sparse array
    """

    diagonal: Array
    rows: Index
    cols: Index
    values: Array
    matrix: sparse.csc_array


def find_ties(cross: CrossProducts) -> dict[int, Tie]:
    """The known precisions of the factors that have one.

    Raises
    ------
    OptionError
        For a known covariance that is singular.
    """
    out = {}
    for f in range(len(cross.levels)):
        known = cross.relation(f)
        if known is None:
            continue
        precision = known.inverse
        if precision is None:
            raise OptionError(
                "A known covariance between levels is singular.",
                "The kernel 'cholmod' works with its inverse.",
                "Take kernel='auto' or 'blocked'.",
            )
        lower = sparse.coo_array(sparse.tril(precision, -1))
        rows, cols = (each.astype(np.intp) for each in lower.coords)
        out[f] = Tie(precision.diagonal(), rows, cols, lower.data, precision)
    return out


class System:
    """Pattern and numbers of ``M``.

    Parameters
    ----------
    cross : CrossProducts

    Attributes
    ----------
    offsets : list of int
        First row of each factor; the last item is the number of rows.
    rows, cols : (m,) intp
        Where each entry of the lower triangle stands.
    matrix : (q, q) csc_matrix
        The pattern; its entries are not kept up to date.
    """

    def __init__(self, cross: CrossProducts) -> None:
        self.cross = cross
        self.offsets = [int(start) for start in np.cumsum([0, *cross.sizes])]
        self.ties = find_ties(cross)
        self._triangles = [np.tril_indices(p) for p in cross.widths]
        rows, cols = [], []
        for f, (a, b) in enumerate(self._triangles):
            start = self._level_starts(f, np.arange(cross.levels[f]))
            rows.append((start[:, None] + a).ravel())
            cols.append((start[:, None] + b).ravel())
        for (f, g), pair in cross.pairs.items():
            _, p, width = pair.blocks.shape
            first = self._level_starts(f, pair.rows)[:, None] + np.arange(p)
            second = self._level_starts(g, pair.cols)[:, None] + np.arange(width)
            rows.append(np.repeat(second, p, axis=0).ravel())
            cols.append(np.repeat(first.ravel(), width))
        for f, tie in self.ties.items():
            place = np.arange(cross.widths[f])
            first = self._level_starts(f, tie.rows)[:, None] + place
            second = self._level_starts(f, tie.cols)[:, None] + place
            rows.append(np.repeat(first.ravel(), place.size))
            cols.append(np.repeat(second, place.size, axis=0).ravel())
        bounds = np.cumsum([0, *(part.size for part in rows)])
        self._parts = [slice(*ends) for ends in pairwise(bounds)]
        self.rows, self.cols = np.concatenate(rows), np.concatenate(cols)
        # Sorting by conversion: the entries are their own positions.
        numbers = np.arange(self.rows.size, dtype=float)
        shape = (self.offsets[-1], self.offsets[-1])
        self.matrix = sparse.csc_matrix((numbers, (self.rows, self.cols)), shape=shape)
        self.matrix.sort_indices()
        self._order = self.matrix.data.astype(np.intp)
        self._entries = np.empty(self.rows.size)
        for (f, tie), part in zip(self.ties.items(), self._tied(), strict=True):
            block = tie.values[:, None, None] * np.eye(cross.widths[f])
            self._entries[part] = block.ravel()
        self._inner: list[Array] = []

    def _level_starts(self, f: int, levels: Index) -> Index:
        return self.offsets[f] + levels * self.cross.widths[f]

    def _tied(self) -> list[slice]:
        """Where the entries of the ties stand."""
        return self._parts[len(self.cross.levels) + len(self.cross.pairs) :]

    def assemble(self, lambdas: Sequence[Array]) -> Array:
        """Entries of ``M`` in the order of `matrix`."""
        cross = self.cross
        self._inner = [
            _congruence(blocks, lam, lam)
            for blocks, lam in zip(cross.diagonal, lambdas, strict=True)
        ]
        parts = iter(self._parts)
        for f, (inner, (a, b)) in enumerate(
            zip(self._inner, self._triangles, strict=True)
        ):
            lower = inner[:, a, b]
            tie = self.ties.get(f)
            lower[:, a == b] += 1.0 if tie is None else tie.diagonal[:, None]
            self._entries[next(parts)] = lower.ravel()
        for (f, g), pair in cross.pairs.items():
            block = _congruence(pair.blocks, lambdas[f], lambdas[g])
            self._entries[next(parts)] = block.ravel()
        return self._entries[self._order]

    def diagonal(self, entries: Array) -> list[Array]:
        """Diagonal blocks per factor, (l, p, p), of a matrix with these entries."""
        out = []
        for part, (a, b), p in zip(
            self._parts, self._triangles, self.cross.widths, strict=False
        ):
            values = entries[part].reshape(-1, a.size)
            block = np.empty((len(values), p, p))
            block[:, a, b] = values
            block[:, b, a] = values
            out.append(block)
        return out

    def between(self, entries: Array) -> dict[tuple[int, int], Array]:
        """Blocks of the observed pairs of levels of a matrix with these entries."""
        return {
            key: entries[part].reshape(pair.blocks.shape)
            for (key, pair), part in zip(
                self.cross.pairs.items(), self._paired(), strict=True
            )
        }

    def _paired(self) -> list[slice]:
        """Where the entries of the pairs of levels of two factors stand."""
        first = len(self.cross.levels)
        return self._parts[first : first + len(self.cross.pairs)]

    def prior_times(self, f: int, x: Array) -> Array:
        """``K^-1 x`` along the levels of one factor, for x (r, l, p)."""
        tie = self.ties.get(f)
        if tie is None:
            return x
        turned = np.moveaxis(x, 1, 0)
        product = tie.matrix @ turned.reshape(len(turned), x.shape[0] * x.shape[2])
        return np.moveaxis(product.reshape(turned.shape), 0, 1)

    def prior_products(self, entries: Array) -> list[Array]:
        """Per factor ``sum_j ((K^-1 (x) I) S)_jj`` for symmetric S with these entries.

        The sum of the diagonal blocks of S where the levels are independent.
        """
        out = []
        for f, block in enumerate(self.diagonal(entries)):
            tie = self.ties.get(f)
            if tie is None:
                out.append(block.sum(axis=0))
            else:
                out.append(np.tensordot(tie.diagonal, block, axes=1))
        for (f, tie), part in zip(self.ties.items(), self._tied(), strict=True):
            p = self.cross.widths[f]
            inner = np.tensordot(tie.values, entries[part].reshape(-1, p, p), axes=1)
            out[f] = out[f] + inner + inner.T
        return out

    def products(self, entries: Array) -> list[Array]:
        """Per factor ``sum_j ((M - I) S)_jj`` for symmetric S with these entries."""
        out = [
            np.tensordot(inner, block, axes=([0, 2], [0, 2]))
            for inner, block in zip(self._inner, self.diagonal(entries), strict=True)
        ]
        for ((f, g), pair), part in zip(
            self.cross.pairs.items(), self._paired(), strict=True
        ):
            shape = pair.blocks.shape
            if shape[1] == shape[2] == 1:
                value = np.dot(self._entries[part], entries[part])
                out[f] += value
                out[g] += value
                continue
            M = self._entries[part].reshape(shape)
            S = entries[part].reshape(shape)
            out[f] += np.tensordot(M, S, axes=([0, 2], [0, 2]))
            out[g] += np.tensordot(M, S, axes=([0, 1], [0, 1]))
        return out
