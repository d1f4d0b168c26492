"""Marginal residuals freed from their covariance by its Cholesky factor.

``L^-1 r`` with ``L L' = V`` takes the rows in turn: each residual less what those
before it lead one to expect, over the standard deviation of that. Rows that share no
level of any factor are independent, so the work is done part by part.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import cholesky, solve_triangular
from scipy.sparse.csgraph import connected_components

from lme.engine.relcov import Factor
from lme.errors import FitError

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Numbers in a stack of covariances.
_STACK = 4_000_000
#: Multiplications of one part, and numbers in its largest matrix, that are allowed.
_MOST_WORK = 4e12
_MOST_NUMBERS = 4e8
#: Rows that are taken at a time where a part has many.
_BLOCK = 256


def independent_parts(factors: tuple[Factor, ...]) -> Rows:
    """Number of the independent part that each row belongs to, (n,).

    Parameters
    ----------
    factors : tuple of Factor
    """
    codes = factors[0].codes
    if any(factor.known is not None for factor in factors):
        return np.zeros(codes.size, dtype=np.intp)
    if len(factors) == 1:
        return codes
    offsets = np.cumsum([0, *(factor.levels for factor in factors)])
    count = int(offsets[-1])
    first = np.tile(codes, len(factors) - 1)
    others = np.concatenate(
        [f.codes + o for f, o in zip(factors[1:], offsets[1:-1], strict=True)]
    )
    graph = sparse.coo_array((np.ones(first.size), (first, others)), (count, count))
    _, labels = connected_components(graph, directed=False)
    return np.asarray(labels[codes], dtype=np.intp)


def whiten(factors: tuple[Factor, ...], lambdas: list[Array], values: Array) -> Array:
    """``L^-1 x`` with ``L L' = I + Z Lambda Lambda' Z'``, rows in their order, (n,).

    Parameters
    ----------
    factors : tuple of Factor
        Columns multiplied by the square roots of the weights.
    lambdas : list of (p, p) arrays
        Relative covariance factor of each.
    values : (n,) array

    Raises
    ------
    FitError
        Where a part of a crossed design is too large for it.

    Notes
    -----
    A part with few rows takes the Cholesky factor of their covariance. Otherwise
    blocks of rows are taken in turn, with the distribution of the part's random effects
    given the blocks before, which costs rows times random effects squared.
    """
    labels = independent_parts(factors)
    order = np.argsort(labels, kind="stable")
    counts = np.bincount(labels)
    counts = counts[counts > 0]
    starts = np.cumsum(counts) - counts
    out = np.empty_like(values)
    for size in np.unique(counts):
        first = starts[counts == size]
        rows = order[first[:, None] + np.arange(size)]
        if _dense_is_better(factors, rows):
            _whiten_dense(factors, lambdas, values, rows, out)
            continue
        for part in rows:
            out[part] = _whiten_in_turn(factors, lambdas, values, part)
    return out


def _columns(factors: tuple[Factor, ...], rows: Rows) -> int:
    """Random effects that some rows depend on."""
    return sum(
        np.unique(factor.codes[rows]).size * factor.values.shape[1]
        for factor in factors
    )


def _dense_is_better(factors: tuple[Factor, ...], rows: Rows) -> bool:
    """Whether parts of these sizes are better taken whole than in turn."""
    m = float(rows.shape[1])
    if m <= _BLOCK:
        return True
    q = float(_columns(factors, rows[0]))
    whole, in_turn = m**3 / 3.0, 2.0 * m * q**2
    if any(factor.known is not None for factor in factors):
        in_turn = np.inf
    least = min(whole, in_turn)
    side = m if whole <= in_turn else q
    if least > _MOST_WORK or side**2 > _MOST_NUMBERS:
        raise FitError(
            f"{int(m):,} rows with {int(q):,} random effects depend on one another: "
            f"their covariance would take {least:.0e} multiplications.",
            f"At most {_MOST_WORK:.0e} are allowed, and matrices of 20,000 rows.",
            "Use other residuals, such as standardize='leverage'.",
        )
    return whole <= in_turn


def _whiten_dense(
    factors: tuple[Factor, ...],
    lambdas: list[Array],
    values: Array,
    rows: Rows,
    out: Array,
) -> None:
    """Parts of one size, (parts, m) rows, by the factors of their covariances."""
    m = rows.shape[1]
    step = max(1, _STACK // m**2)
    for first in range(0, len(rows), step):
        some = rows[first : first + step]
        V = np.tile(np.eye(m), (len(some), 1, 1))
        for factor, lam in zip(factors, lambdas, strict=True):
            half = factor.values[some] @ lam
            codes = factor.codes[some]
            related: Array = codes[:, :, None] == codes[:, None, :]
            if factor.known is not None:
                K = factor.known.spread(np.eye(factor.levels))
                related = K[codes[:, :, None], codes[:, None, :]]
            V += (half @ half.transpose(0, 2, 1)) * related
        L = np.linalg.cholesky(V)
        if m > _BLOCK:
            for part, root in zip(some, L, strict=True):
                out[part] = solve_triangular(root, values[part], lower=True)
        else:
            out[some] = np.linalg.solve(L, values[some][:, :, None])[:, :, 0]


def _whiten_in_turn(
    factors: tuple[Factor, ...], lambdas: list[Array], values: Array, rows: Rows
) -> Array:
    """One part, block after block of its rows (a Kalman filter)."""
    Z = _spherical_columns(factors, lambdas, rows)
    x = values[rows]
    q = Z.shape[1]
    mean, covariance = np.zeros(q), np.eye(q)
    out = np.empty_like(x)
    bounds = [*range(0, rows.size, _BLOCK), rows.size]
    for start, stop in pairwise(bounds):
        part = Z[start:stop]
        gain = np.asarray(part @ covariance)
        V = np.asarray(part @ gain.T)
        V[np.diag_indices(stop - start)] += 1.0
        L = cholesky(V, lower=True)
        out[start:stop] = solve_triangular(L, x[start:stop] - part @ mean, lower=True)
        half = solve_triangular(L, gain, lower=True)
        mean += half.T @ out[start:stop]
        covariance -= half.T @ half
    return out


def _spherical_columns(
    factors: tuple[Factor, ...], lambdas: list[Array], rows: Rows
) -> sparse.csr_array:
    """``Z Lambda`` of some rows, without the levels that they do not have."""
    blocks = []
    for factor, lam in zip(factors, lambdas, strict=True):
        levels, codes = np.unique(factor.codes[rows], return_inverse=True)
        half = factor.values[rows] @ lam
        m, p = half.shape
        columns = codes[:, None] * p + np.arange(p)
        pointers = np.arange(m + 1) * p
        shape = (m, levels.size * p)
        blocks.append(
            sparse.csr_array((half.ravel(), columns.ravel(), pointers), shape)
        )
    return sparse.csr_array(sparse.hstack(blocks))
