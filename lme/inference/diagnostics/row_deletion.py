"""Estimates without each single row, all rows at once and without a refit.

With theta held everything follows from the leverages and residuals of all rows. The
criterion without a row is known in closed form too, as a function of theta, so that
differences in theta give a Newton step for every row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lme.engine.choice import choose
from lme.engine.crossproducts import pattern
from lme.engine.lmm import Criterion
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.diagnostics.leverage import Held, held_at
from lme.inference.diagnostics.unit_deletion import one_newton_step
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Step of differences in theta, relative to its size.
_STEP = 1e-4


@dataclass(frozen=True)
class RowDeletion:
    """Estimates without each row, theta held; a row of NaN where there are none.

    Attributes
    ----------
    beta : (n, p) array
    bse : (n, p) array
        Standard errors without the row.
    sigma : (n,) array
    mdffits, covratio, covtrace : (n,) arrays
    """

    beta: Array
    bse: Array
    sigma: Array
    mdffits: Array
    covratio: Array
    covtrace: Array


def sigma_without(fit: MixedFit, at: Held) -> Array:
    """Residual standard deviation without each row; as it is where it is no estimate.

    The penalized sum of squares loses ``e_i^2 / (1 - h_i)``.
    """
    n = at.problem.n
    if isinstance(fit, GLMMFit):
        scale = np.sqrt(fit.extra) if fit.family.dispersion else 1.0
        return np.full(n, float(scale))
    if fit.known_sigma is not None:
        return np.full(n, fit.known_sigma)
    df = n - at.problem.p if fit.reml else n
    left = at.r2 - at.residual**2 / at.remainder
    return np.asarray(np.sqrt(np.maximum(left, 0.0) / (df - 1)))


def delete_rows(fit: MixedFit, at: Held) -> RowDeletion:
    """Estimates without each row, with theta as estimated.

    Notes
    -----
    A row that is left out is a row with a parameter of its own. With ``v_i = (V^-1
    X)_i``, ``s_i = (V^-1)_ii`` and ``1 - h_i = s_i - v_i'(X'V^-1 X)^-1 v_i``, beta
    changes by ``(X'V^-1 X)^-1 v_i e_i / (1 - h_i)`` and the information of the fixed
    effects by ``-v_i v_i'/s_i``.
    """
    p = fit.beta.size
    sigma = sigma_without(fit, at)
    # The dispersion of a generalized model is in the weights already.
    unit = np.ones_like(sigma) if isinstance(fit, GLMMFit) else sigma
    whole = 1.0 if isinstance(fit, GLMMFit) else fit.sigma
    remainder, own = at.remainder, 1.0 - at.random
    root = at.RX @ at.problem.R
    inverse = np.linalg.inv(root) if p else root
    w = np.asarray(solve_triangular(root, at.half.T).T) if p else at.half
    variances = np.einsum("ab,ab->a", inverse, inverse) + w**2 / remainder[:, None]
    ratio = (unit / whole) ** 2
    size = at.fixed * (at.residual / remainder) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = size - (at.fixed * at.residual / remainder) ** 2 / own
        mdffits = moved / (unit**2 * p) if p else np.full_like(moved, np.nan)
    return RowDeletion(
        beta=fit.beta - at.shift(),
        bse=unit[:, None] * np.sqrt(variances),
        sigma=sigma,
        mdffits=mdffits,
        covratio=ratio**p * own / remainder,
        covtrace=np.abs(ratio * (p + at.fixed / remainder) - p),
    )


def theta_without_rows(fit: Fit) -> tuple[Array, Array]:
    """Theta without each row, by one Newton step, and sigma there.

    Returns
    -------
    theta : (n, k) array
        In the user's basis.
    sigma : (n,) array
        To the first order of the step.

    Notes
    -----
    Without row i the criterion changes by ``log(1 - h_i)`` (REML; ``log (V^-1)_ii`` for
    ML), and its sum of squares ``r2`` by ``-e_i^2 / (1 - h_i)``. The gradient is that
    change's by central differences, the Hessian that of all rows by differences of
    exact gradients.
    """
    problem = fit.problem
    template = problem.template
    theta = template.internal(fit.theta)
    where = pattern(problem.factors)
    kernel, _ = choose(problem.cross, fit.convergence.kernel)
    criterion = Criterion(problem, kernel, fit.reml, fit.known_sigma)
    k = theta.size
    gradient, hessian = np.empty((problem.n, k)), np.empty((k, k))
    slope = np.empty((problem.n, k))
    for j, unit in enumerate(np.eye(k)):
        step = _STEP * max(1.0, abs(float(theta[j])))
        values, sizes, slopes = [], [], []
        for sign in (1.0, -1.0):
            moved = theta + sign * step * unit
            slopes.append(criterion.evaluate(moved).gradient)
            at = held_at(problem, where, kernel, moved)
            sizes.append(np.log(at.r2 - at.residual**2 / at.remainder))
            values.append(_change(fit, at, criterion.df))
        gradient[:, j] = (values[0] - values[1]) / (2.0 * step)
        slope[:, j] = (sizes[0] - sizes[1]) / (2.0 * step)
        hessian[j] = (slopes[0] - slopes[1]) / (2.0 * step)
    hessian = 0.5 * (hessian + hessian.T)
    out = np.full((problem.n, k), np.nan)
    known = np.isfinite(gradient).all(axis=1)
    moved = one_newton_step(gradient[known], hessian, theta)
    out[known] = [template.external(template.canonical(row)) for row in moved]
    sigma = sigma_without(fit, held_at(problem, where, kernel, theta))
    if fit.known_sigma is None:
        sigma[known] *= np.exp(0.5 * ((moved - theta) * slope[known]).sum(axis=1))
    return out, sigma


def _change(fit: Fit, at: Held, df: int) -> Array:
    """Criterion without each row minus that of all rows, but for constants."""
    remainder = at.remainder
    left = at.r2 - at.residual**2 / remainder
    determinant = remainder if fit.reml else 1.0 - at.random
    if fit.known_sigma is not None:
        return np.asarray(np.log(determinant) + (left - at.r2) / fit.known_sigma**2)
    with np.errstate(invalid="ignore", divide="ignore"):
        changed = np.log(determinant) + (df - 1) * np.log(left)
    return np.asarray(changed - df * np.log(at.r2))
