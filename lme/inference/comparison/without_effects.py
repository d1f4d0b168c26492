"""Maximum likelihood without random effects: what a variance of zero leaves."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from lme.engine.decompositions import orthonormal
from lme.families import Family

Array = NDArray[np.float64]

_ITERATIONS = 100
_TOLERANCE = 1e-10


class Estimates(NamedTuple):
    """Means, -2 log-likelihood with all constants, logarithm of the scale."""

    mu: Array
    objective: float
    extra: float


def maximized(family: Family, y: Array, weights: Array, mu: Array) -> Estimates:
    """The likelihood at given means, at the best dispersion or theta."""

    def objective(extra: float) -> float:
        return -2.0 * float(np.sum(family.loglik(y, weights, mu, extra)))

    if family.extra is None:
        return Estimates(mu, objective(0.0), 0.0)
    if family.name == "gaussian":
        extra = math.log(float(np.mean(weights * (y - mu) ** 2)))
        return Estimates(mu, objective(extra), extra)
    start = family.start_extra(y, weights)
    found = minimize_scalar(objective, bracket=(start - 1.0, start + 1.0), tol=1e-10)
    return Estimates(mu, float(found.fun), float(found.x))


def estimated(
    family: Family, y: Array, X: Array, offset: Array, weights: Array
) -> Estimates:
    """Maximum likelihood of a generalized linear model.

    Parameters
    ----------
    family : Family
    y, offset, weights : (n,) arrays
    X : (n, p) array of full column rank

    Notes
    -----
    Fisher scoring with halved steps. A dispersion does not move the means; the theta
    of a negative binomial does, and takes turns with them.
    """
    eta = offset + _start(family, y, X, offset, weights)
    found = Estimates(eta, math.inf, family.start_extra(y, weights))
    for _ in range(_ITERATIONS):
        eta = _scored(family, y, X, eta, weights, found.extra)
        new = maximized(family, y, weights, family.mean(eta))
        if family.extra != "theta" or new.objective > found.objective - _TOLERANCE:
            return new
        found = new
    return found


def _start(family: Family, y: Array, X: Array, offset: Array, weights: Array) -> Array:
    """A linear predictor (without offset) near the responses."""
    eta = family.link.link(family.start_mean(y, weights)) - offset
    basis, _ = orthonormal(X)
    fitted: Array = basis @ (basis.T @ eta)
    if family.valid_eta(fitted + offset):
        return fitted
    return np.asarray(np.full(y.size, eta.mean()))


def _scored(
    family: Family, y: Array, X: Array, eta: Array, weights: Array, extra: float
) -> Array:
    """The linear predictor of maximum likelihood at a given extra parameter."""
    if not X.shape[1]:
        return eta
    at = family.pointwise(y, weights, eta, extra, order=1)
    value = float(at.deviance.sum())
    for _ in range(_ITERATIONS):
        root = np.sqrt(np.maximum(at.W, 1e-300))
        # The deviance has the gradient X'g and the expected Hessian 2 X'WX.
        step = X @ np.linalg.lstsq(X * root[:, None], -0.5 * at.g / root, rcond=None)[0]
        promise = -float(at.g @ step)
        for _ in range(_ITERATIONS):
            trial = eta + step
            new = family.pointwise(y, weights, trial, extra, order=1)
            total = float(new.deviance.sum())
            if np.isfinite(total) and total <= value + 1e-12 * abs(value):
                break
            step = step / 2.0
        else:
            return eta
        eta, at, value = trial, new, total
        if promise < _TOLERANCE:
            return eta
    return eta
