"""The results of a generalized linear mixed model."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import statsmodels.base.wrapper as wrap
from numpy.typing import ArrayLike, NDArray

from lme.errors import ConvergenceWarning
from lme.fixing import held_wish
from lme.formula.replacement import check_response, replace_response
from lme.generalized import GLMMFit
from lme.generalized import refit as refit_glmm
from lme.inference.diagnostics import residuals
from lme.inference.hypotheses import wald
from lme.results.contract import recorded, user_level
from lme.results.many import ManyFits, fit_columns, is_matrix
from lme.results.mixed import MixedResults, MixedResultsWrapper

if TYPE_CHECKING:
    from lme.glmm import GLMM

Array = NDArray[np.float64]

FIT_OPTIONS = (
    "nAGQ",
    "cov_type",
    "cov_kwds",
    "laplace",
    "start",
    "fix",
    "optimizer",
    "control",
    "verbose",
)
"""Arguments of `GLMM.fit`."""
NO_HESSIAN = (
    "The Hessian of the log-likelihood is not positive definite at the estimates, so "
    "standard errors come from the working model (cov_type='rx'), which takes theta as "
    "known. A coefficient may not be determined by the data."
)


class GLMMResults(MixedResults):
    """Results of a generalized linear mixed model; `GLMM.fit` makes them.

    Attributes
    ----------
    fit_record : GLMMFit
        Everything that was estimated, as a frozen record.
    params, bse, tvalues, pvalues : Series, shape (p,)
        Fixed effects on the scale of the linear predictor, their standard errors, z
        ratios and two-sided normal p-values.
    nobs, df_model : int
        Number of rows used; number of fixed effects without the constant.
    scale : float
        Dispersion; 1 where it is fixed.

    Notes
    -----
    Three numbers are kept apart. `llf` is the absolute log-likelihood, whatever the
    number of quadrature nodes, and `objective` is ``-2 llf``; `deviance` is the
    deviance of the rows at the conditional modes.

    Standard errors of ``cov_type="hessian"`` are computed when they are first asked
    for, from differences of the exact gradient.
    """

    fit_record: GLMMFit

    def __init__(self, model: GLMM, record: GLMMFit, cov_type: str = "hessian") -> None:
        scale = record.extra if record.family.dispersion else 1.0
        super().__init__(model, record, scale)
        self._wanted = cov_type
        self._found: tuple[Any, ...] = ()

    nAGQ = recorded(  # noqa: N815  (lme4's name)
        "nAGQ", "Nodes of the quadrature: 1 for Laplace, 0 for PIRLS."
    )
    family = recorded("family", "Distribution and link.")
    deviance = recorded("deviance", "Deviance of the rows at the conditional modes.")
    laplace = recorded("laplace", "Information in the determinant of the criterion.")

    @property
    def sigma(self) -> float:
        """Root of the dispersion; 1 where it is fixed."""
        return float(np.sqrt(self.scale))

    @property
    def dispersion(self) -> float:
        """Dispersion phi: ``Var(y) = phi V(mu) / weight``; 1 where it is fixed."""
        return float(self.scale)

    @property
    def nb_theta(self) -> float | None:
        """Theta of a negative binomial, estimated or known; None for others."""
        if self.fit_record.family.extra == "theta":
            return float(self.fit_record.extra)
        known = getattr(self.fit_record.family, "theta", None)
        return None if known is None else float(known)

    # --- standard errors ----------------------------------------------------------

    @property
    def cov_type(self) -> str:
        """Kind of standard errors: "hessian", "rx" or "cluster".

        "rx" where the Hessian was asked for and is not positive definite, with a
        warning; see `wald.covariance` and `get_robustcov_results`.
        """
        if self.robust_record is not None:
            return "cluster"
        if self._wanted == "hessian" and not self._hessian_works:
            if not self._found:
                self._found = (ConvergenceWarning(NO_HESSIAN),)
                warnings.warn(self._found[0], stacklevel=user_level())
            return "rx"
        return self._wanted

    @property
    def _hessian_works(self) -> bool:
        return wald.hessian_covariance(self.fit_record) is not None

    def _cov_type(self) -> wald.CovType:
        return self.robust_record or self.cov_type

    def _wrapped(self) -> GLMMResultsWrapper:
        return GLMMResultsWrapper(self)

    @property
    def cov_params_default(self) -> Array:
        """Covariance of the fixed effects, by `cov_type`, shape (p, p)."""
        return wald.covariance(self.fit_record, self._cov_type())

    def cov_params(self, *args: Any, cov_type: str | None = None, **kwargs: Any) -> Any:
        """Covariance of the fixed effects or of combinations of them.

        Parameters
        ----------
        *args, **kwargs
            As in statsmodels: `r_matrix`, `column`, `other`.
        cov_type : {"hessian", "rx"}, optional
            By default the kind of the fit.
        """
        if cov_type is not None:
            kwargs["cov_p"] = wald.covariance(self.fit_record, cov_type)
        return super().cov_params(*args, **kwargs)

    @property
    def warnings(self) -> tuple[Any, ...]:
        """Warnings given while the model was built and fitted."""
        return (*super().warnings, *self._found)

    # --- rows ---------------------------------------------------------------------

    @property
    def linear_predictor(self) -> Array:
        """Linear predictor with random effects and offset, shape (nobs,)."""
        self._need_data("linear_predictor")
        return self.fit_record.eta

    @property
    def resid(self) -> Array:
        """Deviance residuals at the conditional modes, shape (nobs,)."""
        self._need_data("resid")
        return residuals.residuals(self.fit_record)

    # --- again --------------------------------------------------------------------

    def refit(self, y: ArrayLike) -> GLMMResultsWrapper | ManyFits:
        """Fit the same model to another response.

        Parameters
        ----------
        y : array_like
            For the rows used or for all rows, in a form of the first response:
            numbers, the two categories, or successes and failures in two columns.
            Another matrix or frame has a response of numbers in each column.

        Returns
        -------
        GLMMResults or ManyFits
            This result and its model stay as they are.
        """
        self._need_data("refit")
        record = self.fit_record
        if is_matrix(y) and (record.design.trials is None or np.shape(y)[1] != 2):
            return fit_columns(self, y)
        design = replace_response(record.design, y)
        for note in check_response(design, record.family):
            warnings.warn(note, stacklevel=2)
        if design.weights is not None and design.weights is not record.design.weights:
            # Counts came with their own numbers of trials.
            problem = replace(record.problem, weights=design.weights)
            record = replace(record, problem=problem)
        fitted = refit_glmm(replace(record, design=design), design.y)
        found: GLMMResultsWrapper = self.model.with_response(fitted, self._wanted)
        return found

    def update(
        self, formula: str | None = None, data: Any = None, **changes: Any
    ) -> GLMMResultsWrapper:
        """Fit a changed model, as R's ``update``.

        Parameters
        ----------
        formula : str, optional
            New formula; ``.`` stands for the old side, as in ``". ~ . + x"``.
        data : frame, optional
            New data.
        **changes
            Arguments of `glmer` and of `GLMM.fit` that change, such as ``nAGQ=9``. The
            others stay as they were, but for `start` and a robust covariance. Elements
            of theta stay held; ``fix=None`` frees them.
        """
        options: dict[str, Any] = {"nAGQ": self.nAGQ, "cov_type": self._wanted}
        options["fix"] = held_wish(self.fit_record.design)
        for name in ("laplace", "optimizer", "control"):
            options[name] = self.fit_record.options[name]
        for name in FIT_OPTIONS:
            if name in changes:
                options[name] = changes.pop(name)
        found: GLMMResultsWrapper = self.model.update(formula, data, **changes).fit(
            **options
        )
        return found


class GLMMResultsWrapper(MixedResultsWrapper):
    """`GLMMResults` with names on its arrays; what ``GLMM.fit`` returns."""


wrap.populate_wrapper(GLMMResultsWrapper, GLMMResults)
