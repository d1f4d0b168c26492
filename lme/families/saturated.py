"""Saturated log-likelihoods and unit deviances, without cancellation.

``log Gamma(x) = (x - 1/2) log x - x + (1/2) log(2 pi) + delta(x)``, where `stirling`
is the remainder ``delta``. Written with it, the density of a Poisson count at its own
mean, ``k log k - k - log k!``, needs no difference of large numbers, and from it
follow those of binomial, gamma and negative binomial responses at their means.

References
----------
.. [1] Loader, C. (2000). Fast and accurate computation of binomial probabilities.
   Technical report, Bell Laboratories.
.. [2] Abramowitz, M. & Stegun, I. A. (1964). Handbook of Mathematical Functions,
   6.1.41 and 6.3.18. National Bureau of Standards.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]

_HALF_LOG_2PI = 0.5 * np.log(2.0 * np.pi)
#: From here on the asymptotic series is exact to rounding.
_LARGE = 16.0
_DELTA = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)


def _series(x: Array, coefficients: Sequence[float]) -> Array:
    """``sum_k coefficients[k] / x^(2 k + 1)``."""
    inverse = 1.0 / x
    square = inverse * inverse
    total = np.zeros_like(x)
    for coefficient in reversed(coefficients):
        total = total * square + coefficient
    return total * inverse


def stirling(x: Array) -> Array:
    """``delta(x)``, the remainder of Stirling's formula, for ``x > 0``.

    Examples
    --------
    >>> round(float(stirling(np.array(1.0))), 12)
    0.081061466795
    """
    x = np.asarray(x, dtype=np.float64)
    small = np.minimum(x, _LARGE)
    direct = special.gammaln(small) - (small - 0.5) * np.log(small) + small
    series = _series(np.maximum(x, _LARGE), _DELTA)
    return np.where(x < _LARGE, direct - _HALF_LOG_2PI, series)


def stirling_slope(x: Array) -> Array:
    """``x delta'(x)``, for ``x > 0``: ``x (psi(x) - log x) + 1/2``."""
    x = np.asarray(x, dtype=np.float64)
    small = np.minimum(x, _LARGE)
    direct = small * (special.digamma(small) - np.log(small)) + 0.5
    slopes = [-(2 * k + 1) * c for k, c in enumerate(_DELTA)]
    return np.where(x < _LARGE, direct, _series(np.maximum(x, _LARGE), slopes))


def poisson_saturated(k: Array) -> Array:
    """``k log k - k - log Gamma(k + 1)``, for ``k >= 0``; 0 at 0.

    Examples
    --------
    >>> poisson_saturated(np.array([0.0, 1.0]))
    array([ 0., -1.])
    """
    positive = k > 0.0
    safe = np.where(positive, k, 1.0)
    value = -(_HALF_LOG_2PI + 0.5 * np.log(safe) + stirling(safe))
    return np.where(positive, value, 0.0)


def binomial_saturated(successes: Array, trials: Array) -> Array:
    """Log-probability of `successes` in `trials` at the observed proportion."""
    return (
        poisson_saturated(successes)
        + poisson_saturated(trials - successes)
        - poisson_saturated(trials)
    )


def poisson_deviance(y: Array, mu: Array) -> Array:
    """``y log(y / mu) - (y - mu)``: half the unit deviance of a Poisson count.

    Accurate, relative to itself, also where `mu` is next to `y`; infinite at
    ``mu = 0 < y``. Unit deviances of the other families are made of it.

    Notes
    -----
    With ``v = (y - mu) / (y + mu)`` the logarithm is ``2 artanh(v)``, so that for
    small ``v`` it is ``(y - mu) v + 2 y (v^3/3 + v^5/5 + ...)`` [1]_.
    """
    y, mu = np.broadcast_arrays(np.asarray(y, float), np.asarray(mu, float))
    total = y + mu
    v = np.divide(y - mu, total, out=np.ones_like(total), where=total > 0.0)
    near = np.abs(v) < 0.1
    small = np.where(near, v, 0.0)
    square = small * small
    series = np.zeros_like(total)
    for odd in range(19, 1, -2):
        series = series * square + 1.0 / odd
    series *= 2.0 * y * square * small
    direct = special.rel_entr(y, mu) - (y - mu)
    return np.where(near, (y - mu) * small + series, direct)
