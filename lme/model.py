"""`LMM`: a linear mixed model before it is fitted, and `lmer`, which builds one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from lme.errors import OptionError
from lme.fit import Fit, fit_lmm
from lme.formula.arrays import design_from_arrays
from lme.formula.design import Design
from lme.inference.robust.choice import robust_options
from lme.partitions.design import design_of
from lme.preparation import check_sigma
from lme.relatedness import relate
from lme.results import LMMResults, LMMResultsWrapper
from lme.signatures import unknown_option
from lme.specification import DESIGN_OPTIONS, MixedModel

#: Options of other models, and why there is none here.
_ELSEWHERE = {"nAGQ": "A linear model needs no quadrature; others are fitted by glmer."}


class LMM(MixedModel):
    """A linear mixed-effects model.

    ``y = offset + X beta + Z b + e`` with ``b ~ N(0, sigma^2 Lambda Lambda')`` and
    ``e ~ N(0, sigma^2 / w)``. Build it from a formula with `lmer` (or
    ``LMM.from_formula``), or from matrices as below.

    Parameters
    ----------
    endog : array_like, shape (n,)
        Response.
    exog : array_like, shape (n, p), optional
        Fixed-effects matrix; a constant is not added. None: no fixed effects.
    groups : array_like, shape (n,), or mapping of str to array_like
        Level of each row; for several grouping factors, one such array by name.
    exog_re : array_like, shape (n, k), or mapping of str to array_like, optional
        Random-effects columns; by default an intercept for each grouping factor. A
        mapping has the same names as `groups`; a list of arrays under a name gives
        several terms that are uncorrelated with one another.
    structure : str or mapping of str to str
        Covariance structure of each term: ``"us"`` (unstructured), ``"diag"``,
        ``"cs"``, ``"ar1"``, ``"toep"``, ... (`lme.covariance.STRUCTURES`).
    weights : array_like, shape (n,), optional
        Prior weights; the residual variance of a row is ``sigma^2 / weight``.
    offset : array_like, shape (n,), optional
        Known part of the mean.
    REML : bool
        Default criterion of `fit`.
    sigma : float, optional
        A known residual standard deviation; estimated by default.
    covariances : mapping of str to matrix, optional
        Known covariance between the levels of a grouping factor; see `lmer`.
    checks : str or mapping, optional
        Severities of the checks; see `lme.formula.checks`.

    Raises
    ------
    DataError, DataTypeError
        For arrays of wrong length or type, and for missing values.
    DesignError
        If the model cannot be identified from the data.

    Attributes
    ----------
    design : Design
        Everything that formula and data determine.
    reml : bool
        Default criterion of `fit`.
    warnings : tuple of LMEWarning
        What the checks found.

    Notes
    -----
    A model is never changed by `fit`.

    References
    ----------
    Bates, Maechler, Bolker and Walker (2015), Fitting linear mixed-effects models
    using lme4, Journal of Statistical Software 67(1), doi:10.18637/jss.v067.i01.

    Examples
    --------
    >>> import numpy as np, lme
    >>> sleep = lme.datasets.load("sleepstudy")
    >>> X = np.column_stack([np.ones(180), sleep["Days"]])
    >>> model = lme.LMM(sleep["Reaction"], X, groups=sleep["Subject"], exog_re=X)
    >>> round(model.fit().objective, 4)
    1743.6283
    """

    builder = "lmer"
    known_options = (
        *DESIGN_OPTIONS,
        "REML",
        "sigma",
        "residual",
        "covariances",
        "checks",
    )
    unwanted: ClassVar[Mapping[str, str]] = {
        "family": "A linear mixed model has normal responses; use glmer for others."
    }

    def __init__(
        self,
        endog: ArrayLike,
        exog: ArrayLike | None = None,
        groups: Any = None,
        *,
        exog_re: Any = None,
        structure: str | Mapping[str, str] = "us",
        weights: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        REML: bool = True,
        sigma: float | None = None,
        covariances: Mapping[str, Any] | None = None,
        checks: str | Mapping[str, str] | None = None,
    ) -> None:
        design = design_from_arrays(
            endog,
            exog,
            groups,
            exog_re=exog_re,
            structure=structure,
            weights=weights,
            offset=offset,
        )
        options = {"REML": REML, "sigma": sigma, "checks": checks}
        options["covariances"] = covariances
        self._prepare(relate(design, covariances), options, None)

    @classmethod
    def from_design(cls, design: Design, options: dict[str, Any], frame: Any) -> LMM:
        """A model of a finished design; `options` and `frame` are kept for `update`."""
        model = cls.__new__(cls)
        model._prepare(design, options, frame)
        return model

    def _prepare(self, design: Design, options: dict[str, Any], frame: Any) -> None:
        self.reml = _truth("REML", options["REML"])
        self.sigma = check_sigma(options.get("sigma"))
        self._start(design, options, frame, free_scale=self.sigma is None)

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        REML: bool = True,
        sigma: float | None = None,
        residual: str | None = None,
        covariances: Mapping[str, Any] | None = None,
        checks: str | Mapping[str, str] | None = None,
        **options: Any,
    ) -> LMM:
        """Build a model from a formula; the arguments are those of `lme.lmer`."""
        cls._check_options(options)
        design = design_of(formula, data, residual=residual, **options)
        design = relate(design, covariances)
        every = dict.fromkeys(DESIGN_OPTIONS) | {"na_action": "omit"} | options
        own = {"REML": REML, "sigma": sigma, "residual": residual, "checks": checks}
        own["covariances"] = covariances
        return cls.from_design(design, every | own, data)

    def fit(
        self,
        *,
        reml: bool | None = None,
        sigma: float | None = None,
        start: Any = None,
        fix: Mapping[str, Any] | None = None,
        kernel: str = "auto",
        optimizer: str = "auto",
        control: Mapping[str, Any] | None = None,
        verbose: int = 0,
        cov_type: str = "nonrobust",
        cov_kwds: Mapping[str, Any] | None = None,
        **unknown: Any,
    ) -> LMMResultsWrapper:
        """Estimate the model.

        Parameters
        ----------
        reml : bool, optional
            REML or maximum likelihood; by default as the model says (REML).
        sigma : float, optional
            A known residual standard deviation, as in a meta-analysis of effects with
            known variances (``weights=1/v, sigma=1``); by default as the model says.
        start : array_like or mapping, optional
            Start of the search: theta, or a mapping with ``"theta"`` (an array, or
            numbers by name) or with names of `confint`, such as
            ``{"sd_Days|Subject": 6, "sigma": 25}``; the rest comes from moments.
        fix : mapping, optional
            Elements of theta that are not estimated: ``{"theta": {name: value}}`` with
            the names of ``result.theta``, and a number, or the name of the element
            that it equals, as value.
        kernel : {"auto", "blocked", "cholmod"}
            How the penalized least-squares problem is solved.
        optimizer : str
            Search; ``"auto"`` is Newton in a trust region with exact gradients.
        control : mapping, optional
            Limits and tolerances of the search, such as ``max_evaluations``.
        verbose : int
            1 logs every evaluation to the logger ``lme``.
        cov_type : {"nonrobust", "cluster"}
            Standard errors by the model, or robust against a wrong one within
            clusters; see `LMMResults.get_robustcov_results`.
        cov_kwds : mapping, optional
            Its arguments, such as ``{"groups": "school", "type": "CR2"}``.
        **unknown
            Refused, with the reason or a near spelling.

        Returns
        -------
        LMMResults
            In statsmodels' wrapper, which labels its arrays.

        Warns
        -----
        RankWarning
            If columns of the fixed-effects matrix are dropped as dependent.
        ConvergenceWarning
            If the search stopped early, or the optimum is not unique.
        """
        if unknown:
            raise unknown_option(LMM.fit, next(iter(unknown)), "linear", _ELSEWHERE)
        wishes = robust_options(cov_type, cov_kwds, ("nonrobust",))
        with self._quiet_rank():
            record = fit_lmm(
                self.design,
                reml=self.reml if reml is None else _truth("reml", reml),
                sigma=self.sigma if sigma is None else sigma,
                start=start,
                fix=fix,
                kernel=kernel,
                optimizer=optimizer,
                control=control,
                verbose=verbose,
                rank=self._rank(),
            )
        found = self._results(record)
        if wishes is None:
            return found
        robust: LMMResultsWrapper = found.get_robustcov_results(cov_type, **wishes)
        return robust

    def _results(self, record: Fit) -> LMMResultsWrapper:
        return LMMResultsWrapper(LMMResults(self._holding(record), record))

    def with_response(self, record: Fit) -> LMMResultsWrapper:
        """Results of a refit to another response, with a model that holds it."""
        return self._with_design(record.design)._results(record)


def _truth(name: str, value: Any) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise OptionError(
            f"{name}={value!r} is not a truth value.", "It must be True or False."
        )
    return bool(value)


def lmer(
    formula: str,
    data: Any,
    *,
    REML: bool = True,
    sigma: float | None = None,
    residual: str | None = None,
    covariances: Mapping[str, Any] | None = None,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    checks: str | Mapping[str, str] | None = None,
    **unknown: Any,
) -> LMM:
    """A linear mixed model from a formula in lme4's notation.

    Parameters
    ----------
    formula : str
        Such as ``"Reaction ~ Days + (Days | Subject)"``.
    data : DataFrame or mapping
        pandas, polars, pyarrow or any frame that narwhals reads; a dict of arrays.
    REML : bool
        Default criterion of `LMM.fit`.
    sigma : float, optional
        A known residual standard deviation. With it a grouping factor may have a level
        for every row.
    residual : str, optional
        Variances and correlations of the residuals, such as ``"ar1(time | g)"``,
        ``"varIdent(sex)"`` or ``"varPower(x)"``, with ``+`` between them. Rows of
        different groups are independent.
    covariances : mapping of str to DataFrame, array or Precision, optional
        Known covariance K between the levels of grouping factors, by name, such as
        ``{"animal": A}`` with the relationship matrix of a pedigree, or
        ``{"animal": Precision(A_inverse, levels)}``. The random effects of all levels
        of a term then have the covariance ``sigma^2 K (x) lambda lambda'``. The levels
        are the index and the columns; K may have more than the data.
    weights, offset : str or array_like, optional
        Column or values, one a row of `data`. The residual variance of a row is
        ``sigma^2 / weight``.
    subset : array_like or str, optional
        The rows to use.
    na_action : {"omit", "exclude", "fail"}
        Rows with missing values: leave out; leave out, and give NaN for them in
        residuals and fitted values; or raise.
    contrasts : mapping, optional
        Coding of factors, such as ``{"recipe": "contr.sum"}``.
    context : mapping, optional
        Variables and functions that the formula may use beside the columns.
    checks : str or mapping, optional
        Severities of the checks, ``"ignore"``, ``"warn"`` or ``"stop"``: one for all,
        or by name (`lme.formula.checks.CHECKS`), as in ``{"rank": "stop"}``.
    **unknown
        Refused, with the reason or a near spelling.

    Returns
    -------
    LMM
        Not yet fitted.

    Raises
    ------
    FormulaError
        If the formula cannot be read.
    DataError, DataTypeError
        If columns are missing or of a wrong type.
    DesignError
        If a check of severity ``"stop"`` finds something.

    Examples
    --------
    >>> import lme
    >>> sleep = lme.datasets.load("sleepstudy")
    >>> res = lme.lmer("Reaction ~ Days + (Days | Subject)", sleep).fit()
    >>> res.fixef().round(3)
    (Intercept)    251.405
    Days            10.467
    dtype: float64
    >>> res.VarCorr()
    Groups   Name        Variance Std.Dev.  Corr
    Subject  (Intercept)   612.09   24.740
             Days           35.07    5.922 0.066
    Residual               654.94   25.592
    """
    return LMM.from_formula(
        formula,
        data,
        REML=REML,
        sigma=sigma,
        residual=residual,
        covariances=covariances,
        checks=checks,
        weights=weights,
        offset=offset,
        subset=subset,
        na_action=na_action,
        contrasts=contrasts,
        context=context,
        **unknown,
    )
