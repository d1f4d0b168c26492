"""Measures of influence: what the estimates are without each of some units."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import FitError
from lme.generalized import GLMMFit
from lme.inference.components import residual_deviation, theta_names
from lme.inference.diagnostics.row_deletion import theta_without_rows
from lme.inference.estimates import coefficient_names
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Influence:
    """Estimates without each of some units, beside those of all rows.

    Attributes
    ----------
    unit : str
        "row", or the grouping factor.
    method : {"exact", "one-step"}
        Whether theta was estimated again, or held (and moved by one Newton step).
    index : Index
        Names of the units.
    sizes : (m,) array of int
        Rows in each.
    beta, bse : (m, p) arrays
        Fixed effects and their standard errors without each unit.
    sigma : (m,) array
        Residual standard deviation, or root of the dispersion, without it.
    """

    _fit: MixedFit = field(compare=False)
    unit: str
    method: str
    index: pd.Index[Any]
    sizes: NDArray[np.intp]
    beta: Array
    bse: Array
    sigma: Array
    _cook: Array
    _mdffits: Array
    _covratio: Array
    _covtrace: Array
    _theta: Array | None
    _sigma_there: Array | None
    _notes: tuple[str, ...]

    def _column(self, values: Array, name: str) -> pd.Series:
        return pd.Series(values, index=self.index, name=name)

    def _frame(self, values: Array) -> pd.DataFrame:
        names = coefficient_names(self._fit)
        return pd.DataFrame(values, index=self.index, columns=names)

    @property
    def params_deleted(self) -> pd.DataFrame:
        """Fixed effects without each unit; NaN where they cannot be estimated."""
        return self._frame(self.beta)

    @property
    def params_not_obsi(self) -> pd.DataFrame:
        """The name of `params_deleted` in statsmodels."""
        return self.params_deleted

    @property
    def bse_deleted(self) -> pd.DataFrame:
        """Standard errors of the fixed effects without each unit."""
        return self._frame(self.bse)

    @property
    def dfbeta(self) -> pd.DataFrame:
        """Estimates of all rows minus those without the unit.

        The sign is statsmodels'; lme4's ``dfbeta`` has the opposite one.
        """
        return self._frame(self._fit.beta - self.beta)

    @property
    def dfbetas(self) -> pd.DataFrame:
        """`dfbeta` in standard errors of the fit without the unit."""
        return self._frame((self._fit.beta - self.beta) / self.bse)

    @property
    def cooks_distance(self) -> pd.Series:
        """Cook's distance of each unit.

        For a group ``d'(vcov beta)^-1 d (m - p)/(m p)``, with ``d`` a row of `dfbeta`
        and m the number of groups: lme4's, whose factor ``(m - p)/m`` other programs do
        not have. For a row lme4's ``(r / (1 - h))^2 h / (sigma^2 p)``, with r its
        Pearson residual and h its leverage, to which the random effects contribute.
        """
        return self._column(self._cook, "cooks_d")

    @property
    def mdffits(self) -> pd.Series:
        """``d'(vcov beta without the unit)^-1 d / p``, with ``d`` a row of `dfbeta`."""
        return self._column(self._mdffits, "mdffits")

    @property
    def cov_ratio(self) -> pd.Series:
        """Determinant of the covariance of the fixed effects, without over with all.

        Above 1 where precision is lost with the unit.
        """
        return self._column(self._covratio, "cov_ratio")

    @property
    def cov_trace(self) -> pd.Series:
        """Trace of the same ratio of matrices, minus p, without its sign."""
        return self._column(self._covtrace, "cov_trace")

    @property
    def sigma_deleted(self) -> pd.Series:
        """Residual standard deviation, or root of the dispersion, without the unit.

        With ``method="one-step"`` at theta of all rows.
        """
        return self._column(self.sigma, "sigma")

    @cached_property
    def _moved(self) -> tuple[Array, Array]:
        """Theta without each unit, and sigma at that theta."""
        if self._theta is not None and self._sigma_there is not None:
            return self._theta, self._sigma_there
        if isinstance(self._fit, GLMMFit):
            raise FitError(
                "The one-step method holds theta of a generalized model.",
                "Its change is known from refits.",
                "Use get_influence(..., method='exact').",
            )
        return theta_without_rows(self._fit)

    @property
    def theta_deleted(self) -> pd.DataFrame:
        """Relative covariance parameters without each unit.

        With ``method="one-step"`` after one Newton step from those of all rows.
        """
        columns = theta_names(self._fit)
        return pd.DataFrame(self._moved[0], index=self.index, columns=columns)

    @property
    def varcomp_deleted(self) -> pd.DataFrame:
        """Variances without each unit: of the random effects, and residual."""
        return pd.DataFrame(
            _variances(self._fit, *self._moved),
            index=self.index,
            columns=_variance_names(self._fit),
        )

    @property
    def varcomp_change(self) -> pd.DataFrame:
        """Relative change of each variance when the unit is left out.

        ``variance without / variance with - 1``: -0.3 where leaving it out takes away
        30 percent. Infinite or NaN where the variance of all rows is zero.
        """
        sigma = residual_deviation(self._fit)
        now = _variances(
            self._fit,
            self._fit.theta[None],
            np.array([1.0 if sigma is None else sigma]),
        )[0]
        with np.errstate(divide="ignore", invalid="ignore"):
            change: pd.DataFrame = self.varcomp_deleted / now - 1.0
        return change

    @property
    def notes(self) -> pd.Series:
        """Units with something to say, such as why their row is NaN."""
        said = np.array([bool(note) for note in self._notes], dtype=bool)
        notes = [note for note in self._notes if note]
        return pd.Series(notes, index=self.index[said], dtype=object, name="note")

    def summary_frame(self) -> pd.DataFrame:
        """One row a unit, in statsmodels' layout.

        Returns
        -------
        DataFrame
            ``dfb_<name>`` (dfbetas) and ``cooks_d``; then ``mdffits``, ``cov_ratio``,
            ``cov_trace``, ``nobs`` (rows of the unit) and, where theta was estimated
            again, ``rvc_<name>`` (relative changes of the variances).
        """
        frame = self.dfbetas.add_prefix("dfb_")
        frame["cooks_d"] = self._cook
        frame["mdffits"] = self._mdffits
        frame["cov_ratio"] = self._covratio
        frame["cov_trace"] = self._covtrace
        frame["nobs"] = self.sizes
        if self._theta is not None:
            frame = frame.join(self.varcomp_change.add_prefix("rvc_"))
        return frame

    def plot(self, **options: Any) -> Any:
        """Figure of the influence; see `lme.report.plots.plot_influence`."""
        from lme.report import plots

        return plots.plot_influence(self, **options)

    def __repr__(self) -> str:
        largest = self.summary_frame().sort_values("cooks_d", ascending=False)
        lines = [
            f"Influence of {len(self.index)} units ({self.unit}), {self.method}; "
            "largest by Cook's distance:",
            largest.head(6).to_string(float_format="{:.4g}".format),
        ]
        if len(self.notes):
            lines += [f"{name}: {note}" for name, note in self.notes.head(6).items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head, _, _ = repr(self).partition("\n")
        largest = self.summary_frame().sort_values("cooks_d", ascending=False)
        return f"<p>{head}</p>{largest.head(6).to_html(float_format='{:.4g}'.format)}"


@dataclass(frozen=True, repr=False)
class RowInfluence(Influence):
    """Influence of each row; see `Influence` for what groups have too."""

    _leverage: Array = field(default_factory=lambda: np.empty(0))
    _pearson: Array = field(default_factory=lambda: np.empty(0))

    @property
    def hat_matrix_diag(self) -> pd.Series:
        """Leverage ``d yhat_i / d y_i``, theta held."""
        return self._column(self._leverage, "hat_diag")

    @property
    def resid_studentized_internal(self) -> pd.Series:
        """Pearson residuals over their standard deviation ``sigma sqrt(1 - h)``."""
        sigma = residual_deviation(self._fit)
        values = self._pearson / np.sqrt(1.0 - self._leverage)
        if sigma is not None:
            values = values / sigma
        return self._column(values, "standard_resid")

    @property
    def resid_studentized_external(self) -> pd.Series:
        """The same with sigma estimated without the row."""
        values = self._pearson / (self.sigma * np.sqrt(1.0 - self._leverage))
        return self._column(values, "student_resid")

    @property
    def dffits_internal(self) -> pd.Series:
        """Change of the fitted value in its standard deviations."""
        ratio = np.sqrt(self._leverage / (1.0 - self._leverage))
        return (self.resid_studentized_internal * ratio).rename("dffits_internal")

    @property
    def dffits(self) -> pd.Series:
        """The same with sigma estimated without the row."""
        ratio = np.sqrt(self._leverage / (1.0 - self._leverage))
        return (self.resid_studentized_external * ratio).rename("dffits")

    def summary_frame(self) -> pd.DataFrame:
        """One row a row of the data, in the layout of statsmodels' OLS.

        Returns
        -------
        DataFrame
            ``dfb_<name>`` (dfbetas), ``cooks_d``, ``standard_resid``, ``hat_diag``,
            ``dffits_internal``, ``student_resid`` and ``dffits``.
        """
        frame = self.dfbetas.add_prefix("dfb_")
        frame["cooks_d"] = self._cook
        frame["standard_resid"] = self.resid_studentized_internal
        frame["hat_diag"] = self._leverage
        frame["dffits_internal"] = self.dffits_internal
        frame["student_resid"] = self.resid_studentized_external
        frame["dffits"] = self.dffits
        return frame


def _variance_names(fit: MixedFit) -> list[str]:
    """Names of the variances: ``Days|Subject``, and ``Residual``."""
    names = [f"{column}|{t.group}" for t in fit.design.terms for column in t.columns]
    return names if residual_deviation(fit) is None else [*names, "Residual"]


def _variances(fit: MixedFit, thetas: Array, sigma: Array) -> Array:
    """Variances at rows of theta (m, k) in the user's basis, and residual ones."""
    scale = np.ones(len(thetas)) if isinstance(fit, GLMMFit) else sigma**2
    columns = []
    for slot in fit.problem.template.slots:
        p = slot.columns.stop - slot.columns.start
        part = [
            (slot.structure.factor(slot.structure.interior(row, p), p) ** 2).sum(axis=1)
            for row in thetas[:, slot.entries]
        ]
        columns.append(np.array(part).reshape(-1, p) * scale[:, None])
    if residual_deviation(fit) is not None:
        columns.append(sigma[:, None] ** 2)
    return np.hstack(columns)
