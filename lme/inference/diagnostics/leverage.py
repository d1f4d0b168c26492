"""Leverage: how much each fitted value follows its own response.

Everything here is said of a weighted least-squares problem with theta held at its
estimate: the linear model itself, or the working model of a generalized one at its
modes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lme.engine import lmm
from lme.engine.choice import choose
from lme.engine.crossproducts import Pattern, pattern
from lme.engine.kernel import Kernel
from lme.engine.lmm import Problem
from lme.errors import FitError
from lme.generalized import GLMMFit
from lme.inference.residual_structure import refuse_correlated
from lme.inference.working import MixedFit, log_extra
from lme.preparation import engine_terms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Held:
    """A least-squares problem with the covariance factors held.

    Rows are multiplied by the square roots of their weights throughout, and ``V = I +
    Z Lambda Lambda' Z'`` is their covariance over ``sigma^2``.

    Attributes
    ----------
    problem : Problem
    pattern : Pattern
    theta : (k,) array
        In the internal basis.
    kernel : Kernel
        Factored at theta, and left so.
    RX : (p, p) array
        Upper triangular, ``RX'RX = B'V^-1 B`` on the problem's basis B.
    gamma : (p,) array
        Generalized least-squares coefficients on that basis, of the problem's residual.
    r2 : float
        Penalized residual sum of squares.
    """

    problem: Problem
    pattern: Pattern
    theta: Array
    kernel: Kernel
    RX: Array
    gamma: Array
    r2: float

    def precise(self, columns: Array) -> Array:
        """``V^-1 D`` for D (n, r)."""
        factors = self.problem.factors
        gathered = [factor.gather(columns) for factor in factors]
        out = columns.copy()
        for factor, modes in zip(factors, self.kernel.solve(gathered), strict=True):
            for a in range(modes.shape[1]):
                out -= factor.values[:, a, None] * modes[factor.codes, a]
        return out

    @cached_property
    def half(self) -> Array:
        """``RX^-T (V^-1 B)'`` by rows, (n, p)."""
        if not self.problem.p:
            return np.zeros((self.problem.n, 0))
        solved = self.precise(self.problem.basis)
        return np.asarray(solve_triangular(self.RX, solved.T, trans="T").T)

    @cached_property
    def random(self) -> Array:
        """Leverage that the random effects have by themselves, ``1 - (V^-1)_ii``."""
        return self.pattern.quadratic(*self.kernel.inverse())

    @cached_property
    def fixed(self) -> Array:
        """What the fixed effects add to it, (n,)."""
        return np.asarray(np.einsum("np,np->n", self.half, self.half))

    @cached_property
    def residual(self) -> Array:
        """Weighted conditional residuals ``V^-1 (y - X beta)``, (n,)."""
        problem = self.problem
        marginal = problem.residual - problem.basis @ self.gamma
        return self.precise(marginal[:, None])[:, 0]

    def shift(self) -> Array:
        """Change of the coefficients when each row comes back, (n, p), user's columns.

        ``beta - beta_(i) = (X'V^-1 X)^-1 (V^-1 X)_i e_i / (1 - h_i)``.
        """
        if not self.problem.p:
            return self.half
        solved = solve_triangular(self.RX @ self.problem.R, self.half.T).T
        return np.asarray(solved * (self.residual / self.remainder)[:, None])

    @cached_property
    def remainder(self) -> Array:
        """``1 - h_i``; NaN where a row alone determines what is fitted to it."""
        left = 1.0 - self.random - self.fixed
        return np.where(left > 1e-10, left, np.nan)


def working_problem(fit: MixedFit) -> Problem:
    """The linear model of the fit; for a generalized one that at the modes.

    Notes
    -----
    The working response ``eta + (y - mu) / mu'(eta)`` has the expected weights, those
    of Fisher's scoring, and dispersion 1.
    """
    if not isinstance(fit, GLMMFit):
        return fit.problem
    at = fit.family.pointwise(
        fit.problem.y, fit.problem.weights, fit.eta, log_extra(fit), order=1
    )
    weights = np.maximum(at.W, 0.0)
    step = np.divide(-0.5 * at.g, weights, out=np.zeros_like(weights), where=at.W > 0)
    return lmm.build(
        fit.eta + step,
        fit.X,
        engine_terms(fit.design),
        weights=weights,
        offset=fit.design.offset,
    )


def held(fit: MixedFit) -> Held:
    """The least-squares problem of a fit with theta as estimated.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Raises
    ------
    FitError
        When weights or variances are beyond what can be factored.
    """
    problem = working_problem(fit)
    name = "auto" if isinstance(fit, GLMMFit) else fit.convergence.kernel
    kernel, _ = choose(problem.cross, name)
    theta = problem.template.internal(fit.theta)
    return held_at(problem, pattern(problem.factors), kernel, theta)


def held_at(problem: Problem, where: Pattern, kernel: Kernel, theta: Array) -> Held:
    """The same with any theta, in the internal basis; `kernel` is factored there."""
    p = problem.p
    schur = kernel.factor(problem.template.lambdas(theta))
    if schur is None:
        raise FitError(
            "The penalized least-squares problem cannot be factored at the estimates.",
            "Finite weights and variances were expected.",
        )
    H = schur.matrix
    try:
        RX: Array = np.asarray(np.linalg.cholesky(H[:p, :p]).T, dtype=float)
    except np.linalg.LinAlgError:
        raise FitError(
            "The fixed effects are not determined in the working model at the modes.",
            "Rows with a weight above zero in every direction were expected.",
            "Look for groups or predictors that predict the response perfectly.",
        ) from None
    half = solve_triangular(RX, H[:p, p], trans="T") if p else np.empty(0)
    gamma = solve_triangular(RX, half) if p else half
    r2 = float(H[p, p] - half @ half)
    return Held(problem, where, theta, kernel, RX, np.asarray(gamma), r2)


def leverage(fit: MixedFit) -> Array:
    """Diagonal of the hat matrix, shape (n,).

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    ndarray
        Between 0 and 1; the sum is the effective number of coefficients, fixed and
        random.

    Notes
    -----
    ``d yhat_i / d y_i`` with theta held: ``H = I - V^-1 + V^-1 X (X'V^-1 X)^-1
    X'V^-1`` on the scale of weighted rows. Only entries of the inverse that belong to
    levels that occur together are computed, none of the n x n matrices. For a
    generalized model it is the hat matrix of the last weighted least-squares step.

    References
    ----------
    Demidenko and Stukel (2005), Influence analysis for linear mixed-effects models,
    Statistics in Medicine 24:893, doi:10.1002/sim.1974.
    """
    refuse_correlated(fit, "The leverage of a row")
    found = held(fit)
    return np.asarray(found.random + found.fixed)


def effective_coefficients(fit: MixedFit) -> float:
    """Trace of the hat matrix: fixed and random coefficients, as far as free."""
    # Whitening correlated residuals leaves the trace as it is.
    found = held(fit)
    return float((found.random + found.fixed).sum())
