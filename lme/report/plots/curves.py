"""Curves through points, and densities of samples."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta, gaussian_kde, norm
from statsmodels.nonparametric.smoothers_lowess import lowess

Array = NDArray[np.float64]

_SMOOTHED = 100_000
"""Points up to which all take part in a smoother."""


def smooth(x: Array, y: Array, share: float = 2 / 3) -> tuple[Array, Array]:
    """A local regression of y on x, at the sorted distinct x.

    Parameters
    ----------
    x, y : (n,) arrays
    share : float
        Of the points in each local fit.

    Returns
    -------
    x, y : arrays
        Empty where x has fewer than three values.

    Notes
    -----
    Cleveland's lowess, with three robust iterations; none where y has two values, of
    which the rarer would be taken for outliers. Local fits are a hundredth of the range
    apart, with lines between.

    References
    ----------
    Cleveland (1979), Robust locally weighted regression and smoothing scatterplots,
    JASA 74:829, doi:10.1080/01621459.1979.10481038.
    """
    good = np.isfinite(x) & np.isfinite(y)
    x, y = x[good], y[good]
    if np.unique(x).size < 3:
        return np.empty(0), np.empty(0)
    if x.size > _SMOOTHED:
        chosen = np.random.default_rng(0).choice(x.size, _SMOOTHED, replace=False)
        x, y = x[chosen], y[chosen]
    delta = 0.01 * float(np.ptp(x))
    rounds = 0 if np.unique(y).size <= 2 else 3
    with np.errstate(all="ignore"):
        found = lowess(y, x, frac=share, it=rounds, delta=delta)
    at, first = np.unique(found[:, 0], return_index=True)
    values = found[first, 1]
    known = np.isfinite(values)
    return at[known], values[known]


def density(
    values: Array, low: float = -np.inf, high: float = np.inf, points: int = 256
) -> tuple[Array, Array]:
    """A kernel density of a sample, reflected at bounds that it comes near to.

    Parameters
    ----------
    values : (m,) array
        Without NaN.
    low, high : float
        Bounds of the parameter.

    Returns
    -------
    x, y : arrays
        Empty where the sample does not vary.
    """
    if values.size < 3 or np.ptp(values) <= 1e-12 * max(1.0, np.abs(values).max()):
        return np.empty(0), np.empty(0)
    kernel = gaussian_kde(values)
    margin = 3.0 * float(np.sqrt(kernel.covariance[0, 0]))
    x = np.linspace(
        max(low, values.min() - margin), min(high, values.max() + margin), points
    )
    y = kernel(x)
    for bound in (low, high):
        if np.isfinite(bound):
            y = y + kernel(2.0 * bound - x)
    return x, y


def normal_quantiles(count: int) -> Array:
    """Quantiles of the standard normal at ``(i - a) / (n + 1 - 2a)``.

    With ``a`` 3/8 for up to ten points and 1/2 for more, as R's ``ppoints``.
    """
    a = 0.375 if count <= 10 else 0.5
    return np.asarray(norm.ppf((np.arange(1, count + 1) - a) / (count + 1 - 2 * a)))


def normal_band(count: int, level: float) -> tuple[Array, Array]:
    """Pointwise limits of the order statistics of a standard normal sample."""
    i = np.arange(1, count + 1)
    tail = 0.5 * (1.0 - level)
    low = beta.ppf(tail, i, count + 1 - i)
    high = beta.ppf(1.0 - tail, i, count + 1 - i)
    return np.asarray(norm.ppf(low)), np.asarray(norm.ppf(high))


def jitter(count: int, width: float) -> Array:
    """Small displacements, the same every time."""
    return np.random.default_rng(0).uniform(-width, width, count)
