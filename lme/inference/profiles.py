"""Records of a profile: tables of zeta, their interpolation, and what they give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import CubicHermiteSpline, CubicSpline
from scipy.special import chdtri, ndtri

from lme.errors import OptionError, near
from lme.inference.bootstrap_intervals import percent_labels
from lme.inference.coverage import check_level
from lme.inference.parameters import Parameter, choose_parameters
from lme.inference.scales import Scale
from lme.inference.text import html_table, numbers, table

Array = NDArray[np.float64]


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
        """Whether zeta increases all the way."""
        return bool((np.diff(self.zeta) > 0.0).all())

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
        low = float(found[0]) if ends[0] <= -z else self.lower
        high = float(found[1]) if ends[1] >= z else self.upper
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
        self.at, self.zeta, self.monotone = at, zeta, monotone
        self._smooth = None
        self._inverse = None
        if at.size < 3 or not monotone:
            return
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
        if self._square and at < self.at[1]:
            c, b, a = self._parabola
            return float(c + b * at**2 + a * at**4)
        return float(self._smooth(at))

    def backward(self, zeta: float) -> float:
        """The scale at zeta: the outermost crossing where there are several."""
        if self._inverse is not None:
            if not self.zeta[0] <= zeta <= self.zeta[-1]:
                return float("nan")
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
    return np.maximum(np.append(secant, secant[-1]), np.append(secant[0], secant))


@dataclass(frozen=True, repr=False)
class Profile(Mapping[str, Curve]):
    """Profiles of the parameters of a model: a mapping from names to curves.

    Attributes
    ----------
    curves : tuple of Curve
    names : tuple of str
        All parameters of the model, profiled or not: the columns of `Curve.others`.
    parameters : tuple of Parameter
        The same as records.
    estimates : (r,) array
        Maximum-likelihood estimates, also for a model fitted by REML.
    deviance : float
        ``-2 log-likelihood`` at the estimates.
    cutoff : float
        Size of zeta to which the profiles reach.
    evaluations : int
        Evaluations of the deviance.
    notes : tuple of str
        What was found on the way.
    """

    curves: tuple[Curve, ...]
    names: tuple[str, ...]
    parameters: tuple[Parameter, ...]
    estimates: Array
    deviance: float
    cutoff: float
    evaluations: int
    notes: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Curve:
        profiled = [curve.name for curve in self.curves]
        if isinstance(name, str) and name not in profiled:
            name = {each.old: each.name for each in self.parameters}.get(name, name)
        for curve in self.curves:
            if curve.name == name:
                return curve
        raise OptionError(
            f"There is no profile of {name!r}.",
            f"Profiled are {', '.join(map(repr, profiled))}.",
            near(str(name), profiled),
        )

    def __contains__(self, name: object) -> bool:
        return any(curve.name == name for curve in self.curves)

    def __iter__(self) -> Iterator[str]:
        return (curve.name for curve in self.curves)

    def __len__(self) -> int:
        return len(self.curves)

    def confint(self, level: float = 0.95, parm: Any = None) -> pd.DataFrame:
        """Intervals in which zeta is within the normal quantiles.

        Parameters
        ----------
        level : float
            Coverage.
        parm : str or sequence of str, optional
            Parameters; all that were profiled by default.

        Returns
        -------
        DataFrame
            Columns such as ``2.5 %`` and ``97.5 %``. A standard deviation that may be
            zero has the lower limit 0, a correlation that may be anything -1 or 1.

        Raises
        ------
        OptionError
            If the profiles do not reach to the level.
        """
        check_level(level)
        z = float(ndtri(0.5 + 0.5 * level))
        if z > self.cutoff * (1.0 + 1e-9):
            raise OptionError(
                f"level={level!r} needs profiles up to zeta = {z:.3g}.",
                f"These end at {self.cutoff:.3g}.",
                f"Compute them with profile(level={level!r}).",
            )
        known = [p for p in self.parameters if p.name in self]
        chosen = [known[i].name for i in choose_parameters(known, parm)]
        rows = [self[name].limits(level) for name in chosen]
        return pd.DataFrame(rows, index=chosen, columns=percent_labels(level))

    def to_frame(self) -> pd.DataFrame:
        """All profiles as one table, as lme4's ``as.data.frame(profile(...))``.

        Returns
        -------
        DataFrame
            ``.zeta``, a column for each parameter of the model (the one profiled, and
            the others at the constrained optimum), and ``.par``, the one profiled.
        """
        parts = []
        for curve in self.curves:
            frame = pd.DataFrame(curve.others, columns=list(self.names))
            frame.insert(0, ".zeta", curve.zeta)
            frame[".par"] = curve.name
            parts.append(frame)
        return pd.concat(parts, ignore_index=True)

    def trace(self, held: str, other: str) -> pd.DataFrame:
        """Where one parameter has its optimum while another is held.

        Parameters
        ----------
        held, other : str
            Names of profiled parameters.

        Returns
        -------
        DataFrame
            The values of both, in columns of their names, and their zeta in
            ``zeta_held`` and ``zeta_other``.
        """
        first, second = self[held], self[other]
        values = first.others[:, self.names.index(second.name)]
        frame = pd.DataFrame({first.name: first.values, second.name: values})
        frame["zeta_held"] = first.zeta
        frame["zeta_other"] = second.zeta_at(values)
        return frame

    def contours(
        self,
        first: str,
        second: str,
        levels: Sequence[float] = (0.5, 0.8, 0.9, 0.95, 0.99),
        points: int = 100,
    ) -> pd.DataFrame:
        """Boundaries of the joint likelihood regions of two parameters.

        Parameters
        ----------
        first, second : str
            Names of profiled parameters.
        levels : sequence of float
            Coverages by the chi-squared distribution with two degrees of freedom; a
            level that the profiles do not reach has no rows.
        points : int
            Of each boundary.

        Returns
        -------
        DataFrame
            Columns ``level``, ``zeta_first``, ``zeta_second`` and the two parameters.

        Notes
        -----
        Interpolated from the two profiles and their traces: where a boundary touches
        its bounding box, its two coordinates are ``c cos(f + d/2)`` and ``c cos(f -
        d/2)`` with known f and d, and a periodic spline gives d between (Bates & Watts
        1988, Nonlinear Regression Analysis, appendix A6).
        """
        a, b = self[first], self[second]
        along = _interpolated(self.trace(a.name, b.name))
        across = _interpolated(self.trace(b.name, a.name))
        parts = []
        for level in levels:
            check_level(level)
            c = float(np.sqrt(chdtri(2, 1.0 - level)))
            touching = np.array([along(c), across(c), -along(-c), -across(-c)])
            if not np.isfinite(touching).all():
                continue
            d = np.arccos(np.clip(touching / c, -1.0, 1.0))
            f = np.array([-d[0] / 2, d[1] / 2, np.pi - d[2] / 2, np.pi + d[3] / 2])
            if not (np.diff(f) > 0.0).all():
                continue
            spline = CubicSpline(
                np.append(f, f[0] + 2.0 * np.pi), np.append(d, d[0]), bc_type="periodic"
            )
            angle = np.linspace(f[0], f[0] + 2.0 * np.pi, points)
            half = 0.5 * spline(angle)
            x, y = c * np.cos(angle + half), c * np.cos(angle - half)
            parts.append(
                pd.DataFrame(
                    {
                        "level": level,
                        "zeta_first": x,
                        "zeta_second": y,
                        a.name: a.value(x),
                        b.name: b.value(y),
                    }
                )
            )
        columns = ["level", "zeta_first", "zeta_second", a.name, b.name]
        return pd.concat(parts, ignore_index=True)[columns] if parts else pd.DataFrame(
            columns=columns
        )

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        frame = self.confint()
        estimates = pd.Series([curve.estimate for curve in self.curves])
        columns = [numbers(each, 4) for each in (estimates, *(frame[c] for c in frame))]
        rows = [list(row) for row in zip(frame.index, *columns, strict=True)]
        return ["", "estimate (ML)", *frame.columns], rows

    def __repr__(self) -> str:
        header, rows = self._cells()
        points = sum(curve.values.size for curve in self.curves)
        title = (
            f"Profile likelihoods: {len(self.curves)} parameters, {points} points, "
            f"|zeta| up to {self.cutoff:.2f}"
        )
        return "\n".join([title, table(rows, header, left=(0,)), *self.notes])

    def _repr_html_(self) -> str:
        header, rows = self._cells()
        return html_table(rows, header)


def _interpolated(trace: pd.DataFrame) -> Any:
    """Zeta of the other parameter by zeta of the one held; NaN beyond the ends."""
    known = trace.dropna()
    x, y = known["zeta_held"].to_numpy(), known["zeta_other"].to_numpy()
    if x.size < 4 or not (np.diff(x) > 0.0).all():
        return lambda z: np.nan
    return CubicSpline(x, y, extrapolate=False)
