"""Akaike's criterion for predictions of the groups at hand: the conditional AIC.

The likelihood is that of the responses given the random effects, and the penalty the
effective number of parameters, which counts a random effect by how far it is from zero
to free.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.engine.lmm import Evaluation
from lme.engine.relcov import spread
from lme.errors import FitError, LMEWarning
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.generalized import refit as refit_glmm
from lme.inference.diagnostics.leverage import effective_coefficients, held
from lme.inference.hypotheses.directions import evaluated
from lme.inference.hypotheses.satterthwaite import directions, hessian
from lme.inference.working import MixedFit, log_extra

Array = NDArray[np.float64]

#: Smallest eigenvalue of the Hessian, on a common scale, that determines theta.
#: Where it does not, what is left is the gradient that the search stopped at.
_SINGULAR = 1e-5


@dataclass(frozen=True)
class ConditionalAIC:
    """A conditional AIC and its parts.

    Attributes
    ----------
    caic : float
        ``-2 loglik + 2 df``.
    loglik : float
        Log-likelihood of the responses given the random effects.
    df : float
        Effective number of parameters, the scale included.
    correction : float
        The part of `df` that comes from the estimation of theta; NaN where it is not
        counted.
    method : str
        How `df` was found.
    """

    caic: float
    loglik: float
    df: float
    correction: float
    method: str

    def __float__(self) -> float:
        return self.caic

    def __repr__(self) -> str:
        return (
            f"Conditional AIC {self.caic:.4f}\n"
            f"log-likelihood given the random effects {self.loglik:.4f}, "
            f"effective parameters {self.df:.4f}\n"
            f"({self.method})"
        )


def conditional_aic(fit: MixedFit, *, refit: bool = False) -> ConditionalAIC:
    """The conditional AIC of a fit, with its data.

    Parameters
    ----------
    fit : Fit or GLMMFit
    refit : bool
        For a generalized model of Poisson counts, or of responses of 0 and 1, count
        the estimation of theta too, by a refit for each row. A linear model needs
        none: its derivatives are exact.

    Raises
    ------
    FitError
        If the Hessian is singular, so that theta is not determined; and for `refit`
        with another family.

    Notes
    -----
    For a linear model the effective number of parameters is the trace of
    ``d mu / d y``, plus one for sigma (Greven & Kneib 2010, Biometrika 97:773,
    doi:10.1093/biomet/asq042). With theta known that is the trace of the hat matrix
    (Vaida & Blanchard 2005, Biometrika 92:351, doi:10.1093/biomet/92.2.351); theta
    answers to y with ``d theta / d y = -H^-1 d^2 f / d theta dy``, f the criterion
    and H its Hessian. With ``g_i = P V_i P y`` the derivatives are

        d mu / d theta_i = W^-1 g_i,
        d^2 f / d theta_i dy = df (2 s_i P y / r2^2 - 2 g_i / r2),  s_i = y'P V_i P y.

    A variance of zero stays zero when y changes a little, and adds nothing.

    For a generalized model the trace is that of the working hat matrix at the modes,
    without the estimation of theta. With `refit` it is ``sum_i y_i (log mu_i(y) -
    log mu_i(y - e_i))`` for counts, and ``sum_i mu_i (1 - mu_i) (logit mu_i(y_i = 1) -
    logit mu_i(y_i = 0))`` for 0 and 1 (Saefken, Kneib, van Waveren & Greven 2014,
    Electron. J. Stat. 8:201, doi:10.1214/14-EJS881).
    """
    if isinstance(fit, GLMMFit):
        return _generalized(fit, refit)
    loglik = -0.5 * fit.mu.size * math.log(2.0 * math.pi * fit.sigma**2)
    loglik += 0.5 * fit.problem.log_weights - 0.5 * fit.wrss / fit.sigma**2
    correction = _correction(fit)
    df = effective_coefficients(fit) + correction + float(fit.known_sigma is None)
    return ConditionalAIC(
        2.0 * (df - loglik),
        loglik,
        df,
        correction,
        "trace of d mu / d y with the estimation of theta, Greven & Kneib 2010",
    )


def _correction(fit: Fit) -> float:
    """The part of ``tr(d mu / d y)`` that passes through theta."""
    at, here = evaluated(fit), held(fit)
    free = _moving(fit, at)
    if not free.any():
        return 0.0
    df, Py = at.criterion.df, here.residual
    columns = np.zeros((Py.size, int(free.sum())))
    place = np.cumsum(free) - 1
    for direction in directions(at):
        if not free[direction.parameter]:
            continue
        factor = fit.problem.factors[direction.factor]
        sums = factor.gather(Py)
        moved = spread(direction.known, sums @ direction.change)
        effect = np.einsum("np,np->n", factor.values, moved[factor.codes])
        columns[:, place[direction.parameter]] += effect
    slope = columns.T @ Py
    g = here.precise(columns) - here.half @ (here.half.T @ columns)
    if fit.known_sigma is None:
        mixed = 2.0 * df / at.r2 * (np.outer(Py, slope) / at.r2 - g)
    else:
        mixed = -2.0 / fit.known_sigma**2 * g
    H = _profiled_hessian(fit)[np.ix_(free, free)]
    scale = np.sqrt(np.maximum(np.abs(H.diagonal()), np.finfo(float).tiny))
    H = H / np.outer(scale, scale)
    if np.linalg.eigvalsh(H)[0] <= _SINGULAR:
        raise FitError(
            "The Hessian of the criterion is singular.",
            "The conditional AIC needs theta to be determined by the data.",
            "Leave out random-effects terms that repeat one another.",
        )
    answer = -np.linalg.solve(H, (mixed / scale).T)
    return float(np.einsum("in,ni->", answer, g / scale))


def _moving(fit: Fit, at: Evaluation) -> NDArray[np.bool_]:
    """Parameters that answer to a small change of y: not those held at zero."""
    template = fit.problem.template
    free = np.ones(template.size, dtype=bool)
    jacobians = template.jacobians(at.theta)
    for slot, J in zip(template.slots, jacobians, strict=True):
        lam = at.lambdas[slot.factor][slot.columns, slot.columns]
        # A column of the factor that is zero is a direction without variance.
        null = ~lam.any(axis=0)
        within = np.asarray(J.any(axis=1) & null)
        free[slot.theta] &= ~within.any(axis=1)
    return free


def _profiled_hessian(fit: Fit) -> Array:
    """Hessian in theta of the criterion with sigma at its optimum."""
    full = hessian(fit)
    if fit.known_sigma is not None:
        return full
    cross = full[:-1, -1]
    return np.asarray(full[:-1, :-1] - np.outer(cross, cross) / full[-1, -1])


def _generalized(fit: GLMMFit, refit: bool) -> ConditionalAIC:
    family, problem = fit.family, fit.problem
    extra = log_extra(fit)
    loglik = float(np.sum(family.loglik(problem.y, problem.weights, fit.mu, extra)))
    known = effective_coefficients(fit)
    correction, method = math.nan, _UNCOUNTED
    if refit:
        total = _steinian(fit)
        correction, method = total - known, _COUNTED
        known = total
    df = known + float(family.extra is not None)
    return ConditionalAIC(2.0 * (df - loglik), loglik, df, correction, method)


_UNCOUNTED = "trace of the working hat matrix; the estimation of theta is not counted"
_COUNTED = "a refit for each row, Saefken et al. 2014"


def _steinian(fit: GLMMFit) -> float:
    """Effective parameters by what a change of each response does to its own mean."""
    name, y = fit.family.name, fit.problem.y
    plain = bool((fit.problem.weights == 1.0).all())
    if not plain or name not in ("poisson", "bernoulli", "binomial"):
        raise FitError(
            f"There is no such correction for the {name} family with these weights.",
            "It is known for Poisson counts and for responses of 0 and 1.",
            "Use refit=False.",
        )
    if name == "poisson":
        moved, share = y - 1.0, y
    else:
        # The derivative is that of the mean of a coin, whichever side came up.
        moved, share = 1.0 - y, (2.0 * y - 1.0) * fit.mu * (1.0 - fit.mu)
    here = _natural(name, fit.mu)
    total = 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LMEWarning)
        for i in np.flatnonzero(share):
            changed = y.copy()
            changed[i] = moved[i]
            there = _natural(name, refit_glmm(fit, changed).mu[i])
            total += float(share[i] * (here[i] - there))
    return total


def _natural(name: str, mu: Array) -> Array:
    """The natural parameter at a mean."""
    logs = np.log(mu) if name == "poisson" else np.log(mu) - np.log1p(-mu)
    return np.asarray(logs)
