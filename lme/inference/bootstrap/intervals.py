"""Intervals from the replicates of an estimate."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from lme.errors import DataError, OptionError, near

Array = NDArray[np.float64]


def shortest_interval(values: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Shortest interval that covers a share of the values.

    Parameters
    ----------
    values : array_like, shape (R,)
        Replicates; NaN are left out.
    level : float
        Share to cover, between 0 and 1.

    Returns
    -------
    lower, upper : float
        Two of the values, ``ceil(level * R)`` of which lie between them; the lowest
        where several intervals are equally short.

    Raises
    ------
    OptionError
        If `level` is not between 0 and 1.
    DataError
        If no value is left.

    Notes
    -----
    For a skewed distribution it is shorter than the percentile interval, and near a
    bound, such as zero for a standard deviation, it reaches the bound. It changes with
    the scale: the interval of a variance is not the square of that of its root.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.random.default_rng(1).permutation(np.arange(1, 101))
    >>> shortest_interval(values, 0.95)
    (1.0, 95.0)
    """
    check_level(level)
    ordered = np.sort(np.asarray(values, dtype=float).ravel())
    ordered = ordered[~np.isnan(ordered)]
    if not ordered.size:
        raise DataError("There is no value to make an interval of.")
    # A count such as 0.95 * 100 may come out a digit above the whole number.
    inside = min(ordered.size, int(np.ceil(round(level * ordered.size, 9))))
    width = ordered[inside - 1 :] - ordered[: ordered.size - inside + 1]
    first = int(np.argmin(width))
    return float(ordered[first]), float(ordered[first + inside - 1])


def _percentile(values: Array, _: float, level: float) -> tuple[float, float]:
    low, high = _quantiles(values, level)
    return low, high


def _basic(values: Array, estimate: float, level: float) -> tuple[float, float]:
    low, high = _quantiles(values, level)
    return 2.0 * estimate - high, 2.0 * estimate - low


def _normal(values: Array, estimate: float, level: float) -> tuple[float, float]:
    if values.size < 2:
        return np.nan, np.nan
    center = 2.0 * estimate - float(values.mean())
    half = float(norm.ppf(0.5 + 0.5 * level)) * float(values.std(ddof=1))
    return center - half, center + half


def _shortest(values: Array, _: float, level: float) -> tuple[float, float]:
    return shortest_interval(values, level)


def _quantiles(values: Array, level: float) -> tuple[float, float]:
    """Order statistics at ``(R + 1) p``, interpolated, as R's boot package."""
    tail = 0.5 * (1.0 - level)
    low, high = np.quantile(values, [tail, 1.0 - tail], method="weibull")
    return float(low), float(high)


INTERVALS: dict[str, Callable[[Array, float, float], tuple[float, float]]] = {
    "percentile": _percentile,
    "basic": _basic,
    "normal": _normal,
    "shortest": _shortest,
}
"""Kinds of intervals."""


def check_level(level: float) -> None:
    """Refuse a level that is not between 0 and 1."""
    number = isinstance(level, float | int | np.floating | np.integer)
    if not number or isinstance(level, bool) or not 0.0 < level < 1.0:
        raise OptionError(
            f"level is {level!r}.",
            "It must be a number between 0 and 1.",
            "Write level=0.95 for 95 percent intervals.",
        )


def intervals(values: Array, estimates: Array, kind: str, level: float) -> Array:
    """Intervals of several quantities, (m, 2).

    Parameters
    ----------
    values : (R, m) array
        Replicates; NaN are left out, quantity by quantity.
    estimates : (m,) array
        From the data.
    kind : {"percentile", "basic", "normal", "shortest"}
    level : float

    Raises
    ------
    OptionError
        For another kind or an impossible level.

    Notes
    -----
    With ``q`` the quantiles of the replicates and ``t`` the estimate: percentile
    ``(q_low, q_high)``; basic ``(2t - q_high, 2t - q_low)``; normal ``2t - mean +- z
    sd``, which corrects for bias; shortest see `shortest_interval`. A quantity with
    fewer than two values has the interval NaN.

    References
    ----------
    Davison, A. C. & Hinkley, D. V. (1997). Bootstrap Methods and their Application,
    chapter 5. Cambridge University Press.
    """
    if not isinstance(kind, str) or kind not in INTERVALS:
        raise OptionError(
            f"kind={kind!r} is not known.",
            f"The kinds of intervals are {', '.join(INTERVALS)}.",
            near(str(kind), INTERVALS),
        )
    check_level(level)
    out = np.full((values.shape[1], 2), np.nan)
    for j, estimate in enumerate(estimates):
        known = values[~np.isnan(values[:, j]), j]
        if known.size > 1:
            out[j] = INTERVALS[kind](known, float(estimate), float(level))
    return out


def percent_labels(level: float) -> list[str]:
    """Column names as R writes them: ``2.5 %`` and ``97.5 %``."""
    tails = (0.5 * (1.0 - level), 0.5 * (1.0 + level))
    return [f"{100.0 * tail:.4g} %" for tail in tails]
