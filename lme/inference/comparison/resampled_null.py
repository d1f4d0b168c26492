"""The distribution of a likelihood ratio by a parametric bootstrap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.inference.bootstrap.refitting import refit_many
from lme.inference.comparison.candidates import Candidate, linear_criterion
from lme.inference.comparison.without_effects import estimated
from lme.inference.prediction import simulation

Array = NDArray[np.float64]

#: Replicates that are drawn and refitted together.
_CHUNK = 256


def bootstrap_statistics(
    small: Candidate, large: Candidate, nsim: int, rng: np.random.Generator
) -> Array:
    """Likelihood ratios of responses drawn from the smaller model, (nsim,).

    Parameters
    ----------
    small, large : Candidate
        Both by maximum likelihood, or both by REML with the same fixed effects.
    nsim : int
    rng : Generator

    Returns
    -------
    (nsim,) array
        Never negative; NaN where a refit failed.
    """
    mechanism = mechanism_of(small)
    seed = np.random.SeedSequence(int(rng.integers(2**63)))
    out = np.empty(nsim)
    for i, first in enumerate(range(0, nsim, _CHUNK)):
        count = min(_CHUNK, nsim - first)
        Y = simulation.draw(mechanism, simulation.child(seed, i), count)
        drop = objectives(small, Y, warm=True) - objectives(large, Y)
        out[first : first + count] = np.maximum(drop, 0.0)
    return out


def mechanism_of(one: Candidate) -> simulation.Mechanism:
    """What responses of a candidate are drawn from."""
    if one.fit is not None:
        return simulation.mechanism_of(one.fit)
    if one.distribution == "gaussian(identity)":
        deviations = np.exp(0.5 * one.extra) / np.sqrt(one.weights)
        return simulation.Mechanism(one.mu, (), deviations)
    return simulation.Mechanism(
        one.family.link.link(one.mu),
        (),
        family=one.family,
        weights=one.weights,
        extra=one.extra,
    )


def objectives(one: Candidate, Y: Array, *, warm: bool = False) -> Array:
    """The criterion of a model for each response (R, n); NaN where a fit failed.

    `warm` starts at the estimates: for responses that were drawn from them.
    """
    if one.fit is not None:
        found = refit_many(one.fit, Y, warm=warm)
        return np.where(found.converged, found.objective, np.nan)
    if one.distribution == "gaussian(identity)":
        return _least_squares(one, Y)
    return np.array([_generalized(one, y) for y in Y])


def _generalized(one: Candidate, y: Array) -> float:
    return estimated(one.family, y, one.X, one.offset, one.weights).objective


def _least_squares(one: Candidate, Y: Array) -> Array:
    """ML or REML criterion of least squares for each response."""
    root = np.sqrt(one.weights)
    Q = np.linalg.qr(one.X * root[:, None])[0]
    Z = (Y - one.offset) * root
    left = Z - (Z @ Q) @ Q.T
    return linear_criterion(one, np.einsum("rn,rn->r", left, left), one.reml)
