"""`GLMM`: a generalized linear mixed model before it is fitted, and `glmer`."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from lme.errors import FormulaWarning
from lme.families import Binomial, resolve
from lme.families.generalized import generalized_family, is_linear
from lme.formula.arrays import design_from_arrays
from lme.formula.design import Design
from lme.formula.replacement import check_response, split_counts
from lme.generalized import GLMMFit, fit_glmm
from lme.inference.hypotheses.wald import COV_TYPES
from lme.inference.robust.choice import robust_options
from lme.model import LMM
from lme.partitions.design import design_of, said_of
from lme.relatedness import relate
from lme.results import GLMMResults, GLMMResultsWrapper
from lme.signatures import unknown_option
from lme.specification import DESIGN_OPTIONS, MixedModel

#: Options of other models, and why there is none here.
_ELSEWHERE = {
    "kernel": "One method serves all generalized models; leave kernel= out.",
}


class GLMM(MixedModel):
    """A generalized linear mixed model.

    ``E(y | b) = mu`` with ``link(mu) = eta = offset + X beta + Z b``, ``b ~ N(0,
    Lambda Lambda')``, and `y` of a family of distributions given `b`. Build it from a
    formula with `glmer` (or ``GLMM.from_formula``), or from matrices as below.

    Parameters
    ----------
    endog : array_like, shape (n,) or (n, 2)
        Response; two columns are successes and failures of a binomial family.
    exog : array_like, shape (n, p), optional
        Fixed-effects matrix; a constant is not added. None: no fixed effects.
    groups : array_like, shape (n,), or mapping of str to array_like
        Level of each row; for several grouping factors, one such array by name.
    family : str, Family, or a family of statsmodels
        Distribution of the response; see `lme.families`.
    link : str, Link, or a link of statsmodels, optional
        In place of the family's own.
    exog_re, structure
        Random effects and their covariance, as for `LMM`.
    weights : array_like, shape (n,), optional
        Prior weights: trials of a proportion, ``dispersion / weight`` where there is a
        dispersion, else the number of equal observations that a row stands for.
    offset : array_like, shape (n,), optional
        Known part of the linear predictor.
    covariances : mapping of str to matrix, optional
        Known covariance between the levels of a grouping factor; see `lmer`.
    checks : str or mapping, optional
        Severities of the checks; see `lme.formula.checks`.

    Raises
    ------
    DataError, DataTypeError
        For arrays of wrong length or type, missing values, and responses that the
        family cannot produce.
    DesignError
        If the model cannot be identified from the data.
    OptionError
        For unknown families and links.

    Attributes
    ----------
    design : Design
        Everything that formula and data determine.
    family : Family
        Distribution and link.
    warnings : tuple of LMEWarning
        What the checks found.

    References
    ----------
    Breslow and Clayton (1993), Approximate inference in generalized linear mixed
    models, Journal of the American Statistical Association 88, 9-25,
    doi:10.1080/01621459.1993.10594284.

    Examples
    --------
    >>> import numpy as np, lme
    >>> cbpp = lme.datasets.load("cbpp")
    >>> counts = np.column_stack([cbpp["incidence"], cbpp["size"] - cbpp["incidence"]])
    >>> X = np.ones((len(cbpp), 1))
    >>> model = lme.GLMM(counts, X, groups=cbpp["herd"], family="binomial")
    >>> model.fit().params.round(4)
    const   -2.0462
    dtype: float64
    """

    builder = "glmer"
    known_options = (*DESIGN_OPTIONS, "family", "link", "covariances", "checks")
    unwanted: ClassVar[Mapping[str, str]] = {
        "REML": "A restricted likelihood is defined for linear mixed models only.",
        "residual": "Responses that are not normal have no residuals with a variance "
        "of their own; a random effect such as ar1(0 + time | g) makes them "
        "correlated.",
    }

    def __init__(
        self,
        endog: ArrayLike,
        exog: ArrayLike | None = None,
        groups: Any = None,
        *,
        family: Any = None,
        link: Any = None,
        exog_re: Any = None,
        structure: str | Mapping[str, str] = "us",
        weights: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        covariances: Mapping[str, Any] | None = None,
        checks: str | Mapping[str, str] | None = None,
    ) -> None:
        chosen = generalized_family(family, link)
        trials = None
        if np.ndim(endog) == 2 and isinstance(chosen, Binomial):
            y, trials = split_counts("endog", endog)
            # Rows without trials say nothing, but a weight must be positive.
            weights = trials if weights is None else trials * np.asarray(weights)
            endog = (
                y
                if not isinstance(endog, pd.DataFrame)
                else pd.Series(y, index=endog.index, name=endog.columns[0])
            )
        design = design_from_arrays(
            endog,
            exog,
            groups,
            exog_re=exog_re,
            structure=structure,
            weights=weights,
            offset=offset,
        )
        if trials is not None:
            design = replace(design, y_kind="counts", trials=trials)
        own = {"family": family, "link": link, "covariances": covariances}
        self._prepare(relate(design, covariances), own | {"checks": checks}, None)

    @classmethod
    def from_design(cls, design: Design, options: dict[str, Any], frame: Any) -> GLMM:
        """A model of a finished design; `options` and `frame` are kept for `update`."""
        model = cls.__new__(cls)
        model._prepare(design, options, frame)
        return model

    def _prepare(self, design: Design, options: dict[str, Any], frame: Any) -> None:
        self.family = generalized_family(options["family"], options["link"])
        found = (*check_response(design, self.family), *said_of(design))
        self._start(
            design,
            options,
            frame,
            free_scale=self.family.dispersion,
            found=found,
        )

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        family: Any = None,
        link: Any = None,
        covariances: Mapping[str, Any] | None = None,
        checks: str | Mapping[str, str] | None = None,
        **options: Any,
    ) -> GLMM:
        """Build a model from a formula; the arguments are those of `lme.glmer`."""
        cls._check_options(options)
        chosen = generalized_family(family, link)
        plain = design_of(formula, data, family=chosen, **options)
        design = relate(plain, covariances)
        every = dict.fromkeys(DESIGN_OPTIONS) | {"na_action": "omit"} | options
        every |= {"family": family, "link": link, "checks": checks}
        every |= {"covariances": covariances}
        return cls.from_design(design, every, data)

    def _changed_options(self, changes: dict[str, Any]) -> dict[str, Any]:
        # Another family has a link of its own.
        link = {"link": None} if "family" in changes else {}
        return self.options | link | changes

    def fit(
        self,
        *,
        nAGQ: int = 1,
        cov_type: str = "hessian",
        cov_kwds: Mapping[str, Any] | None = None,
        laplace: str = "auto",
        start: Any = None,
        fix: Mapping[str, Any] | None = None,
        optimizer: str = "auto",
        control: Mapping[str, Any] | None = None,
        verbose: int = 0,
        **unknown: Any,
    ) -> GLMMResultsWrapper:
        """Estimate the model by maximum likelihood.

        Parameters
        ----------
        nAGQ : int
            Nodes of the quadrature over each random effect: 1 is the Laplace
            approximation, for any model; more, up to 100, for one grouping factor with
            at most three random effects a level; 0 takes the coefficients from PIRLS,
            which is fast and less exact.
        cov_type : {"hessian", "rx", "cluster"}
            Standard errors from the Hessian of the log-likelihood; from the working
            linear model, which takes theta as known; or robust against a wrong model
            within clusters, see `GLMMResults.get_robustcov_results`.
        cov_kwds : mapping, optional
            Arguments of the robust ones, such as ``{"groups": "school"}``.
        laplace : {"auto", "expected", "observed"}
            Information in the determinant of the Laplace approximation. "expected" is
            lme4's, "observed" the Laplace approximation proper; they are equal for
            canonical links. "auto" is "observed" where a dispersion is estimated.
        start : array_like or mapping, optional
            Start of the search: theta, or a mapping with "theta", "beta", or names
            of `confint`; the rest comes from moments.
        fix : mapping, optional
            Elements of theta that are held; see `LMM.fit`.
        optimizer : str
            Search; ``"auto"`` is Newton in a trust region with exact gradients.
        control : mapping, optional
            Limits and tolerances of the search, such as ``max_evaluations``.
        verbose : int
            1 logs every evaluation to the logger ``lme``.

        Returns
        -------
        GLMMResults
            In statsmodels' wrapper, which labels its arrays.

        Raises
        ------
        OptionError
            For options outside their set.
        FitError
            If no point with a finite likelihood is found.

        Warns
        -----
        RankWarning
            If columns of the fixed-effects matrix are dropped as dependent.
        ConvergenceWarning
            If the search stopped early, the optimum is not unique, or on separation.
        """
        if unknown:
            raise unknown_option(
                GLMM.fit, next(iter(unknown)), "generalized", _ELSEWHERE
            )
        wishes = robust_options(cov_type, cov_kwds, COV_TYPES)
        wanted = cov_type if wishes is None else "hessian"
        with self._quiet_rank():
            record = fit_glmm(
                self.design,
                self.family,
                nAGQ=nAGQ,
                laplace=laplace,
                start=start,
                fix=fix,
                optimizer=optimizer,
                control=control,
                verbose=verbose,
                rank=self._rank(),
            )
        found = self._results(record, wanted)
        if wishes is not None:
            found = found.get_robustcov_results(cov_type, **wishes)
        return found

    def _results(self, record: GLMMFit, cov_type: str) -> GLMMResultsWrapper:
        return GLMMResultsWrapper(GLMMResults(self._holding(record), record, cov_type))

    def with_response(self, record: GLMMFit, cov_type: str) -> GLMMResultsWrapper:
        """Results of a refit to another response, with a model that holds it."""
        return self._with_design(record.design)._results(record, cov_type)


def glmer(
    formula: str,
    data: Any,
    *,
    family: Any = None,
    link: Any = None,
    covariances: Mapping[str, Any] | None = None,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    checks: str | Mapping[str, str] | None = None,
    **unknown: Any,
) -> GLMM | LMM:
    """A generalized linear mixed model from a formula in lme4's notation.

    Parameters
    ----------
    formula : str
        Such as ``"cbind(incidence, size - incidence) ~ period + (1 | herd)"``. A
        binomial response is 0 and 1, True and False, two categories (the first is
        failure), ``cbind(successes, failures)``, or a proportion with the numbers of
        trials as `weights`.
    data : DataFrame, mapping, or data in partitions
        As for `lmer`. Data in partitions are encoded once, into temporary files.
    family : str, Family, or a family of statsmodels
        A name of `lme.families.FAMILIES`: ``"bernoulli"``, ``"binomial"``,
        ``"poisson"``, ``"negative_binomial"`` (theta is estimated), ``"gamma"``,
        ``"inverse_gaussian"``, ``"gaussian"``.
    link : str, Link, or a link of statsmodels, optional
        In place of the family's own, such as ``"probit"``.
    weights, offset : str or array_like, optional
        Column or values, one a row of `data`: prior weights (see `GLMM`), and a known
        part of the linear predictor.
    covariances, subset, na_action, contrasts, context, checks
        As for `lmer`.
    **unknown
        Refused, with the reason or a near spelling.

    Returns
    -------
    GLMM
        Not yet fitted. For a gaussian family with the identity link an `LMM` to be
        fitted by maximum likelihood, with a warning.

    Raises
    ------
    FormulaError
        If the formula cannot be read.
    DataError, DataTypeError
        If columns are missing or of a wrong type, and for responses that the family
        cannot produce.
    DesignError
        If a check of severity ``"stop"`` finds something.
    OptionError
        Without a family, and for unknown families and links.

    Examples
    --------
    >>> import lme
    >>> cbpp = lme.datasets.load("cbpp")
    >>> model = lme.glmer(
    ...     "cbind(incidence, size - incidence) ~ period + (1 | herd)",
    ...     cbpp,
    ...     family="binomial",
    ... )
    >>> res = model.fit()
    >>> res.fixef().round(4)
    (Intercept)   -1.3985
    period2       -0.9923
    period3       -1.1287
    period4       -1.5803
    dtype: float64
    >>> res.VarCorr()
    Groups Name        Variance Std.Dev.
    herd   (Intercept)   0.4125   0.6423
    """
    options = {
        "weights": weights,
        "offset": offset,
        "subset": subset,
        "na_action": na_action,
        "contrasts": contrasts,
        "context": context,
        "covariances": covariances,
        "checks": checks,
    }
    if family is not None and not unknown and is_linear(resolve(family, link)):
        warnings.warn(
            FormulaWarning(
                "A gaussian family with the identity link is a linear mixed model: "
                "this is lmer(..., REML=False)."
            ),
            stacklevel=2,
        )
        return LMM.from_formula(formula, data, REML=False, **options)
    return GLMM.from_formula(
        formula, data, family=family, link=link, **options, **unknown
    )
