"""Variance of the error of a prediction, given the covariance parameters.

For a row with fixed-effects columns x and random-effects columns z the error of
``x'betahat + z'bhat`` is that of estimates and conditional modes together. Their joint
covariance is ``sigma^2`` times the inverse of the matrix of Henderson's mixed-model
equations, of which only solutions and selected blocks are formed here.

References
----------
.. [1] Henderson, C. R. (1975). Best linear unbiased estimation and prediction under a
   selection model. Biometrics 31(2), 423-447. doi:10.2307/2529430
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lme.engine.kernel import Kernel
from lme.engine.relcov import Slot, Template
from lme.errors import FitError
from lme.generalized import GLMMFit
from lme.inference.prediction.rows import Rows
from lme.inference.working import MixedFit, factored

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

_COLUMNS = 512  # right-hand sides that are solved for at once, and
_NUMBERS = 2**23  # numbers in them
_ROWS = 2**16  # rows of which blocks are gathered at once


@dataclass(frozen=True)
class Levels:
    """What rows say about one grouping factor.

    Attributes
    ----------
    codes : (m,) intp
        -1 where there is no random effect to count.
    values : (m, w) array
        Columns of the factor in the internal basis.
    """

    codes: Codes
    values: Array


@dataclass(frozen=True)
class Parameters:
    """Covariance parameters at which variances are wanted.

    Attributes
    ----------
    theta : (k,) array
        In the internal basis.
    sigma : float
    """

    theta: Array
    sigma: float


def estimated(fit: MixedFit) -> Parameters:
    """The parameters of the fit."""
    return Parameters(fit.problem.template.internal(fit.theta), fit.sigma)


def slots_of(fit: MixedFit) -> list[Slot | None]:
    """Place of each term of the design in the template; None without columns."""
    slots = iter(fit.problem.template.slots)
    return [next(slots) if t.values.shape[1] else None for t in fit.design.terms]


def internal_levels(fit: MixedFit, rows: Rows) -> list[Levels]:
    """Codes and columns of the rows for each grouping factor of the engine."""
    template: Template = fit.problem.template
    slots = slots_of(fit)
    m = len(rows.X)
    found = [Levels(np.full(m, -1), np.zeros((m, w))) for w in template.widths]
    for k, term in zip(rows.which, rows.terms, strict=True):
        slot = slots[k]
        if slot is None:
            continue
        level = found[slot.factor]
        seen = term.codes >= 0
        level.codes[seen] = term.codes[seen]
        level.values[:, slot.columns] += term.values @ slot.basis
    return found


def error_variance(
    fit: MixedFit,
    rows: Rows,
    *,
    at: Parameters | None = None,
    covariance: Array | None = None,
) -> Array:
    """Variance of ``x'(betahat - beta) + z'(bhat - b)`` for each row, (m,).

    Parameters
    ----------
    fit : Fit or GLMMFit
        With its data.
    rows : Rows
        Levels that the fit did not see count with the fixed part only.
    at : Parameters, optional
        For a linear model; by default those of the fit.
    covariance : (p, p) array, optional
        Covariance of the fixed effects, by default the one given theta.

    Returns
    -------
    ndarray
        On the squared scale of the linear predictor.

    Notes
    -----
    With ``G = Lambda M^-1 Lambda'`` and ``P = G Z'WX``

        ``sigma^2 (z'Gz + (x - P'z)' (X'V^-1X)^-1 (x - P'z))``,

    which is ``sigma^2 [x z] C^-1 [x z]'`` with C the matrix of the mixed-model
    equations, but does not need the inverse of a singular Lambda.
    """
    kernel, root = _solver(fit, at)
    sigma = fit.sigma if at is None else at.sigma
    levels = internal_levels(fit, rows)
    # NaN in a row must not pass to others through a product of matrices.
    known = np.isfinite(rows.X).all(axis=1)
    for level in levels:
        known &= np.isfinite(level.values).all(axis=1)
    levels = [Levels(level.codes[known], level.values[known]) for level in levels]
    D = _on_basis(fit, rows.X[known])
    for level, projection in zip(levels, _projections(fit, kernel), strict=True):
        _subtract_projection(D, level, projection)
    if covariance is None:
        fixed = sigma**2 * np.sum((D @ root) ** 2, axis=1)
    else:
        D = np.asarray(D @ fit.problem.R)
        fixed = np.einsum("mp,pq,mq->m", D, covariance, D)
    blocks = kernel.blocks()
    within = _diagonal(levels, blocks)
    between = _between(levels, kernel, [block.shape[:2] for block in blocks])
    out = np.full(known.size, np.nan)
    out[known] = np.maximum(fixed + sigma**2 * (within + between), 0.0)
    return out


def _solver(fit: MixedFit, at: Parameters | None) -> tuple[Kernel, Array]:
    """A kernel at theta, and T with ``(X'V^-1X)^-1 = T T'`` on the basis of X."""
    R = fit.problem.R
    if isinstance(fit, GLMMFit):
        return factored(fit), R @ np.linalg.inv(fit.RX) if R.size else R
    problem = fit.problem
    theta = problem.template.internal(fit.theta) if at is None else at.theta
    kernel = fit.criterion.borrow()
    schur = kernel.factor(problem.template.lambdas(theta))
    if schur is None:
        raise FitError("The factorization failed at the estimates.")
    p = problem.p
    if not p:
        return kernel, R
    L = np.linalg.cholesky(schur.matrix[:p, :p])
    return kernel, np.linalg.inv(L).T


def _on_basis(fit: MixedFit, X: Array) -> Array:
    """Rows of X as coordinates on the orthonormal basis, ``X R^-1``."""
    if not X.shape[1]:
        return np.zeros(X.shape)
    return np.ascontiguousarray(
        solve_triangular(fit.problem.R, X.T, lower=False, trans="T").T
    )


def _projections(fit: MixedFit, kernel: Kernel) -> list[Array]:
    """``P = G Z'WX`` per factor, (l, w, p), X on its basis."""
    p = fit.problem.p
    if isinstance(fit, GLMMFit):
        _, crossed = fit.rows.fixed_products(fit.laplace == "observed")
    else:
        crossed = [dense[:, :, :p] for dense in fit.problem.cross.dense]
    return kernel.solve(crossed) if p else crossed


def _chunks(m: int) -> list[slice]:
    return [slice(first, first + _ROWS) for first in range(0, m, _ROWS)]


def _subtract_projection(D: Array, level: Levels, projection: Array) -> None:
    """Take ``P'z`` of one factor from the rows of D, in place."""
    for part in _chunks(len(D)):
        codes = level.codes[part]
        seen = np.flatnonzero(codes >= 0)
        blocks = projection[codes[seen]]
        change = np.einsum("mw,mwp->mp", level.values[part][seen], blocks)
        D[part][seen] -= change


def _diagonal(levels: Sequence[Levels], blocks: Sequence[Array]) -> Array:
    """``z_f' G_ff z_f`` summed over the factors."""
    m = len(levels[0].codes) if levels else 0
    out = np.zeros(m)
    for level, block in zip(levels, blocks, strict=True):
        for part in _chunks(m):
            codes = level.codes[part]
            seen = np.flatnonzero(codes >= 0)
            z = level.values[part][seen]
            out[part][seen] += _forms(z, block[codes[seen]], z)
    return out


def _forms(left: Array, blocks: Array, right: Array) -> Array:
    """``left_i' B_i right_i`` for each row."""
    products = np.einsum("mwv,mv->mw", blocks, right)
    return np.asarray(np.einsum("mw,mw->m", left, products))


def _between(
    levels: Sequence[Levels], kernel: Kernel, shapes: Sequence[tuple[int, ...]]
) -> Array:
    """``2 z_f' G_fg z_g`` summed over the pairs of factors.

    G is solved for at the levels that occur, of all factors but the one where these
    are the most.
    """
    m = len(levels[0].codes) if levels else 0
    out = np.zeros(m)
    needed = [np.unique(level.codes[level.codes >= 0]) for level in levels]
    sizes = [len(c) * lv.values.shape[1] for c, lv in zip(needed, levels, strict=True)]
    order = np.argsort(sizes)[::-1]
    q = sum(count * w for count, w in shapes)
    for place, g in enumerate(order[1:], 1):
        w = shapes[g][1]
        if not sizes[g]:
            continue
        batch = max(1, min(_COLUMNS, _NUMBERS // q) // w)
        by_level = np.argsort(levels[g].codes, kind="stable")
        sorted_codes = levels[g].codes[by_level]
        for first in range(0, len(needed[g]), batch):
            chosen = needed[g][first : first + batch]
            solved = kernel.solve(_units(shapes, g, chosen))
            ends = np.searchsorted(sorted_codes, [chosen[0], chosen[-1] + 1])
            rows = by_level[ends[0] : ends[1]]
            for f in order[:place]:
                G = solved[f].reshape(*shapes[f], len(chosen), w)
                _add_pairs(out, rows, levels[f], levels[g], chosen, G)
    return out


def _units(shapes: Sequence[tuple[int, ...]], g: int, chosen: Codes) -> list[Array]:
    """Columns of the identity for some levels of factor g, per factor (l, w, r)."""
    w = shapes[g][1]
    r = len(chosen) * w
    units = [np.zeros((count, width, r)) for count, width in shapes]
    columns = np.arange(r).reshape(len(chosen), w)
    for a in range(w):
        units[g][chosen, a, columns[:, a]] = 1.0
    return units


def _add_pairs(
    out: Array, rows: Codes, first: Levels, second: Levels, chosen: Codes, G: Array
) -> None:
    """Add ``2 z_f' G z_g`` for the rows of some levels of g; G (l, w_f, c, w_g)."""
    rows = rows[first.codes[rows] >= 0]
    for part in _chunks(len(rows)):
        here = rows[part]
        column = np.searchsorted(chosen, second.codes[here])
        blocks = G[first.codes[here], :, column, :]
        out[here] += 2.0 * _forms(first.values[here], blocks, second.values[here])


def group_variance(
    fit: MixedFit, k: int, values: Array, at: Parameters | None = None
) -> Array:
    """``z' Sigma z`` of a level of term k that was not seen, (m,).

    Parameters
    ----------
    fit : Fit or GLMMFit
    k : int
        Position of the term in the design.
    values : (m, p) array
        Columns; those of effects that do not count are 0.
    at : Parameters, optional
        By default those of the fit.
    """
    if at is None:
        factor = fit.sigma * fit.lambdas[k]
    else:
        slot = slots_of(fit)[k]
        if slot is None:
            return np.zeros(len(values))
        inner = fit.problem.template.lambdas(at.theta)[slot.factor]
        factor = at.sigma * (slot.basis @ inner[slot.columns, slot.columns])
    return np.asarray(np.sum((values @ factor) ** 2, axis=1))
