"""Grouping factors and the template of the relative covariance factor Lambda.

Terms that share a grouping factor are amalgamated: their columns stand side by side
in one block per level, and their factors on the diagonal of one ``lambda``. The
search works in a basis in which the columns of each term have unit mean squares and,
where the structure allows it, no cross-products; a user's units never reach it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.covariance import Structure
from lme.covariance.held import Held
from lme.covariance.known import Known
from lme.engine.bases import internal_basis

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Term:
    """One random-effects term as arrays.

    Attributes
    ----------
    codes : (n,) intp
        Level of each row, 0-based.
    levels : int
        Number of levels.
    values : (n, p) float64
        The term's columns.
    structure : Structure
        Maps the term's parameters to its ``p x p`` factor.
    group : int
        Index of the grouping factor; terms with one group share their codes.
    known : Known or None
        Covariance between the levels, of the whole grouping factor; None: independent.
    place : (k,) intp or None
        Positions of the term's parameters among those of the search, where terms share
        some; None: they follow those of the term before.
    """

    codes: NDArray[np.intp]
    levels: int
    values: Array
    structure: Structure
    group: int
    known: Known | None = None
    place: NDArray[np.intp] | None = None


#: Up to so many columns, and numbers in all, ``Z'x`` is summed column by column.
_FEW_COLUMNS, _FEW = 20, 20_000


@dataclass(frozen=True)
class Factor:
    """A grouping factor with the columns of all its terms.

    Attributes
    ----------
    codes : (n,) intp
    levels : int
    values : (n, p) float64
        Columns in the internal basis, multiplied by the square root of the weights.
    known : Known or None
        Covariance between the levels; None: they are independent.
    """

    codes: NDArray[np.intp]
    levels: int
    values: Array
    known: Known | None = None

    @cached_property
    def transposed(self) -> list[sparse.csr_matrix]:
        """``Z'`` for each column of the factor, (levels, n) by rows."""
        n, p = self.values.shape
        indptr = np.arange(n + 1)
        return [
            sparse.csr_matrix(
                (self.values[:, a], self.codes, indptr), shape=(n, self.levels)
            ).T.tocsr()
            for a in range(p)
        ]

    def gather(self, x: Array) -> Array:
        """``Z'x``: (l, p) for x (n,), (l, p, r) for x (n, r)."""
        p = self.values.shape[1]
        out = np.empty((self.levels, p, *x.shape[1:]))
        # Few sums by column take less time than the set-up of a sparse matrix.
        count = x[:1].size
        if count > 2 and (count > _FEW_COLUMNS or x.size > _FEW):
            for a, Zt in enumerate(self.transposed):
                out[:, a] = np.asarray(Zt @ x)
            return out
        columns = [x] if x.ndim == 1 else list(x.T)
        sums = out.reshape(self.levels, p, len(columns))
        for a in range(p):
            for r, column in enumerate(columns):
                product = self.values[:, a] * column
                sums[:, a, r] = np.bincount(self.codes, product, self.levels)
        return out


def spread(known: Known | None, x: Array) -> Array:
    """``K x`` with K the covariance between the levels, for x (l, ...)."""
    return x if known is None else known.spread(x)


def colour(known: Known | None, u: Array) -> Array:
    """``T u`` with ``T T' = K``: effects from independent ones, for u (l, ...)."""
    return u if known is None else known.colour(u)


def gather(known: Known | None, x: Array) -> Array:
    """``T' x``, for x (l, ...)."""
    return x if known is None else known.gather(x)


@dataclass(frozen=True, slots=True)
class Slot:
    """Where one term stands: its factor, columns, parameters and change of basis.

    Random effects of the user's columns are ``b = basis @ b (internal)``; the factor in
    the user's basis is the lower-triangular one of the same covariance.

    Attributes
    ----------
    factor : int
    columns : slice
    theta : slice or (r,) intp
        The term's parameters among those of the search; terms may share some.
    entries : slice
        The term's elements among the user's, of which some may be held.
    structure : Structure
    basis, inverse : (p, p) arrays
    """

    factor: int
    columns: slice
    theta: slice | NDArray[np.intp]
    structure: Structure
    basis: Array
    inverse: Array
    entries: slice

    @property
    def block(self) -> tuple[Any, ...]:
        """The term's parameters by its parameters, as an index of matrices."""
        if isinstance(self.theta, slice):
            return self.theta, self.theta
        return np.ix_(self.theta, self.theta)

    def outward(self, factor: Array) -> tuple[Array, Array]:
        """Factor in the user's basis, and the rotation of the spherical effects.

        With ``basis @ factor = L Q`` these are L and Q: spherical effects u become Q u.
        """
        return lower_factor(self.basis @ factor)


@dataclass(frozen=True, slots=True)
class Template:
    """How the parameter vector fills the factors' ``lambda`` matrices.

    Attributes
    ----------
    slots : tuple of Slot
    widths : tuple of int
    size : int
        Number of parameters of the search.
    count : int
        Number of the user's elements of theta; more where some are held.
    """

    slots: tuple[Slot, ...]
    widths: tuple[int, ...]
    size: int
    count: int

    def even(self) -> NDArray[np.bool_]:
        """Parameters of whose sign alone the criterion is independent, (k,)."""
        out = np.ones(self.size, dtype=bool)
        for slot in self.slots:
            p = slot.columns.stop - slot.columns.start
            out[slot.theta] &= slot.structure.even(p)
        return out

    def idle(self, theta: Array) -> NDArray[np.bool_]:
        """Parameters so far out that the covariance has ceased to change, (k,)."""
        out = np.ones(self.size, dtype=bool)
        for slot in self.slots:
            p = slot.columns.stop - slot.columns.start
            out[slot.theta] &= slot.structure.idle(theta[slot.theta], p)
        return out

    def lambdas(self, theta: Array) -> list[Array]:
        """Per factor ``lambda`` (p, p) in the internal basis."""
        out = [np.zeros((p, p)) for p in self.widths]
        for slot in self.slots:
            p = slot.columns.stop - slot.columns.start
            block = slot.structure.factor(theta[slot.theta], p)
            out[slot.factor][slot.columns, slot.columns] = block
        return out

    def jacobians(self, theta: Array) -> list[Array]:
        """Per term ``d lambda / d theta``, shape (size, p, p)."""
        return [
            slot.structure.jacobian(
                theta[slot.theta], slot.columns.stop - slot.columns.start
            )
            for slot in self.slots
        ]

    def external(self, theta: Array) -> Array:
        """Parameters in the user's basis from those of the search."""
        out = np.empty(self.count)
        for slot in self.slots:
            p = slot.columns.stop - slot.columns.start
            if isinstance(slot.structure, Held):
                out[slot.entries] = slot.structure.natural(theta[slot.theta], p)
                continue
            block = slot.structure.factor(theta[slot.theta], p)
            outer = slot.structure.pack(slot.outward(block)[0])
            out[slot.entries] = slot.structure.natural(outer, p)
        return out

    def internal(self, theta: Array) -> Array:
        """Parameters of the search from those in the user's basis."""
        out = np.empty(self.size)
        for slot in self.slots:
            p = slot.columns.stop - slot.columns.start
            values = np.asarray(theta, float)[slot.entries]
            if isinstance(slot.structure, Held):
                out[slot.theta] = slot.structure.interior(values, p)
                continue
            block = slot.structure.factor(slot.structure.interior(values, p), p)
            inner, _ = lower_factor(slot.inverse @ block)
            out[slot.theta] = slot.structure.pack(inner)
        return out

    def canonical(self, theta: Array) -> Array:
        """The same covariance with non-negative diagonals (internal basis).

        A column with a zero on the diagonal stands for a direction without variance;
        the factor is then that of the semidefinite Cholesky decomposition, whose
        column is zero altogether.
        """
        out = theta.copy()
        for slot in self.slots:
            p = slot.columns.stop - slot.columns.start
            if isinstance(slot.structure, Held):
                out[slot.theta] = slot.structure.canonical(theta[slot.theta], p)
                continue
            factor = slot.structure.factor(theta[slot.theta], p)
            if not slot.structure.linear:
                out[slot.theta] = slot.structure.pack(lower_factor(factor)[0])
                continue
            if (factor.diagonal() == 0.0).any():
                factor = _semidefinite_cholesky(factor)
            sign = np.where(factor.diagonal() < 0.0, -1.0, 1.0)
            out[slot.theta] = slot.structure.pack(factor * sign)
        return out


def _semidefinite_cholesky(factor: Array) -> Array:
    """Lower-triangular ``L`` with ``L L' = factor factor'`` and null columns zero."""
    remaining = factor @ factor.T
    p = len(remaining)
    L = np.zeros((p, p))
    bound = 1e-14 * max(float(remaining.diagonal().max()), 1e-300)
    for j in range(p):
        pivot = remaining[j, j]
        if pivot > bound:
            L[j:, j] = remaining[j:, j] / np.sqrt(pivot)
            remaining = remaining - np.outer(L[:, j], L[:, j])
    return L


def _lower_factor_of_two(matrix: Array) -> tuple[Array, Array] | None:
    """`lower_factor` of a regular 2 x 2 matrix, ten times as fast; else None."""
    (m00, m01), (m10, m11) = matrix.tolist()
    first = math.hypot(m00, m01)
    last = (m00 * m11 - m01 * m10) / first
    if not abs(last) > 1e-10 * max(first, abs(m10), abs(m11)):
        return None
    c, s, sign = m00 / first, m01 / first, math.copysign(1.0, last)
    L = np.array([[first, 0.0], [m10 * c + m11 * s, abs(last)]])
    return L, np.array([[c, s], [-s * sign, c * sign]])


def lower_factor(matrix: Array) -> tuple[Array, Array]:
    """``L Q = matrix`` with L lower triangular, its diagonal >= 0, and Q a rotation.

    Where the matrix is singular, null columns of L are exactly zero and Q need not be
    a whole rotation.
    """
    if len(matrix) == 2 and matrix[0, 1] != 0.0:
        pair = _lower_factor_of_two(matrix)
        if pair is not None:
            return pair
    if len(matrix) == 1 or not np.triu(matrix, 1).any():
        sign = np.where(matrix.diagonal() < 0.0, -1.0, 1.0)
        return matrix * sign, np.diag(sign)
    Q, R = np.linalg.qr(matrix.T)
    if np.abs(R.diagonal()).min() > 1e-10 * np.abs(matrix).max():
        sign = np.where(R.diagonal() < 0.0, -1.0, 1.0)
        return R.T * sign, (Q * sign).T
    L = _semidefinite_cholesky(matrix)
    rotation = np.linalg.lstsq(L, matrix, rcond=None)[0]
    return L, np.asarray(rotation, dtype=np.float64)


def assemble(
    terms: Sequence[Term], sqrt_weights: Array | None
) -> tuple[tuple[Factor, ...], Template]:
    """Amalgamate terms by grouping factor and lay out the parameters.

    Parameters
    ----------
    terms : sequence of Term
        In the order in which the parameters run.
    sqrt_weights : (n,) array or None
        Square roots of the case weights.

    Returns
    -------
    factors : tuple of Factor
        One for each group, in order of first appearance.
    template : Template
    """
    groups: dict[int, int] = {}
    columns: list[list[Array]] = []
    shapes: list[tuple[NDArray[np.intp], int, Known | None]] = []
    slots: list[Slot] = []
    offset = entry = 0
    for term in terms:
        values = np.ascontiguousarray(term.values, dtype=float)
        if sqrt_weights is not None:
            values = values * sqrt_weights[:, None]
        f = groups.setdefault(term.group, len(groups))
        if f == len(columns):
            columns.append([])
            shapes.append((term.codes, term.levels, term.known))
        inner, basis, inverse = internal_basis(values, term.structure)
        start = sum(block.shape[1] for block in columns[f])
        p = values.shape[1]
        columns[f].append(inner)
        k = term.structure.size(p)
        entries = term.structure.entries if isinstance(term.structure, Held) else k
        slots.append(
            Slot(
                f,
                slice(start, start + p),
                slice(offset, offset + k) if term.place is None else term.place,
                term.structure,
                basis,
                inverse,
                slice(entry, entry + entries),
            )
        )
        offset += k
        entry += entries
    factors = tuple(
        Factor(
            codes, levels, blocks[0] if len(blocks) == 1 else np.hstack(blocks), known
        )
        for (codes, levels, known), blocks in zip(shapes, columns, strict=True)
    )
    widths = tuple(factor.values.shape[1] for factor in factors)
    placed = [term.place for term in terms if term.place is not None]
    if placed:
        offset = int(np.concatenate(placed).max(initial=-1)) + 1
    return factors, Template(tuple(slots), widths, offset, entry)
