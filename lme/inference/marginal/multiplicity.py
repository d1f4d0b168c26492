"""Adjustment of p-values and intervals for a family of estimates.

Single-step methods compare every statistic with the distribution of the largest one
and so give intervals too; step-wise ones (Holm, Hochberg, false discovery rate) give
p-values only, and their intervals are Bonferroni's. A new method is a row of
`ADJUSTMENTS`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.interpolate import BarycentricInterpolator
from scipy.special import ndtr

from lme.errors import OptionError, near

Array = NDArray[np.float64]

#: Points on the sphere over which a maximum of t statistics is averaged.
_POINTS = 2**13
#: Degrees of freedom at which critical values are found; between them they follow
#: a polynomial.
_NODES = 16


@dataclass(frozen=True)
class Family:
    """What an adjustment may depend on beside the statistics.

    Attributes
    ----------
    size : int
        Number of estimates that could be made.
    means : int
        Number of means whose differences they are; 0 where they are not all pairs.
    correlation : (m, m) array
        Of the estimates.
    rank : int
        Rank of their covariance.
    """

    size: int
    means: int
    correlation: Array
    rank: int

    @cached_property
    def directions(self) -> tuple[int, Array]:
        """Rank of the correlations ``A A'``, and ``max|A u|`` for directions u."""
        values, vectors = np.linalg.eigh(self.correlation)
        keep = values > 1e-9 * values[-1]
        root = vectors[:, keep] * np.sqrt(values[keep])
        # The same points every time: an answer must not depend on chance.
        points = _seeded(stats.qmc.Sobol, root.shape[1]).random(_POINTS)
        u = stats.norm.ppf(np.clip(points, 1e-12, 1.0 - 1e-12))
        u /= np.linalg.norm(u, axis=1)[:, None]
        return root.shape[1], np.abs(u @ root.T).max(axis=1)


#: Upper tail of the largest of the family's |t|, by t, df and family.
Tail = Callable[[float, float, Family], float]


def _sidak(t: float, df: float, family: Family) -> float:
    """Exact for independent estimates: ``1 - (1 - p)^m``."""
    p = 2.0 * stats.t.sf(t, df)
    return float(-np.expm1(family.size * np.log1p(-min(p, 1.0 - 1e-16))))


def _bonferroni(t: float, df: float, family: Family) -> float:
    return float(min(1.0, family.size * 2.0 * stats.t.sf(t, df)))


def _scheffe(t: float, df: float, family: Family) -> float:
    """For all linear combinations at once: ``t^2 / r`` is F."""
    return _f_tail(t**2 / family.rank, family.rank, df)


def _tukey(t: float, df: float, family: Family) -> float:
    return range_tail(np.sqrt(2.0) * t, float(family.means), df)


def _dunnett(t: float, df: float, family: Family) -> float:
    """Emmeans' approximation ``dunnettx``: between Tukey's and Sidak's tails.

    m comparisons stand for all pairs of ``(1 + sqrt(1 + 8 m))/2`` means, with weight
    ``(m - 1)/m``; Sidak's has the weight ``1/m``.
    """
    m = family.size
    means = (1.0 + np.sqrt(1.0 + 8.0 * m)) / 2.0
    tukey = range_tail(np.sqrt(2.0) * t, means, df)
    return ((m - 1) * tukey + _sidak(t, df, family)) / m


def _mvt(t: float, df: float, family: Family) -> float:
    """The largest of multivariate t statistics with the estimates' correlations.

    Notes
    -----
    With the correlations ``A A'``, A of rank r, the statistics are ``A z / s``. Along
    a direction u of z the largest is ``|z|/s`` times ``max|A u|``, and
    ``(|z|/s)^2 / r`` is F with r and df degrees of freedom: its tail is averaged over
    evenly spread directions. The absolute error is a few 1e-4 at most.
    """
    r, largest = family.directions
    if r == 1:
        return float(2.0 * stats.t.sf(t, df))
    x = (t / largest) ** 2 / r
    every = stats.chi2.sf(r * x, r) if np.isinf(df) else stats.f.sf(x, r, df)
    return float(np.mean(every))


def _f_tail(F: float, q: int, df: float) -> float:
    return float(stats.chi2.sf(q * F, q) if np.isinf(df) else stats.f.sf(F, q, df))


def range_tail(q: float, means: float, df: float) -> float:
    """Upper tail of the studentized range.

    Parameters
    ----------
    q : float
    means : float
        Number of means, at least 2.
    df : float
        Degrees of freedom of the standard deviation, or infinity.

    Notes
    -----
    ``E[1 - k int phi(z) (Phi(z) - Phi(z - q s))^(k-1) dz]`` over the distribution of
    ``s^2 df ~ chi^2``; the trapezoidal rule converges exponentially in z and log(s),
    where both integrands fall off like normal densities. The absolute error is near
    1e-14.

    Examples
    --------
    >>> round(range_tail(3.5, 4, 20.0), 6)
    0.094958
    """
    if np.isnan(q) or np.isnan(df):
        return np.nan
    scale, weights = _deviation_nodes(df)
    z = np.linspace(-8.5, 8.5, 171)
    density = stats.norm.pdf(z) * (z[1] - z[0])
    inside = np.maximum(ndtr(z) - ndtr(z - q * scale[:, None]), 0.0)
    covered = means * (inside ** (means - 1.0)) @ density
    return float(np.clip(weights @ (1.0 - covered), 0.0, 1.0))


def _deviation_nodes(df: float) -> tuple[Array, Array]:
    """Points of ``sqrt(chi^2/df)`` and their weights, which sum to 1."""
    if np.isinf(df):
        return np.ones(1), np.ones(1)
    ends = np.log([stats.chi2.ppf(1e-18, df), stats.chi2.isf(1e-18, df)])
    # With one degree of freedom log(s) has a long tail below.
    x = np.linspace(ends[0], ends[1], max(121, int(10.0 * (ends[1] - ends[0]))))
    weights = stats.chi2.pdf(np.exp(x), df) * np.exp(x)
    return np.sqrt(np.exp(x) / df), weights / weights.sum()


@dataclass(frozen=True)
class Adjustment:
    """One method.

    Attributes
    ----------
    label : str
        The method in headers.
    tail : callable or None
        Upper tail of the largest statistic, for single-step methods.
    stepwise : callable or None
        From p-values and the size of the family to adjusted ones.
    """

    label: str
    tail: Tail | None = None
    stepwise: Callable[[Array, int], Array] | None = None


def _holm(p: Array, m: int) -> Array:
    order = np.argsort(p)
    steps = (m - np.arange(p.size)) * p[order]
    return _restored(np.maximum.accumulate(steps), order)


def _hochberg(p: Array, m: int) -> Array:
    order = np.argsort(p)[::-1]
    steps = (np.arange(p.size) + 1 + m - p.size) * p[order]
    return _restored(np.minimum.accumulate(steps), order)


def _discoveries(p: Array, m: int) -> Array:
    order = np.argsort(p)[::-1]
    steps = m / np.arange(p.size, 0, -1) * p[order]
    return _restored(np.minimum.accumulate(steps), order)


def _restored(steps: Array, order: NDArray[np.intp]) -> Array:
    out = np.empty_like(steps)
    out[order] = np.minimum(steps, 1.0)
    return out


ADJUSTMENTS: dict[str, Adjustment] = {
    "none": Adjustment("none"),
    "tukey": Adjustment("Tukey", tail=_tukey),
    "sidak": Adjustment("Sidak", tail=_sidak),
    "bonferroni": Adjustment("Bonferroni", tail=_bonferroni),
    "scheffe": Adjustment("Scheffe", tail=_scheffe),
    "mvt": Adjustment("multivariate t", tail=_mvt),
    "dunnettx": Adjustment("Dunnett, approximate", tail=_dunnett),
    "holm": Adjustment("Holm", stepwise=_holm),
    "hochberg": Adjustment("Hochberg", stepwise=_hochberg),
    "fdr": Adjustment("false discovery rate (BH)", stepwise=_discoveries),
}
"""Methods by name."""


def adjustment_name(adjust: str) -> str:
    """The key in `ADJUSTMENTS`, checked; ``"BH"`` is ``"fdr"``.

    Raises
    ------
    OptionError
        For an unknown method.
    """
    name = str(adjust).lower()
    name = {"bh": "fdr", "dunnett": "dunnettx"}.get(name, name)
    if name not in ADJUSTMENTS:
        raise OptionError(
            f"adjust={adjust!r} is not known.",
            f"It must be one of {', '.join(map(repr, ADJUSTMENTS))}.",
            near(name, ADJUSTMENTS),
        )
    return name


def adjusted_p(t: Array, df: Array, name: str, family: Family) -> Array:
    """Two-sided p-values of a family, NaN where a statistic is.

    Parameters
    ----------
    t, df : (m,) arrays
        Statistics and their degrees of freedom; infinite for the normal distribution.
    name : str
        A key of `ADJUSTMENTS`.
    family : Family
    """
    plain: Array = np.asarray(2.0 * stats.t.sf(np.abs(t), df))
    method = ADJUSTMENTS[name]
    known = ~np.isnan(plain)
    out = plain.copy()
    if method.stepwise is not None:
        out[known] = method.stepwise(plain[known], family.size)
    elif method.tail is not None:
        out[known] = [
            method.tail(abs(float(each)), float(own), family)
            for each, own in zip(t[known], df[known], strict=True)
        ]
    return out


def critical_values(df: Array, level: float, name: str, family: Family) -> Array:
    """Half widths of intervals in standard errors, (m,).

    Parameters
    ----------
    df : (m,) array
    level : float
        Coverage of all intervals together; of each with "none".
    name : str
        A key of `ADJUSTMENTS`; step-wise methods have Bonferroni's intervals.
    family : Family
    """
    alpha = 1.0 - level
    method = ADJUSTMENTS["bonferroni" if ADJUSTMENTS[name].stepwise else name]
    tail = method.tail
    if tail is None or not family.size:
        return np.asarray(stats.t.isf(alpha / 2.0, df))
    known = df[~np.isnan(df)]
    inverse = np.unique(np.round(1.0 / known, 12))
    if inverse.size <= _NODES:
        values = [_critical(tail, alpha, _reciprocal(x), family) for x in inverse]
        place = np.searchsorted(inverse, np.round(1.0 / known, 12))
        critical = np.array(values)[place] if values else known
    else:
        critical = _interpolated(tail, alpha, 1.0 / known, family)
    out = np.full(df.shape, np.nan)
    out[~np.isnan(df)] = critical
    return out


def _seeded(make: Callable[..., Any], *arguments: Any) -> Any:
    """An object of SciPy's with random numbers of its own, the same every time."""
    named = signature(make).parameters
    # SciPy before 1.15 had a name for each class.
    seed = next(name for name in ("rng", "seed", "random_state") if name in named)
    return make(*arguments, **{seed: 1})


def _reciprocal(x: float) -> float:
    return 1.0 / x if x > 0.0 else np.inf


def _interpolated(tail: Tail, alpha: float, inverse: Array, family: Family) -> Array:
    """Critical values by a polynomial: their logarithm is smooth in ``1/df``."""
    low, high = float(inverse.min()), float(inverse.max())
    nodes = np.cos(np.pi * (np.arange(_NODES) + 0.5) / _NODES)
    points = (low + high) / 2.0 + (high - low) / 2.0 * nodes
    values = [_critical(tail, alpha, _reciprocal(x), family) for x in points]
    fitted = _seeded(BarycentricInterpolator, points, np.log(values))
    return np.asarray(np.exp(fitted(inverse)), dtype=float)


def _critical(tail: Tail, alpha: float, df: float, family: Family) -> float:
    """Where the tail is alpha."""
    high = 2.0 * float(stats.t.isf(alpha / 2.0, df)) + 1.0
    while tail(high, df, family) > alpha:
        high *= 2.0
    found = optimize.brentq(
        lambda t: tail(t, df, family) - alpha, 0.0, high, xtol=1e-10
    )
    return float(found)
