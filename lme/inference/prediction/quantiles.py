"""Quantiles of a response whose linear predictor is uncertain.

With ``eta ~ N(m, s^2)`` and a family around the mean at eta, the distribution function
is ``F(y) = E P(Y <= y | eta)``; its quantiles are the limits of an interval for a new
observation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lme.families.base import Family
from lme.families.cumulative import Distribution, distribution

Array = NDArray[np.float64]

_SPAN = 5.0  # standard deviations of eta that the nodes cover on each side
_ROWS = 2000
#: Where the response varies less than this share of the mean's own spread, the two
#: are added on the scale of eta; the error is of second order in it.
_SHARP = 0.1
_STEPS = 100
_TOLERANCE = 1e-10  # of a probability


@dataclass(frozen=True)
class Mixture:
    """Rows of a family with normal linear predictors.

    Attributes
    ----------
    family : Family
    eta, sd : (m,) arrays
        Mean and standard deviation of the linear predictor.
    weights : (m,) array
    extra : float
        Logarithm of the extra parameter.
    """

    family: Family
    eta: Array
    sd: Array
    weights: Array
    extra: float

    def rows(self, chosen: NDArray[np.bool_] | slice) -> Mixture:
        """Some of the rows."""
        return Mixture(
            self.family,
            self.eta[chosen],
            self.sd[chosen],
            self.weights[chosen],
            self.extra,
        )


def quantiles(mixture: Mixture, probability: float) -> Array:
    """The smallest y with ``F(y) >= probability`` of each row, (m,).

    Parameters
    ----------
    mixture : Mixture
    probability : float
        Between 0 and 1.

    Returns
    -------
    ndarray
        In the form of the response: proportions for a binomial family; NaN where the
        linear predictor is not a number.
    """
    out = np.full(mixture.eta.size, np.nan)
    known = np.isfinite(mixture.eta) & np.isfinite(mixture.sd)
    known &= mixture.weights > 0.0
    found = [
        _some(mixture.rows(known).rows(slice(first, first + _ROWS)), probability)
        for first in range(0, int(known.sum()), _ROWS)
    ]
    out[known] = np.concatenate([np.empty(0), *found])
    return out


def _some(mixture: Mixture, probability: float) -> Array:
    family = mixture.family
    law = distribution(family)
    center = family.mean(mixture.eta)
    slope = family.link.first(mixture.eta)
    with np.errstate(divide="ignore", invalid="ignore"):
        spread = np.sqrt(_variance(mixture, center, law)) / np.abs(slope)
        width = spread / mixture.sd
    sharp = width < _SHARP
    # The start of the search, and the answer where the mean's own spread is most of it.
    z = float(special.ndtri(probability))
    total = np.sqrt(mixture.sd**2 + np.minimum(spread, 1e3 * (1.0 + mixture.sd)) ** 2)
    guess = family.mean(mixture.eta + np.sign(slope) * z * total)
    scale = _lattice(mixture, law)
    out = guess if scale is None else np.ceil(guess * scale - 0.5) / scale
    rest = ~sharp
    if rest.any():
        part = mixture.rows(rest)
        means, shares = _nodes(part, float(np.nanmin(width[rest])))
        search = _Search(part, law, means, shares, probability)
        if scale is None:
            out[rest] = search.continuous(guess[rest])
        else:
            out[rest] = search.discrete(guess[rest], scale[rest])
    return np.asarray(out)


def _variance(mixture: Mixture, mean: Array, law: Distribution) -> Array:
    """Variance of the responses of each row given the mean."""
    variance = mixture.family.variance(mean, mixture.extra)
    if mixture.family.dispersion:
        return np.asarray(
            variance / mixture.family.precision(mixture.weights, mixture.extra)
        )
    return variance / mixture.weights if law.support == "proportions" else variance


def _lattice(mixture: Mixture, law: Distribution) -> Array | None:
    """Steps of the response in one unit; None for a continuous one."""
    if law.support == "proportions":
        return mixture.weights
    return np.ones(mixture.eta.size) if law.support == "counts" else None


def _nodes(mixture: Mixture, width: float) -> tuple[Array, Array]:
    """Means at the nodes of the trapezoidal rule over eta, (m, k), and their shares.

    The error of the rule falls like ``exp(-2 (pi w / h)^2)`` with the spacing h, where
    w is the width of the step that ``P(Y <= y | eta)`` makes.
    """
    h = float(np.clip(0.7 * width, 0.07, 0.4))
    z = np.arange(-_SPAN, _SPAN + h / 2, h)
    eta = mixture.eta[:, None] + mixture.sd[:, None] * z
    means = mixture.family.mean(eta)
    shares = np.broadcast_to(np.exp(-0.5 * z * z), eta.shape)
    # Normal tails can leave the range of a link such as the inverse.
    valid = mixture.family.link.valid_eta(eta)
    if mixture.family.name not in ("gaussian", "bernoulli", "binomial"):
        valid = valid & (means > 0.0)
    shares = np.where(valid, shares, 0.0)
    means = np.where(valid, means, mixture.family.mean(mixture.eta)[:, None])
    return means, shares / shares.sum(axis=1, keepdims=True)


@dataclass(frozen=True)
class _Search:
    """Roots of ``F(y) = probability`` for all rows at once."""

    mixture: Mixture
    law: Distribution
    means: Array
    shares: Array
    probability: float

    def excess(self, y: Array) -> Array:
        """``F(y) - probability``."""
        mixture = self.mixture
        values = self.law.cumulative(
            mixture.family,
            y[:, None],
            self.means,
            mixture.weights[:, None],
            mixture.extra,
        )
        return np.asarray(np.sum(values * self.shares, axis=1) - self.probability)

    def discrete(self, guess: Array, scale: Array) -> Array:
        """By halving intervals of whole numbers."""
        most = scale if self.law.support == "proportions" else np.inf
        start = np.clip(np.floor(guess * scale), 0.0, np.minimum(most, 2.0**52))
        low, high = start - 1.0, start
        step = np.ones_like(start)
        for _ in range(60):
            above = (low >= 0.0) & (self.excess(low / scale) >= 0.0)
            below = (high < most) & (self.excess(high / scale) < 0.0)
            if not (above | below).any():
                break
            low = np.where(above, np.maximum(low - step, -1.0), low)
            high = np.where(below, np.minimum(high + step, most), high)
            step *= 2.0
        while True:
            active = high - low > 1.0
            if not active.any():
                return np.asarray(high / scale)
            middle = np.floor(0.5 * (low + high))
            reached = self.excess(middle / scale) >= 0.0
            high = np.where(active & reached, middle, high)
            low = np.where(active & ~reached, middle, low)

    def continuous(self, guess: Array) -> Array:
        """By false positions in y, or in log y for positive responses."""
        positive = self.law.support == "positive"
        outward = np.exp if positive else np.asarray
        start = np.log(np.maximum(guess, 1e-300)) if positive else guess
        step = np.full(start.shape, 0.1) if positive else 0.1 * (1 + np.abs(start))
        low, high = start - step, start + step
        for _ in range(60):
            above = self.excess(outward(low)) > 0.0
            below = self.excess(outward(high)) < 0.0
            if not (above | below).any():
                break
            step = 2.0 * step
            low = np.where(above, low - step, low)
            high = np.where(below, high + step, high)
        at_low, at_high = self.excess(outward(low)), self.excess(outward(high))
        for _ in range(_STEPS):
            with np.errstate(divide="ignore", invalid="ignore"):
                point = low - at_low * (high - low) / (at_high - at_low)
            point = np.where(np.isfinite(point), point, 0.5 * (low + high))
            value = self.excess(outward(point))
            right = value >= 0.0
            # Illinois rule: the end that stays counts half, so that it moves too.
            at_low = np.where(right, 0.5 * at_low, value)
            at_high = np.where(right, value, 0.5 * at_high)
            high, low = np.where(right, point, high), np.where(right, low, point)
            if np.abs(value).max() < _TOLERANCE:
                return np.asarray(outward(point))
        return np.asarray(outward(0.5 * (low + high)))
