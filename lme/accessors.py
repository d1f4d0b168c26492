"""What every result offers: statsmodels' contract and lme4's accessors."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from statsmodels.base.model import (
    LikelihoodModelResults,
    LikelihoodResultsWrapper,
    ResultMixin,
)
from statsmodels.stats.contrast import ContrastResults, WaldTestResults

from lme.errors import FitError
from lme.inference import (
    components,
    contrasts,
    estimates,
    internals,
    modes,
    prediction,
    residuals,
    wald,
)
from lme.inference import ddf as ddf_methods
from lme.inference.working import MixedFit
from lme.report import summary as reports
from lme.report.tables import Report

if TYPE_CHECKING:
    from lme.specification import MixedModel

Array = NDArray[np.float64]


def user_level() -> int:
    """Frames from the caller of this function to the user's code."""
    level, frame = 0, inspect.currentframe()
    while frame is not None:
        package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
        if package not in ("lme", "statsmodels", "functools"):
            break
        level, frame = level + 1, frame.f_back
    return level


def computed(function: Callable[[MixedFit], Any], doc: str) -> property:
    """A read-only property that computes from the record of the fit."""
    return property(lambda result: function(result.fit_record), doc=doc)


def recorded(name: str, doc: str) -> property:
    """A read-only property that is a field of the record of the fit."""
    return computed(attrgetter(name), doc)


class MixedResults(LikelihoodModelResults, ResultMixin):
    """What results of linear and of generalized mixed models have in common.

    Parameters
    ----------
    model : LMM or GLMM
        The model that was fitted.
    record : Fit or GLMMFit
        Everything that was estimated, as a frozen record.
    scale : float
        Residual variance or dispersion; 1 where it is fixed.
    """

    model: Any
    fit_record: MixedFit

    def __init__(self, model: MixedModel, record: MixedFit, scale: float) -> None:
        super().__init__(model, record.beta, scale=scale)
        self.fit_record = record
        self.nobs = estimates.row_count(record)
        self.df_model = record.beta.size - int(model.k_constant)
        self._cache: dict[str, Any] = {}

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
        self._need_data("condVar")
        return modes.conditional_variances(self.fit_record)

    def coef(self) -> dict[str, pd.DataFrame]:
        """Fixed plus random effects, a frame a grouping factor and a row a level."""
        return modes.coefficients(self.fit_record)

    def rePCA(self) -> dict[str, components.PrincipalComponents]:
        """Principal components of the random effects of each grouping factor."""
        return components.principal_components(self.fit_record)

    def getME(self, name: str) -> Any:
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

    # --- rows ---------------------------------------------------------------------

    @property
    def fittedvalues(self) -> Array:
        """Conditional fitted values, random effects included, shape (nobs,)."""
        self._need_data("fittedvalues")
        return self.fit_record.mu

    def predict(self, newdata: Any = None, **options: Any) -> pd.Series:
        """Means of the rows, or of new data; see `prediction.predict`."""
        if newdata is None:
            self._need_data("predict")
        return prediction.predict(self.fit_record, newdata, **options)

    # --- hypotheses -----------------------------------------------------------------

    def _constraint(self, hypothesis: Any) -> tuple[Array, Array]:
        return wald.linear_constraint(self.model.exog_names, hypothesis)

    def t_test(self, r_matrix: Any, *args: Any, **kwargs: Any) -> ContrastResults:
        """Test linear hypotheses one by one; see `wald.linear_constraint`."""
        return super().t_test(self._constraint(r_matrix), *args, **kwargs)

    def wald_test(self, r_matrix: Any, *args: Any, **kwargs: Any) -> ContrastResults:
        """Test linear hypotheses jointly; see `wald.linear_constraint`.

        ``f_test`` is this test with the F distribution, `df_resid` in the denominator.
        """
        return super().wald_test(self._constraint(r_matrix), *args, **kwargs)

    def wald_test_terms(
        self,
        skip_single: bool = False,
        extra_constraints: Sequence[tuple[str, ArrayLike]] | None = None,
        combine_terms: Sequence[str] | None = None,
        scalar: bool = True,
    ) -> WaldTestResults:
        """Joint Wald test of each term of the fixed part; see `wald.term_tests`.

        Returns
        -------
        WaldTestResults
            With the frame ``table``: ``statistic``, ``pvalue``, ``df_constraint``.
        """
        tests = wald.term_tests(
            self.fit_record, skip_single, extra_constraints, combine_terms
        )
        found = [self.wald_test(matrix, scalar=scalar) for _, matrix in tests]
        frame = pd.DataFrame(
            [(test.statistic, test.pvalue, int(test.df_denom)) for test in found],
            index=[label for label, _ in tests],
            columns=["statistic", "pvalue", "df_constraint"],
        )
        return WaldTestResults(None, "chi2", None, table=frame)

    def contrast(
        self,
        L: Any,
        *,
        ddf: str = "satterthwaite",
        joint: bool = False,
        alpha: float = 0.05,
    ) -> pd.DataFrame:
        """Test combinations of the fixed effects; see `contrasts.contrast_frame`.

        Parameters
        ----------
        L : str, list of str, dict, array or (array, array)
            See `wald.linear_constraint`.
        ddf : {"satterthwaite", "kenward-roger", "containment", "residual", "z"}
            Method for the degrees of freedom; a generalized model has "z".
        joint : bool
            One F test of all rows; otherwise a t test for each.
        alpha : float
            One minus the coverage of the intervals.
        """
        return contrasts.contrast_frame(
            self._denominator(ddf),
            self.model.exog_names,
            self._constraint(L),
            joint=joint,
            alpha=alpha,
        )

    def _denominator(self, ddf: str) -> ddf_methods.Denominator:
        """A method for degrees of freedom, prepared once for each result."""
        key = f"ddf {ddf_methods.method_name(self.fit_record, ddf)}"
        if key not in self._cache:
            if key[4:] not in ddf_methods.DATA_FREE:
                self._need_data(f"ddf={ddf!r}")
            record, cov_type = self.fit_record, self._cov_type()
            self._cache[key] = contrasts.denominator(record, key[4:], cov_type)
        found: ddf_methods.Denominator = self._cache[key]
        return found

    def t_test_pairwise(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: it needs a patsy design. Use `t_test` with contrasts."""
        raise FitError(
            "t_test_pairwise is not available: it reads factors from patsy.",
            remedy="Test differences by name, such as t_test('fb - fc = 0').",
        )

    def bootstrap(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: the base class would draw rows, which are dependent here."""
        raise FitError(
            "bootstrap is not available: drawing rows would break up the groups."
        )

    # --- reports ----------------------------------------------------------------------

    def summary(
        self,
        *,
        alpha: float = 0.05,
        correlation: bool | None = None,
        digits: int = 4,
        ddf: str = "z",
    ) -> Report:
        """The fit in sections, as a statsmodels ``Summary``; see `lme.report`.

        `ddf` is as in `contrast`: with "z" tests are normal, otherwise by t.
        """
        name = ddf_methods.method_name(self.fit_record, ddf)
        return reports.summarize(
            self.fit_record,
            cov_type=self._cov_type(),
            data_name=self.model.data_name,
            alpha=alpha,
            correlation=correlation,
            digits=digits,
            quantiles=self._quantiles(),
            warnings=[str(warning) for warning in self.warnings],
            ddf=None if name == "z" else self._denominator(name),
        )

    def _quantiles(self) -> Any:
        compute = partial(residuals.scaled_quantiles, self.fit_record)
        return self._summary_cache("quantiles", compute)

    def _cov_type(self) -> str | None:
        """Kind of standard errors, where there is a choice."""
        return None

    def __repr__(self) -> str:
        return reports.short_text(self.fit_record, self._cov_type())

    def _repr_html_(self) -> str:
        return reports.short_html(self.fit_record, self._cov_type())

    # --- keeping ----------------------------------------------------------------------

    def remove_data(self) -> None:
        """Drop everything that has a value a row, for small pickles.

        Estimates, tests, `ranef`, `coef` and `summary` still work; what needs the
        rows raises `FitError`. The model that was fitted keeps its data: the result
        gets a copy without them.
        """
        if self._is_light:
            return
        self._quantiles()
        self.fit_record = estimates.without_rows(self.fit_record)
        self.model = self.model.without_rows(self.fit_record.design)

    @property
    def _is_light(self) -> bool:
        return bool(self.fit_record.mu.size < self.nobs)

    def _need_data(self, what: str) -> None:
        if self._is_light:
            raise FitError(
                f"{what} needs the data, which remove_data took away.",
                "The result must hold its data.",
                "Fit the model again.",
            )


class MixedResultsWrapper(LikelihoodResultsWrapper):
    """Results with names on their arrays; what ``fit`` returns."""

    def __repr__(self) -> str:
        return repr(self._results)

    def __str__(self) -> str:
        return repr(self._results)
