"""What a prediction with its uncertainty says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

from lme.errors import DataError, OptionError
from lme.generalized import GLMMFit
from lme.inference.prediction.quantiles import Mixture, quantiles
from lme.inference.working import MixedFit, log_extra

Array = NDArray[np.float64]


@dataclass(frozen=True, repr=False)
class Prediction:
    """Predicted means with their uncertainty; `get_prediction` makes it.

    Attributes
    ----------
    predicted_mean : Series
        As of `predict`, on the scale of `which`.
    se_mean : Series
        Standard error of the mean as an estimate of the mean of the row, on the same
        scale.
    se_obs : Series
        Standard deviation of the error for a new observation; NaN for a generalized
        model, whose observations are not normal.
    df : DataFrame
        Degrees of freedom of the intervals, columns ``mean`` and ``obs``.
    which : {"mean", "linear"}

    Examples
    --------
    >>> import lme
    >>> res = lme.lmer("Yield ~ 1 + (1 | Batch)", lme.datasets.load("Dyestuff")).fit()
    >>> res.get_prediction({"Batch": ["A", "F"]}).conf_int(obs=True).round(1)
        lower   upper
    0  1405.2  1614.6
    1  1377.8  1587.2
    """

    _fit: MixedFit
    _eta: Array
    _variance: Array
    _obs_variance: Array
    _weights: Array | None
    _label: Callable[[Array], pd.Series] = field(compare=False)
    _missing: tuple[str, ...]
    _df: tuple[Array, Array]
    which: str

    @property
    def predicted_mean(self) -> pd.Series:
        """Predicted means."""
        return self._label(self._on_scale(self._eta))

    @property
    def se_mean(self) -> pd.Series:
        """Standard errors; on the scale of the response by the delta method."""
        se = np.sqrt(self._variance)
        if self._on_response:
            se = se * np.abs(self._family.link.first(self._eta))
        return self._label(se)

    @property
    def se_obs(self) -> pd.Series:
        """Standard deviations of the error for a new observation."""
        if isinstance(self._fit, GLMMFit):
            return self._label(np.full(self._eta.size, np.nan))
        return self._label(np.sqrt(self._obs_variance))

    @property
    def df(self) -> pd.DataFrame:
        """Degrees of freedom; infinite for the normal distribution."""
        names = ("mean", "obs")
        columns = (self._label(df) for df in self._df)
        return pd.DataFrame(dict(zip(names, columns, strict=True)))

    @property
    def _family(self) -> Any:
        assert isinstance(self._fit, GLMMFit)
        return self._fit.family

    @property
    def _on_response(self) -> bool:
        return isinstance(self._fit, GLMMFit) and self.which == "mean"

    def _on_scale(self, eta: Array) -> Array:
        return self._family.mean(eta) if self._on_response else eta

    def conf_int(self, alpha: float = 0.05, *, obs: bool = False) -> pd.DataFrame:
        """Intervals for the means or for new observations.

        Parameters
        ----------
        alpha : float
            1 minus the level.
        obs : bool
            For a new observation instead of the mean.

        Returns
        -------
        DataFrame
            Columns ``lower`` and ``upper``. For the mean of a generalized model these
            are the limits on the scale of the linear predictor, transformed.

        Raises
        ------
        DataError
            For observations, where new data lack the columns of random effects that
            are left out of the mean.
        """
        check_alpha(alpha)
        if obs and self._missing:
            raise DataError(
                f"newdata has no column {', '.join(map(repr, self._missing))}.",
                "An observation has the random effects that re_form leaves out; their"
                " variance depends on these columns.",
                "Add them, or use obs=False.",
            )
        lower, upper = self._observations(alpha) if obs else self._means(alpha)
        return pd.DataFrame({"lower": self._label(lower), "upper": self._label(upper)})

    def summary_frame(self, alpha: float = 0.05) -> pd.DataFrame:
        """Everything in one table, under statsmodels' names.

        Parameters
        ----------
        alpha : float
            1 minus the level of the intervals.

        Returns
        -------
        DataFrame
            Columns ``mean``, ``mean_se``, ``mean_ci_lower``, ``mean_ci_upper``,
            ``obs_ci_lower`` and ``obs_ci_upper``. The last two are NaN on the scale of
            the linear predictor of a generalized model, where there are no
            observations, and where columns for them are missing.
        """
        check_alpha(alpha)
        nothing = np.full(self._eta.size, np.nan)
        mean = self.conf_int(alpha)
        obs = (nothing, nothing) if self._missing else self._observations(alpha)
        return pd.DataFrame(
            {
                "mean": self.predicted_mean,
                "mean_se": self.se_mean,
                "mean_ci_lower": mean["lower"],
                "mean_ci_upper": mean["upper"],
                "obs_ci_lower": self._label(obs[0]),
                "obs_ci_upper": self._label(obs[1]),
            }
        )

    def __repr__(self) -> str:
        return str(self.summary_frame().to_string(max_rows=20))

    def _repr_html_(self) -> str:
        return str(self.summary_frame().to_html(max_rows=20))

    def _means(self, alpha: float) -> tuple[Array, Array]:
        half = stats.t.isf(alpha / 2, self._df[0]) * np.sqrt(self._variance)
        ends = self._on_scale(self._eta - half), self._on_scale(self._eta + half)
        return np.minimum(*ends), np.maximum(*ends)

    def _observations(self, alpha: float) -> tuple[Array, Array]:
        fit = self._fit
        if not isinstance(fit, GLMMFit):
            half = stats.t.isf(alpha / 2, self._df[1]) * np.sqrt(self._obs_variance)
            return self._eta - half, self._eta + half
        if self.which == "linear":
            nothing = np.full(self._eta.size, np.nan)
            return nothing, nothing
        mixture = self._mixture
        return quantiles(mixture, alpha / 2), quantiles(mixture, 1 - alpha / 2)

    @cached_property
    def _mixture(self) -> Mixture:
        fit = self._fit
        assert isinstance(fit, GLMMFit)
        weights = (
            self._weights if self._weights is not None else np.ones_like(self._eta)
        )
        sd = np.sqrt(self._obs_variance)
        return Mixture(fit.family, self._eta, sd, weights, log_extra(fit))


def check_alpha(alpha: Any) -> None:
    """Raise OptionError unless alpha is between 0 and 1."""
    if not isinstance(alpha, int | float | np.number) or not 0.0 < alpha < 1.0:
        raise OptionError(
            f"alpha is {alpha!r}.",
            "It is 1 minus the level, between 0 and 1.",
            "Use alpha=0.05 for 95%.",
        )
