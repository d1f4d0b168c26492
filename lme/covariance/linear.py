"""Structures whose factor is linear in the parameters."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


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
    independent = False
    linear = True

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

    def natural(self, theta: Array, p: int) -> Array:
        """The entries of the factor themselves."""
        return theta

    def interior(self, values: Array, p: int) -> Array:
        """The entries of the factor themselves."""
        return values

    def labels(self, columns: Sequence[str]) -> list[str]:
        """lme4's names: ``Days.(Intercept)`` for row Days, column (Intercept)."""
        rows, cols = _positions(len(columns))
        return [
            columns[i] if i == j else f"{columns[i]}.{columns[j]}"
            for i, j in zip(rows, cols, strict=True)
        ]

    def lower(self, p: int) -> Array:
        """0 for diagonal entries, -inf for the others, shape (size,)."""
        rows, cols = _positions(p)
        return np.where(rows == cols, 0.0, -np.inf)

    def start(self, p: int) -> Array:
        """Parameters of the identity factor, shape (size,)."""
        rows, cols = _positions(p)
        start: Array = (rows == cols).astype(float)
        return start

    def idle(self, theta: Array, p: int) -> NDArray[np.bool_]:
        """None."""
        return np.zeros(theta.size, dtype=bool)

    def even(self, p: int) -> NDArray[np.bool_]:
        """Only the last column of the factor has a single entry."""
        cols = _positions(p)[1]
        last: NDArray[np.bool_] = cols == p - 1
        return last


class Diagonal:
    """Independent random effects with a variance each (``zerocorr``, ``diag``)."""

    basis = "diagonal"
    independent = True
    linear = True

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

    def natural(self, theta: Array, p: int) -> Array:
        """The entries of the factor themselves."""
        return theta

    def interior(self, values: Array, p: int) -> Array:
        """The entries of the factor themselves."""
        return values

    def labels(self, columns: Sequence[str]) -> list[str]:
        """The names of the columns."""
        return list(columns)

    def lower(self, p: int) -> Array:
        """All zeros, shape (p,)."""
        return np.zeros(p)

    def start(self, p: int) -> Array:
        """All ones, shape (p,)."""
        return np.ones(p)

    def idle(self, theta: Array, p: int) -> NDArray[np.bool_]:
        """None."""
        return np.zeros(theta.size, dtype=bool)

    def even(self, p: int) -> NDArray[np.bool_]:
        """All of them, shape (p,)."""
        return np.ones(p, dtype=bool)


class EqualVariances:
    """Independent random effects with one variance (``diag(x | g, hom=TRUE)``)."""

    basis = "scalar"
    independent = True
    linear = True

    def size(self, p: int) -> int:
        """One parameter."""
        return 1

    def factor(self, theta: Array, p: int) -> Array:
        """The factor ``theta I``, shape (p, p)."""
        return np.asarray(theta[0] * np.eye(p))

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta``, shape (1, p, p); constant."""
        return np.eye(p)[None]

    def pack(self, factor: Array) -> Array:
        """Root of the mean variance, shape (1,)."""
        return np.array([np.sqrt(np.vdot(factor, factor) / len(factor))])

    def natural(self, theta: Array, p: int) -> Array:
        """The relative standard deviation."""
        return theta

    def interior(self, values: Array, p: int) -> Array:
        """The relative standard deviation."""
        return values

    def labels(self, columns: Sequence[str]) -> list[str]:
        """One name."""
        return ["sd"]

    def lower(self, p: int) -> Array:
        """Zero, shape (1,)."""
        return np.zeros(1)

    def start(self, p: int) -> Array:
        """One, shape (1,)."""
        return np.ones(1)

    def idle(self, theta: Array, p: int) -> NDArray[np.bool_]:
        """None."""
        return np.zeros(theta.size, dtype=bool)

    def even(self, p: int) -> NDArray[np.bool_]:
        """True, shape (1,)."""
        return np.ones(1, dtype=bool)
