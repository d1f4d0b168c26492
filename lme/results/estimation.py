"""What a result says of the likelihood, the parameters and the search."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.inference import components, estimates, internals, modes
from lme.results.contract import Contract, computed, recorded

Array = NDArray[np.float64]


class Estimation(Contract):
    """Likelihood, parameters, conditional modes, and the verdict on the search."""

    # --- likelihood and counting ------------------------------------------------

    objective = recorded(
        "objective", "The minimized criterion: -2 log-likelihood, or REML criterion."
    )
    convergence = recorded("convergence", "The verdict on the search, with evidence.")

    @property
    def llf(self) -> float:
        """Log-likelihood, or restricted log-likelihood for a REML fit; absolute."""
        return estimates.log_likelihood(self.fit_record)

    aic = computed(estimates.aic, "Akaike's criterion; of the REML criterion, if REML.")
    aicc = computed(estimates.aicc, "Akaike's criterion, corrected for small samples.")
    bic = computed(estimates.bic, "Schwarz's criterion, with n the rows used.")
    npar = computed(
        estimates.parameter_count,
        "Number of fixed effects, theta, and sigma where it is estimated.",
    )

    @property
    def df_modelwc(self) -> int:
        """The name of `npar` in statsmodels."""
        return int(self.npar)

    @property
    def df_resid(self) -> int:
        """``nobs - npar``, as lme4 counts; OLS in statsmodels has ``nobs - p``."""
        return int(self.nobs) - int(self.npar)

    @property
    def ngroups(self) -> pd.Series:
        """Number of levels of each grouping factor."""
        return pd.Series(estimates.group_sizes(self.fit_record), dtype=int)

    # --- estimates ----------------------------------------------------------------

    @property
    def theta(self) -> pd.Series:
        """Elements of the relative covariance factors, under lme4's names."""
        return pd.Series(
            self.fit_record.theta, index=components.theta_names(self.fit_record)
        )

    def fixef(self, *, add_dropped: bool = False) -> pd.Series:
        """Fixed effects; with `add_dropped`, NaN for dropped columns."""
        return estimates.fixed_effects(self.fit_record, add_dropped=add_dropped)

    @property
    def fe_params(self) -> pd.Series:
        """MixedLM's name for the fixed effects."""
        return self.fixef()

    def VarCorr(self) -> components.VarCorr:
        """Variances, standard deviations and correlations of the random effects."""
        return components.variance_components(self.fit_record)

    @property
    def cov_re(self) -> pd.DataFrame | dict[str, pd.DataFrame]:
        """MixedLM's name for the covariance of the random effects.

        A frame where there is one random-effects term, else a dict by term.
        """
        found = dict(self.VarCorr())
        return next(iter(found.values())) if len(found) == 1 else found

    def ranef(self, *, spherical: bool = False) -> modes.RandomEffects:
        """Conditional modes of the random effects, a frame a grouping factor."""
        return modes.random_effects(self.fit_record, spherical=spherical)

    @property
    def random_effects(self) -> modes.RandomEffects | dict[Any, pd.Series]:
        """MixedLM's name for the conditional modes.

        As in MixedLM a dict from level to Series where there is one grouping factor;
        else the same as ``ranef()``.
        """
        found = self.ranef()
        if len(found) != 1:
            return found
        frame = next(iter(found.values()))
        return {level: frame.loc[level] for level in frame.index}

    def condVar(self) -> dict[str, Array]:
        """Conditional covariances of the random effects, (k, k, levels) a term."""
        self._need_data("condVar", rows=False)
        return modes.conditional_variances(self.fit_record)

    def coef(self) -> dict[str, pd.DataFrame]:
        """Fixed plus random effects, a frame a grouping factor and a row a level."""
        return modes.coefficients(self.fit_record)

    def rePCA(self, *, corr: bool = False) -> dict[str, components.PrincipalComponents]:
        """Principal components of the random effects of each grouping factor.

        With `corr` of their correlations; see `components.principal_components`.
        """
        return components.principal_components(self.fit_record, corr=corr)

    def getME(self, name: str | Sequence[str]) -> Any:
        """A part of the model under lme4's name; see `lme.inference.internals`."""
        self._need_data(f"getME({name!r})")
        return internals.part(self.fit_record, name)

    # --- the search -----------------------------------------------------------------

    @property
    def converged(self) -> bool:
        """Whether the search ended at an optimum."""
        return bool(self.fit_record.convergence.converged)

    @property
    def is_singular(self) -> bool:
        """Whether a variance is estimated as zero or a correlation as 1 or -1."""
        return bool(self.fit_record.convergence.singular)

    @property
    def trace(self) -> pd.DataFrame:
        """The path of the search: criterion, size of the gradient, theta."""
        trace = self.fit_record.trace
        values = np.asarray(trace.theta, dtype=float).reshape(len(trace.objective), -1)
        columns = {
            "objective": np.asarray(trace.objective),
            "gradient_norm": np.asarray(trace.gradient_norm),
        } | dict(zip(self.theta.index, values.T, strict=True))
        return pd.DataFrame(columns).rename_axis("evaluation")

    @property
    def warnings(self) -> tuple[Any, ...]:
        """Warnings given while the model was built and fitted."""
        return (*self.model.warnings, *self.fit_record.warnings)
