"""Satterthwaite's degrees of freedom from exact derivatives.

The variance of an estimate is itself estimated; a chi-square distribution with the
same mean and variance has ``2 (l'Cl)^2 / (g'Ag)`` degrees of freedom, where A is the
covariance of (theta, sigma) and g the gradient of ``l'Cl`` (Fai & Cornelius 1996, J.
Stat. Comput. Simul. 54:363, doi:10.1080/00949659608811740, for several rows).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.engine.blocked import plan
from lme.engine.choice import blocked_seconds, sparse_seconds
from lme.engine.cholmod import Cholmod
from lme.engine.crossproducts import rows_times
from lme.engine.lmm import Evaluation
from lme.engine.relcov import spread
from lme.engine.threads import suited_threads
from lme.fit import Fit
from lme.inference.hypotheses.directions import (
    Direction,
    evaluated,
    root,
    sandwiches,
    whitened,
)

Array = NDArray[np.float64]

#: Eigenvalues of the Hessian below this share of the largest count as zero.
TOLERANCE = 1e-8
#: Half the width of a difference of gradients, relative to the parameter.
STEP = 1e-4


@dataclass(frozen=True)
class Satterthwaite:
    """What Satterthwaite's method needs of a fit, whatever the hypothesis.

    Attributes
    ----------
    beta : (p,) array
    covariance : (p, p) array
        Of beta.
    sigma : float
    varpar : (k + 1, k + 1) array
        Covariance of (theta, sigma), theta in the internal basis.
    jacobian : (k + 1, p, p) array
        Derivatives of `covariance` in (theta, sigma).
    """

    beta: Array
    covariance: Array
    sigma: float
    varpar: Array
    jacobian: Array

    label = "Satterthwaite"

    def df(self, L: Array) -> float:
        """Degrees of freedom of the independent rows of L, (q, p)."""
        if len(L) == 1:
            return float(self._each(L)[0])
        _, vectors = np.linalg.eigh(L @ self.covariance @ L.T)
        return combined(self._each(vectors.T @ L))

    def scaling(self, L: Array) -> float:
        """Factor of the F statistic: 1."""
        return 1.0

    def __getstate__(self) -> dict[str, Any]:
        # The derivatives are the largest part of a pickle without data: symmetric, so
        # that half of them is enough.
        lower = np.tril_indices(len(self.beta))
        return self.__dict__ | {"jacobian": self.jacobian[:, lower[0], lower[1]]}

    def __setstate__(self, state: dict[str, Any]) -> None:
        p, half = len(state["beta"]), state["jacobian"]
        full = np.zeros((len(half), p, p))
        row, column = np.tril_indices(p)
        full[:, row, column] = full[:, column, row] = half
        self.__dict__.update(state | {"jacobian": full})

    def _each(self, L: Array) -> Array:
        """Degrees of freedom of each row."""
        variance = np.einsum("qi,ij,qj->q", L, self.covariance, L)
        g = np.einsum("qi,kij,qj->qk", L, self.jacobian, L)
        spread = np.einsum("qk,km,qm->q", g, self.varpar, g)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(2.0 * variance**2 / spread)


def combined(df: Array) -> float:
    """Degrees of freedom of an F test from those of its independent t tests.

    Notes
    -----
    F has the mean of the average of squared t variables: with ``E`` the sum of
    ``df/(df - 2)`` over q of them it is ``2E/(E - q)``; 2 where a mean is infinite.
    """
    q = len(df)
    if q == 1 or np.all(np.abs(np.diff(df)) < 1e-8):
        return float(df.mean())
    if (df <= 2.0).any():
        return 2.0
    E = float((df / (df - 2.0)).sum())
    return 2.0 * E / (E - q)


def expected_seconds(fit: Fit) -> float:
    """Rough time of the Hessian: two gradients for each element of theta.

    From the size of the model and not from the clock, so that what is decided by it
    does not change from run to run.
    """
    kernel = fit.criterion.kernel
    if isinstance(kernel, Cholmod):
        each = sparse_seconds(kernel)
    else:
        cross = fit.problem.cross
        each = blocked_seconds(sum(cross.sizes[g] for g in plan(cross)[1]))
    return 2.0 * fit.theta.size * each


def satterthwaite(fit: Fit) -> Satterthwaite:
    """Covariance of (theta, sigma), and derivatives of that of beta.

    Parameters
    ----------
    fit : Fit
        With its data.

    Notes
    -----
    ``f(theta, sigma) = D + r2/sigma^2 + 2 df log(sigma)`` has at
    ``sigma^2 = r2/df`` the derivatives ``P'' + r2' r2'^T df/r2^2``,
    ``-2 r2'/sigma^3`` and ``4 df/sigma^2``, with ``P`` the profiled criterion, whose
    Hessian is the central difference of its exact gradient.
    """
    with suited_threads(fit.problem.cross.sizes):
        at = evaluated(fit)
        T = root(fit)
        inner = _by_parameter(at, directions(at), whitened(at))
        H = hessian(fit, at)
    unscaled = T @ T.T
    jacobian = fit.sigma**2 * (T @ inner @ T.T)
    if fit.known_sigma is None:
        last = 2.0 * fit.sigma * unscaled[None]
        jacobian = np.concatenate([jacobian, last])
    return Satterthwaite(
        fit.beta,
        fit.sigma**2 * unscaled,
        fit.sigma,
        2.0 * pseudo_inverse(H),
        jacobian,
    )


def _by_parameter(at: Evaluation, found: list[Direction], W: list[Array]) -> Array:
    """Sandwiches by parameter of the search, (k, p, p); terms may share one."""
    parts = sandwiches(found, W)
    out = np.zeros((at.theta.size, *parts.shape[1:]))
    for direction, part in zip(found, parts, strict=True):
        out[direction.parameter] += part
    return out


def directions(at: Evaluation) -> list[Direction]:
    """Derivatives of V in theta (internal basis)."""
    problem = at.criterion.problem
    template, found = problem.template, []
    for slot, J in zip(template.slots, template.jacobians(at.theta), strict=True):
        p = template.widths[slot.factor]
        lam = at.lambdas[slot.factor][slot.columns, slot.columns]
        places = np.arange(template.size)[slot.theta]
        for part, place in zip(J, places, strict=True):
            change = np.zeros((p, p))
            change[slot.columns, slot.columns] = part @ lam.T + lam @ part.T
            known = problem.cross.relation(slot.factor)
            found.append(Direction(slot.factor, change, known, int(place)))
    return found


def hessian(fit: Fit, at: Evaluation | None = None) -> Array:
    """Hessian of the criterion in (theta, sigma), theta in the internal basis.

    Without sigma where it is known. `at` is the criterion at the estimates, where it
    was evaluated last: its kernel still holds the factorization.
    """
    criterion = fit.criterion
    at = evaluated(fit) if at is None else at
    k = at.theta.size
    d = criterion.scores(at)
    # The derivative of r2 = y'Py is -y'P V_i P y.
    slope = np.zeros(k)
    for direction in directions(at):
        part = d[direction.factor]
        moved = rows_times(part, direction.change[None])[:, :, 0]
        slope[direction.parameter] -= np.vdot(part, spread(direction.known, moved))
    profiled = np.empty((k, k))
    for i, width in enumerate(STEP * np.maximum(np.abs(at.theta), 0.01)):
        step = np.zeros(k)
        step[i] = width
        above = criterion.evaluate(at.theta + step).gradient
        below = criterion.evaluate(at.theta - step).gradient
        profiled[i] = (above - below) / (2.0 * width)
    if fit.known_sigma is not None:
        return (profiled + profiled.T) / 2.0
    sigma, r2, df = fit.sigma, at.r2, criterion.df
    out = np.empty((k + 1, k + 1))
    out[:k, :k] = (profiled + profiled.T) / 2.0
    out[:k, :k] += (df / r2**2) * np.outer(slope, slope)
    out[:k, k] = out[k, :k] = -2.0 * slope / sigma**3
    out[k, k] = 4.0 * df / sigma**2
    return out


def pseudo_inverse(H: Array) -> Array:
    """Inverse over the eigenvalues that are positive, rounding errors apart."""
    if not np.isfinite(H).all():
        return np.full_like(H, np.nan)
    # sigma has the unit of the response: without a common scale its eigenvalue would
    # decide which others are zero.
    scale = np.sqrt(np.maximum(np.abs(H.diagonal()), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(H / np.outer(scale, scale))
    keep = values > TOLERANCE * values.max()
    part = vectors[:, keep] / scale[:, None]
    return np.asarray((part / values[keep]) @ part.T)
