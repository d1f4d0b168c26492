"""The record of profiles: tables, intervals, and joint regions of two parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline
from scipy.special import chdtri, ndtri

from lme.errors import OptionError, near
from lme.inference.bootstrap.intervals import percent_labels
from lme.inference.coverage import check_level
from lme.inference.profile.curves import Curve
from lme.inference.profile.parameters import choose_parameters
from lme.inference.text import html_table, numbers, table
from lme.naming import Parameter

Array = NDArray[np.float64]


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
        known = [p for name in self for p in self.parameters if p.name == name]
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
        return (
            pd.concat(parts, ignore_index=True)[columns]
            if parts
            else pd.DataFrame(columns=columns)
        )

    def plot(self, **options: Any) -> Any:
        """Zeta, densities or pairs; see `lme.report.plots.plot_profile`."""
        from lme.report.plots import plot_profile

        return plot_profile(self, **options)

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
