"""Lines of a diagnosis on counts and proportions: dispersion and zeros."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import chdtrc, gammainc

from lme.generalized import GLMMFit
from lme.inference.diagnostics.assumptions import Check, follows_rows, worst
from lme.inference.diagnostics.residuals import residuals
from lme.inference.estimates import parameter_count
from lme.inference.prediction.simulation import blocks, draw_block
from lme.inference.working import log_extra

#: Simulated responses for the zeros.
_REPLICATES = 250


def _counts(fit: GLMMFit) -> bool:
    """Whether a row can have more than two outcomes, with a variance that is given."""
    if fit.family.dispersion or fit.family.name == "bernoulli":
        return False
    if fit.family.name == "binomial":
        weights = fit.design.weights
        return weights is not None and bool((weights > 1.0).any())
    return True


def dispersion(fit: GLMMFit) -> list[Check]:
    """Pearson's chi-square over its degrees of freedom.

    Notes
    -----
    ``sum of (y - mu)^2 weight / V(mu)`` at the modes over ``n - npar``. The modes take
    up some of the excess, so the ratio of a true model is somewhat below 1.
    """
    df = fit.design.nobs - parameter_count(fit)
    # A random effect for each row is there to take up the dispersion.
    if not _counts(fit) or df < 1 or follows_rows(fit):
        return []
    square = float((residuals(fit, type="pearson") ** 2).sum())
    ratio = square / df
    p = float(chdtrc(df, square))
    lower = float(gammainc(0.5 * df, 0.5 * square))
    over, under = p < 0.05 and ratio > 1.1, lower < 0.01 and ratio < 0.6
    finding = (
        f"Pearson chi-square {square:.1f} on {df:,} degrees of freedom: ratio "
        f"{ratio:.2f} (p = {p:.2g} for more than 1)"
    )
    further = ""
    if over:
        further = "a random effect for each row, a negative binomial, or predictors"
    elif under:
        further = "less spread than the family has: dependent counts, too many effects"
    verdict = worst(over or under, over and ratio > 1.5 and p < 1e-3)
    return [Check("dispersion", "Pearson ratio", ratio, verdict, finding, further)]


def zeros(fit: GLMMFit, seed: Any) -> list[Check]:
    """Observed zeros and those that the fitted means lead one to expect."""
    if not _counts(fit):
        return []
    observed = int((fit.design.y == 0.0).sum())
    if follows_rows(fit):
        expected, deviation = _simulated_zeros(fit, seed)
    else:
        expected, deviation = _expected_zeros(fit)
    if deviation == 0.0 or (observed == 0 and expected < 1.0):
        return []
    z = (observed - expected) / deviation
    ratio = observed / expected
    bad = abs(z) > 2.5 and not 0.9 < ratio < 1.1
    further = ""
    if bad and z > 0:
        further = (
            "more zeros than the family has: a negative binomial, or two processes"
        )
    elif bad:
        further = "fewer zeros than the family has: were they left out?"
    verdict = worst(bad, abs(z) > 5.0)
    finding = f"{observed} zeros, {expected:.1f} expected (z = {z:.1f})"
    return [Check("zeros", "observed / expected", ratio, verdict, finding, further)]


def _expected_zeros(fit: GLMMFit) -> tuple[float, float]:
    """Mean and standard deviation of the zeros at the fitted means."""
    nothing = np.zeros_like(fit.mu)
    with np.errstate(divide="ignore"):
        logs = fit.family.loglik(nothing, fit.design.weights, fit.mu, log_extra(fit))
    chance = np.exp(np.minimum(logs, 0.0))
    return float(chance.sum()), math.sqrt(float((chance * (1.0 - chance)).sum()))


def _simulated_zeros(fit: GLMMFit, seed: Any) -> tuple[float, float]:
    """The same of simulated responses, random effects drawn anew."""
    found = np.concatenate(
        [
            (draw_block(fit, one, size) == 0.0).sum(axis=1)
            for one, size in blocks(fit, _REPLICATES, seed)
        ]
    )
    return float(found.mean()), float(found.std(ddof=1))
