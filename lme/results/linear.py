"""The results of a linear mixed model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import statsmodels.base.wrapper as wrap
from numpy.typing import ArrayLike, NDArray

from lme.fit import Fit, refit
from lme.fixing import held_wish
from lme.formula.arrays import response_of
from lme.inference import estimates
from lme.inference.diagnostics import residuals
from lme.inference.hypotheses import terms, wald
from lme.inference.hypotheses.tables_of_tests import method_words, with_heading
from lme.inference.residual_structure import structure_frame
from lme.results.contract import recorded
from lme.results.many import ManyFits, fit_columns, is_matrix
from lme.results.mixed import MixedResults, MixedResultsWrapper

if TYPE_CHECKING:
    from lme.model import LMM

Array = NDArray[np.float64]

KEPT_OPTIONS = ("kernel", "optimizer", "control")
"""Arguments of `LMM.fit` that an update keeps."""
FIT_OPTIONS = (
    *KEPT_OPTIONS,
    "reml",
    "start",
    "fix",
    "verbose",
    "cov_type",
    "cov_kwds",
)
"""Arguments of `LMM.fit` that are not also arguments of `lmer`."""


class LMMResults(MixedResults):
    """Results of a linear mixed model; `LMM.fit` makes them.

    Attributes
    ----------
    fit_record : Fit
        Everything that was estimated, as a frozen record.
    params, bse, tvalues, pvalues : Series, shape (p,)
        Fixed effects, their standard errors, z ratios and two-sided normal p-values.
    nobs, df_model : int
        Number of rows used; number of fixed effects without the constant.
    scale : float
        Residual variance sigma^2.

    Notes
    -----
    ``fit`` returns the results in statsmodels' wrapper, which puts names on arrays;
    `LMMResults` itself holds bare arrays in `params`, `bse`, `tvalues`, `pvalues`,
    `fittedvalues` and `resid`.
    """

    fit_record: Fit

    def __init__(self, model: LMM, record: Fit) -> None:
        super().__init__(model, record, record.sigma**2)
        self.normalized_cov_params = record.vcov_unscaled

    @property
    def cov_type(self) -> str:
        """Kind of standard errors: "nonrobust" or "cluster"."""
        return "nonrobust" if self.robust_record is None else "cluster"

    @property
    def cov_params_default(self) -> Array:
        """Covariance of the fixed effects, by `cov_type`, shape (p, p)."""
        return wald.covariance(self.fit_record, self._cov_type())

    def _wrapped(self) -> LMMResultsWrapper:
        return LMMResultsWrapper(self)

    reml = recorded("reml", "Whether the restricted likelihood was maximized.")
    sigma = recorded("sigma", "Residual standard deviation.")

    @property
    def residual_structure(self) -> pd.DataFrame:
        """Parameters of the residual structure; empty without one.

        See `lme.inference.residual_structure.structure_frame`.
        """
        return structure_frame(self.fit_record)

    @property
    def deviance(self) -> float:
        """-2 log-likelihood (never restricted) at the estimates.

        For a REML fit the ML criterion at the REML estimate of theta. A deviance
        relative to a saturated model is not defined for a linear mixed model.
        """
        if self.fit_record.reml:
            self._need_data("deviance", rows=False)
        return -2 * estimates.log_likelihood(self.fit_record, reml=False)

    @property
    def resid(self) -> Array:
        """Conditional residuals ``y - mu``, shape (nobs,)."""
        self._need_data("resid")
        return residuals.residuals(self.fit_record)

    def anova(
        self,
        *,
        type: int | str = 3,
        ddf: str | None = None,
        intercept: bool = False,
    ) -> pd.DataFrame:
        """F tests of the terms of the fixed part, as lmerTest's ``anova``.

        Parameters
        ----------
        type : {1, 2, 3}
            Each term after those before it; after all that do not contain it; or as
            differences between unweighted means of cells. See `terms`.
        ddf : {"satterthwaite", "kenward-roger", "containment", "residual", "z"}
            Method for the denominator degrees of freedom; by default `ddf`.
        intercept : bool
            Whether the intercept is a row, as in nlme's ``anova``: before all terms
            in type 1, by its coefficient in types 2 and 3.

        Returns
        -------
        DataFrame
            A row a term; see `ddf.f_frame`. The method is in ``attrs["ddf"]``, the
            type in ``attrs["type"]``.

        See Also
        --------
        lme.anova : compares models.
        """
        self._need_data("anova", rows=False)
        kind = terms.type_number(type)
        method = self._denominator(ddf or self.ddf)
        frame = terms.term_table(self.fit_record, method, kind, intercept)
        frame.attrs |= {"ddf": method.label, "type": kind}
        heading = f"Tests of terms, type {kind}; {method_words(method.label)}"
        return with_heading(frame, heading)

    def refit(self, y: ArrayLike) -> LMMResultsWrapper | ManyFits:
        """Fit the same model to another response, of the rows used or of all rows.

        A matrix or frame has a response in each column, which are fitted together:
        see `lme.results.many.ManyFits`. This result and its model stay as they are.
        """
        self._need_data("refit")
        if is_matrix(y):
            return fit_columns(self, y)
        values = response_of(self.fit_record.design, y)
        found: LMMResultsWrapper = self.model.with_response(
            refit(self.fit_record, values)
        )
        return found

    def update(
        self, formula: str | None = None, data: Any = None, **changes: Any
    ) -> LMMResultsWrapper:
        """Fit a changed model, as R's ``update``.

        Parameters
        ----------
        formula : str, optional
            New formula; ``.`` stands for the old side, as in ``". ~ . + x"``.
        data : frame, optional
            New data.
        **changes
            Arguments of `lmer` and of `LMM.fit` that change, such as ``REML=False`` or
            ``optimizer="powell"``. The others stay as they were, but for `start` and
            a robust covariance. Elements of theta stay held; ``fix=None`` frees them.
        """
        record = self.fit_record
        options = {name: record.options[name] for name in KEPT_OPTIONS}
        options["fix"] = held_wish(record.design)
        options |= {name: changes.pop(name) for name in FIT_OPTIONS if name in changes}
        kept = {"REML": record.reml, "sigma": record.known_sigma}
        found: LMMResultsWrapper = self.model.update(
            formula, data, **(kept | changes)
        ).fit(**options)
        return found


class LMMResultsWrapper(MixedResultsWrapper):
    """`LMMResults` with names on its arrays; what ``LMM.fit`` returns."""


wrap.populate_wrapper(LMMResultsWrapper, LMMResults)
