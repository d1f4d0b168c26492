"""Variance of a response about its mean on the scale of the link.

What a generalized model has in place of a residual variance: that of a latent variable
behind a binomial response, or an approximation at the mean of the response.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import polygamma

from lme.errors import OptionError, near
from lme.families.base import Family
from lme.generalized import GLMMFit, fit_glmm
from lme.inference.known_levels import row_variances
from lme.inference.working import MixedFit, log_extra

Array = NDArray[np.float64]

#: Variance of the latent variable whose threshold a binary response is, by link.
LATENT = {"logit": math.pi**2 / 3.0, "probit": 1.0, "cloglog": math.pi**2 / 6.0}
#: From the squared coefficient of variation of the response given its mean to the
#: variance of its logarithm.
LOGARITHM: dict[str, Callable[[float], float]] = {
    "lognormal": math.log1p,
    "delta": float,
    "trigamma": lambda ratio: float(polygamma(1, 1.0 / ratio)),
}
APPROXIMATIONS = ("theoretical", *LOGARITHM)
#: Nodes and weights of the mean over a normal linear predictor.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


def choose_approximation(family: Family, wanted: str | None) -> str:
    """The approximation to use, checked."""
    latent = family.name in ("bernoulli", "binomial") and family.link.name in LATENT
    first = "theoretical" if latent else "delta"
    possible = [first] if first == "delta" else [first, "delta"]
    if family.link.name == "log" and family.name not in ("bernoulli", "binomial"):
        possible = list(LOGARITHM)
    if wanted is None:
        return possible[0]
    if wanted not in APPROXIMATIONS:
        raise OptionError(
            f"approximation={wanted!r} is not known.",
            f"It must be one of {', '.join(map(repr, APPROXIMATIONS))}.",
            near(str(wanted), APPROXIMATIONS),
        )
    if wanted not in possible:
        raise OptionError(
            f"approximation={wanted!r} is not defined for {family}.",
            f"This model has {' and '.join(map(repr, possible))}.",
        )
    return wanted


def distribution_variance(fit: GLMMFit, approximation: str) -> float:
    """Variance of the response about its mean on the scale of the link."""
    family, link = fit.family, fit.family.link
    if approximation == "theoretical":
        return LATENT[link.name]
    mean = np.array([_null_mean(fit)])
    variance = float(family.variance(mean, log_extra(fit))[0])
    if family.dispersion:
        weights = fit.design.weights
        scale = 1.0 if weights is None else float(np.mean(1.0 / weights))
        variance *= fit.extra * scale
    if link.name == "log" and approximation in LOGARITHM:
        return LOGARITHM[approximation](variance / float(mean[0]) ** 2)
    slope = float(link.first(link.link(mean))[0])
    return variance / slope**2


def _null_mean(fit: GLMMFit) -> float:
    """Mean of the response under the model without predictors."""
    design, family, link = fit.design, fit.family, fit.family.link
    trials = family.name in ("bernoulli", "binomial")
    if link.name not in (*LATENT, "cauchit", "log", "sqrt", "identity") or (
        trials and link.name in ("log", "identity")
    ):
        weights = design.weights
        return float(np.average(design.y, weights=weights))
    null = fit
    ones = np.ones((design.nobs, 1))
    if fit.beta.size != 1 or not np.array_equal(fit.X, ones):
        bare = replace(
            design,
            X=ones,
            column_names=("(Intercept)",),
            assign=(0,),
            term_labels=(),
            recipe=None,
        )
        null = fit_glmm(bare, family, nAGQ=fit.nAGQ, laplace=fit.options["laplace"])
    center = float(null.beta[0])
    if design.offset is not None:
        center += float(design.offset.mean())
    spread = math.sqrt(float(random_variances(null).sum()))
    if link.name == "log":
        return math.exp(center + 0.5 * spread**2)
    if link.name == "sqrt":
        return center**2 + spread**2
    values = link.mean(center + spread * _NODES)
    return float(values @ _WEIGHTS / _WEIGHTS.sum())


def random_variances(fit: MixedFit) -> Array:
    """Mean over the rows of ``z_i' Sigma z_i`` for each term, (K,)."""
    out = []
    for term, factor in zip(fit.design.terms, fit.lambdas, strict=True):
        # The mean of |lambda' z|^2: never negative, whatever the rounding.
        spread = np.sum((term.values @ factor) ** 2, axis=1)
        out.append(fit.sigma**2 * float(np.mean(row_variances(term) * spread)))
    return np.array(out)
