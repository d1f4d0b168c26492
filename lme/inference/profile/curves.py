"""The profile of one parameter: a table of zeta, and its interpolation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline
from scipy.special import ndtri

from lme.inference.profile.scales import Scale

Array = NDArray[np.float64]

#: Decrease of zeta that is none: the root of a rounding error of the deviance.
_ROUNDING = 1e-4
#: Zeta so little beyond the last point is that of the point.
_AT_END = 1e-6


@dataclass(frozen=True)
class Curve:
    """The profile of one parameter.

    Attributes
    ----------
    name : str
    kind : {"sd", "cor", "sigma", "theta", "beta"}
    estimate : float
    zeta : (m,) array
        Signed roots of the rise of the deviance, ``sign(value - estimate)
        sqrt(deviance - minimum)``; standard normal if the deviance were quadratic.
    values : (m,) array
        Where the parameter was held, ascending.
    others : (m, r) array
        All parameters of the model at the constrained optimum.
    at, rate : (m,) arrays
        The values on `scale`, and the derivative of zeta there (NaN at the estimate
        of a parameter on its bound).
    scale : Scale
        On which the curve is interpolated.
    lower, upper : float
        What a limit is that zeta never reaches: 0 for a standard deviation, -1 or 1
        for a correlation, infinite where a path went on forever, NaN where it broke
        off.
    """

    name: str
    kind: str
    estimate: float
    zeta: Array
    values: Array
    others: Array
    at: Array
    rate: Array
    scale: Scale
    lower: float
    upper: float

    @cached_property
    def monotone(self) -> bool:
        """Whether zeta nowhere decreases, but for rounding errors."""
        return bool((np.diff(self.zeta) >= -_ROUNDING).all())

    @cached_property
    def _pieces(self) -> _Pieces:
        return _Pieces(self.at, self.zeta, self.rate, self.scale.low, self.monotone)

    def value(self, zeta: ArrayLike) -> Array:
        """The parameter at given zeta; NaN beyond the ends of the profile."""
        wanted = np.asarray(zeta, dtype=float)
        at = np.array([self._pieces.backward(z) for z in wanted.ravel()])
        out = [self.scale.outward(a) if np.isfinite(a) else np.nan for a in at]
        return np.asarray(out, dtype=float).reshape(wanted.shape)

    def zeta_at(self, value: ArrayLike) -> Array:
        """Zeta at given values of the parameter; NaN beyond the ends."""
        wanted = np.asarray(value, dtype=float)
        low, high = self.values[0], self.values[-1]
        out = [
            self._pieces.forward(self.scale.inward(v)) if low <= v <= high else np.nan
            for v in wanted.ravel()
        ]
        return np.asarray(out, dtype=float).reshape(wanted.shape)

    def limits(self, level: float) -> tuple[float, float]:
        """Where the profile crosses ``-z`` and ``z``, z the normal quantile."""
        z = float(ndtri(0.5 + 0.5 * level))
        found = self.value([-z, z])
        ends = self.zeta[[0, -1]]
        low = float(found[0]) if ends[0] <= _AT_END - z else self.lower
        high = float(found[1]) if ends[1] >= z - _AT_END else self.upper
        return low, high

    def to_frame(self, points: int | None = None) -> pd.DataFrame:
        """Columns ``value``, ``zeta`` and ``density``.

        Parameters
        ----------
        points : int, optional
            Evenly spaced values; those of the profile by default.

        Notes
        -----
        The density is that of a parameter whose zeta is standard normal: ``phi(zeta)
        dzeta / dvalue``. A Wald interval takes it for a normal curve.
        """
        values = self.values
        if points is not None:
            values = np.linspace(values[0], values[-1], points)
        zeta = self.zeta_at(values)
        density = np.gradient(zeta, values) if values.size > 2 else zeta * np.nan
        density = density * np.exp(-0.5 * zeta**2) / np.sqrt(2.0 * np.pi)
        return pd.DataFrame({"value": values, "zeta": zeta, "density": density})


class _Pieces:
    """Interpolation of zeta on a scale, and of the scale by zeta."""

    def __init__(
        self, at: Array, zeta: Array, rate: Array, low: float, monotone: bool
    ) -> None:
        self.at, self.zeta = at, zeta
        self._smooth = None
        self._inverse = None
        rising = np.flatnonzero(np.diff(zeta) > 0.0)
        if not monotone or rising.size < 2:
            return
        # At an end the profile may stay where it is, for want of a correlation.
        core = slice(int(rising[0]), int(rising[-1]) + 2)
        at, zeta, rate = at[core], zeta[core], rate[core]
        if not (np.diff(zeta) > 0.0).all():
            return
        self.at, self.zeta = at, zeta
        secant = np.diff(zeta) / np.diff(at)
        least = np.minimum(np.append(secant, secant[-1]), np.append(secant[0], secant))
        # Beyond three times a secant a cubic overshoots (Fritsch & Carlson 1980).
        slopes = np.where(np.isfinite(rate) & (rate > 0.0), rate, least)
        self._smooth = CubicHermiteSpline(at, zeta, np.minimum(slopes, 3.0 * least))
        inverse = np.minimum(1.0 / slopes, 3.0 / _largest(secant))
        self._inverse = CubicHermiteSpline(zeta, at, inverse)
        self._square = low == 0.0 and at[0] <= 1e-6 * at[-1] and rate[1] > 0.0
        if self._square:
            # zeta is even in a standard deviation at zero: a parabola in its square
            # with the slope at the next point.
            a, b = at[1] ** 2, float(zeta[1] - zeta[0])
            slope = rate[1] / (2.0 * at[1])
            bend = (slope - b / a) / a
            self._parabola = (zeta[0], b / a - bend * a, bend)
            self._square = self._parabola[1] > 0.0

    def forward(self, at: float) -> float:
        """Zeta on the scale."""
        if self._smooth is None:
            return float(np.interp(at, self.at, self.zeta))
        if not self.at[0] <= at <= self.at[-1]:
            return float(self.zeta[0 if at < self.at[0] else -1])
        if self._square and at < self.at[1]:
            c, b, a = self._parabola
            return float(c + b * at**2 + a * at**4)
        return float(self._smooth(at))

    def backward(self, zeta: float) -> float:
        """The scale at zeta: the outermost crossing where there are several."""
        if self._inverse is not None:
            low, high = float(self.zeta[0]), float(self.zeta[-1])
            if not low - _AT_END <= zeta <= high + _AT_END:
                return float("nan")
            zeta = min(max(zeta, low), high)
            if self._square and zeta < self.zeta[1]:
                c, b, a = self._parabola
                root = np.sqrt(max(b * b + 4.0 * a * (zeta - c), 0.0))
                return float(np.sqrt(max(2.0 * (zeta - c) / (b + root), 0.0)))
            return float(self._inverse(zeta))
        return self._crossing(zeta)

    def _crossing(self, zeta: float) -> float:
        """Linear interpolation, from outside inwards."""
        rise = self.zeta - zeta
        through = np.flatnonzero(rise[:-1] * rise[1:] <= 0.0)
        if not through.size:
            return float("nan")
        i = int(through[0] if zeta < 0.0 else through[-1])
        width = rise[i + 1] - rise[i]
        share = -rise[i] / width if width != 0.0 else 0.0
        return float(self.at[i] + share * (self.at[i + 1] - self.at[i]))


def _largest(secant: Array) -> Array:
    """The larger secant beside each point."""
    beside = np.append(secant, secant[-1]), np.append(secant[0], secant)
    return np.asarray(np.maximum(*beside), dtype=np.float64)
