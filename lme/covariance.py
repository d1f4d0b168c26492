"""Covariance structures of one random-effects term.

A structure maps a parameter vector ``theta`` to the relative covariance factor
``lambda`` of one term, a lower-triangular ``p x p`` matrix on the scale
"standard deviation of the random effect / residual standard deviation", so that
``Var(b) = sigma^2 lambda lambda'`` for the random effects ``b`` of one level.

The engine needs four things of a structure and nothing else: the factor, its
Jacobian, a start, and which changes of basis of the term's columns it survives
(``basis``). A new structure is one class here and one row in `STRUCTURES`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Structure(Protocol):
    """What the engine asks of a covariance structure for ``p`` columns."""

    #: "triangular": `lambda` may be premultiplied by any lower-triangular matrix
    #: and stays in the family; "diagonal": by any diagonal matrix.
    basis: str

    def size(self, p: int) -> int:
        """Number of parameters."""

    def factor(self, theta: Array, p: int) -> Array:
        """The factor ``lambda``, shape (p, p)."""

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (size, p, p)."""

    def pack(self, factor: Array) -> Array:
        """The parameters whose factor is `factor`."""

    def lower(self, p: int) -> Array:
        """Lower bounds in lme4's convention: 0 or -inf, shape (size,)."""

    def start(self, p: int) -> Array:
        """Parameters of the identity factor, shape (size,)."""

    def even(self, p: int) -> NDArray[np.bool_]:
        """Parameters whose sign alone does not change the covariance, (size,)."""


@lru_cache(maxsize=64)
def _positions(p: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the lower triangle in column-major order."""
    cols, rows = np.triu_indices(p)
    return rows, cols


@lru_cache(maxsize=64)
def _triangular_jacobian(p: int) -> Array:
    rows, cols = _positions(p)
    jacobian = np.zeros((rows.size, p, p))
    jacobian[np.arange(rows.size), rows, cols] = 1.0
    jacobian.setflags(write=False)
    return jacobian


@lru_cache(maxsize=64)
def _diagonal_jacobian(p: int) -> Array:
    jacobian = np.zeros((p, p, p))
    index = np.arange(p)
    jacobian[index, index, index] = 1.0
    jacobian.setflags(write=False)
    return jacobian


class Unstructured:
    """Any positive semidefinite covariance: the whole lower triangle is free.

    Notes
    -----
    Parameters run down the columns of the lower triangle, as in lme4: for three
    columns 11, 21, 31, 22, 32, 33 (Bates, Maechler, Bolker & Walker 2015, J. Stat.
    Softw. 67(1), section 2.2, doi:10.18637/jss.v067.i01).

    Examples
    --------
    >>> Unstructured().factor(np.array([1.0, 0.5, 2.0]), 2)
    array([[1. , 0. ],
           [0.5, 2. ]])
    """

    basis = "triangular"

    def size(self, p: int) -> int:
        """Number of parameters, ``p (p + 1) / 2``."""
        return p * (p + 1) // 2

    def factor(self, theta: Array, p: int) -> Array:
        """The factor ``lambda``, shape (p, p)."""
        factor = np.zeros((p, p))
        factor[_positions(p)] = theta
        return factor

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (size, p, p); constant."""
        return _triangular_jacobian(p)

    def pack(self, factor: Array) -> Array:
        """The parameters whose factor is `factor`, shape (size,)."""
        return factor[_positions(factor.shape[0])]

    def lower(self, p: int) -> Array:
        """0 for diagonal entries, -inf for the others, shape (size,)."""
        rows, cols = _positions(p)
        return np.where(rows == cols, 0.0, -np.inf)

    def start(self, p: int) -> Array:
        """Parameters of the identity factor, shape (size,)."""
        rows, cols = _positions(p)
        start: Array = (rows == cols).astype(float)
        return start

    def even(self, p: int) -> NDArray[np.bool_]:
        """Only the last column of the factor has a single entry."""
        cols = _positions(p)[1]
        last: NDArray[np.bool_] = cols == p - 1
        return last


class Diagonal:
    """Independent random effects with a variance each (``zerocorr``, ``diag``)."""

    basis = "diagonal"

    def size(self, p: int) -> int:
        """Number of parameters, ``p``."""
        return p

    def factor(self, theta: Array, p: int) -> Array:
        """The factor ``lambda``, shape (p, p)."""
        return np.diag(theta)

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (p, p, p); constant."""
        return _diagonal_jacobian(p)

    def pack(self, factor: Array) -> Array:
        """The parameters whose factor is `factor`, shape (p,)."""
        return np.array(np.diag(factor))

    def lower(self, p: int) -> Array:
        """All zeros, shape (p,)."""
        return np.zeros(p)

    def start(self, p: int) -> Array:
        """All ones, shape (p,)."""
        return np.ones(p)

    def even(self, p: int) -> NDArray[np.bool_]:
        """All of them, shape (p,)."""
        return np.ones(p, dtype=bool)


STRUCTURES: dict[str, Structure] = {"us": Unstructured(), "diag": Diagonal()}
