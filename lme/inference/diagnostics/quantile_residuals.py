"""Quantile residuals: where each response falls in its distribution under the fit.

Under the true model they are uniform on (0, 1), for counts and categories too.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from lme.fit import Fit
from lme.inference.known_levels import row_variances
from lme.inference.prediction.simulation import (
    blocks,
    child,
    count_of,
    draw_block,
    seed_sequence,
)
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Distance from 0 and 1 that is kept, so that normal scores are finite.
_EDGE = 1e-15


def quantile_residuals(
    fit: MixedFit, kind: str = "conditional", *, n: int = 250, seed: Any = None
) -> Array:
    """Randomized quantile residuals in the rows used, shape (n,), between 0 and 1.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    kind : {"conditional", "marginal"}
        Given the conditional modes, or with random effects drawn anew.
    n : int
        Responses simulated for a generalized model.
    seed : int, Generator, SeedSequence or None
        For a generalized model: the same seed gives the same numbers.

    Notes
    -----
    For a linear model the normal distribution function, exactly. For a generalized one
    ``(#{y* < y} + U (#{y* = y} + 1)) / (n + 1)`` with uniform U: the rank of the
    response among n simulated ones, ties broken at random, which is uniform under the
    true model for discrete responses too and for any n.

    Marginal residuals are uniform but those of a group go together; conditional ones
    are close to independent, and a little too central, as the modes follow the data.

    References
    ----------
    Dunn and Smyth (1996), Randomized quantile residuals, JCGS 5:236,
    doi:10.2307/1390802. Hartig (2016), DHARMa.
    """
    count = count_of(n)
    if isinstance(fit, Fit):
        return np.clip(ndtr(_normal_scores(fit, kind)), _EDGE, 1.0 - _EDGE)
    parent = seed_sequence(seed)
    y = fit.design.y
    # Simulated proportions and observed ones can differ in the last digit.
    slack = 1e-9 * np.maximum(1.0, np.abs(y))
    below, equal = np.zeros(y.size), np.zeros(y.size)
    re_form = "all" if kind == "conditional" else "none"
    for one, size in blocks(fit, count, child(parent, 0)):
        difference = draw_block(fit, one, size, re_form) - y
        below += (difference < -slack).sum(axis=0)
        equal += (np.abs(difference) <= slack).sum(axis=0)
    uniform = np.random.default_rng(child(parent, 1)).random(y.size)
    ranks = (below + uniform * (equal + 1.0)) / (count + 1.0)
    return np.clip(ranks, _EDGE, 1.0 - _EDGE)


def _normal_scores(fit: Fit, kind: str) -> Array:
    """Residuals of a linear model over their standard deviation under the fit."""
    design = fit.design
    variance = np.ones(design.nobs)
    if design.weights is not None:
        variance = 1.0 / design.weights
    if kind == "conditional":
        return np.asarray((design.y - fit.mu) / (fit.sigma * np.sqrt(variance)))
    offset = 0.0 if design.offset is None else design.offset
    for term, lam in zip(design.terms, fit.lambdas, strict=True):
        spread = ((term.values @ lam) ** 2).sum(axis=1)
        variance = variance + row_variances(term) * spread
    marginal = design.y - offset - fit.X @ fit.beta
    return np.asarray(marginal / (fit.sigma * np.sqrt(variance)))
