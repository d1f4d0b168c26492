"""`LMM`: a linear mixed model before it is fitted, and `lmer`, which builds one."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from statsmodels.base.model import LikelihoodModel

from lme.errors import DataError, LMEWarning, OptionError, RankWarning, near
from lme.fit import Fit, fit_lmm
from lme.formula.arrays import design_from_arrays
from lme.formula.checks import check_design, severities
from lme.formula.design import Design, build_design
from lme.formula.revision import revise
from lme.report.labels import DesignData
from lme.results import LMMResults, LMMResultsWrapper

OPTIONS = ("weights", "offset", "subset", "na_action", "contrasts", "context")
"""Arguments of `lmer` that the design is made with."""


def _check_options(options: Mapping[str, Any]) -> None:
    known = (*OPTIONS, "REML", "checks")
    for name in options:
        if name not in known:
            raise OptionError(
                f"{name!r} is not an argument of lmer.",
                f"Its arguments are formula, data, {', '.join(known)}.",
                near(name, known),
            )


class LMM(LikelihoodModel):
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
        Covariance structure of each term: ``"us"`` (unstructured) or ``"diag"``.
    weights : array_like, shape (n,), optional
        Prior weights; the residual variance of a row is ``sigma^2 / weight``.
    offset : array_like, shape (n,), optional
        Known part of the mean.
    REML : bool
        Default criterion of `fit`.
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

    data: Any

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
        self._start(design, {"REML": REML, "checks": checks}, None)

    @classmethod
    def from_design(cls, design: Design, options: dict[str, Any], frame: Any) -> LMM:
        """A model of a finished design; `options` and `frame` are kept for `update`."""
        model = cls.__new__(cls)
        model._start(design, options, frame)
        return model

    def _start(self, design: Design, options: dict[str, Any], frame: Any) -> None:
        reml = options["REML"]
        if not isinstance(reml, (bool, np.bool_)):
            raise OptionError(
                f"REML={reml!r} is not a truth value.", "It must be True or False."
            )
        self.design = design
        self.reml = bool(reml)
        self.options = options
        self.checks = severities(options.get("checks"))
        found = check_design(design, self.checks)
        for note in found:
            # The user called lmer, from_formula, from_design, then this.
            warnings.warn(note, stacklevel=5)
        self.warnings: tuple[LMEWarning, ...] = tuple(found)
        super().__init__(design.y, design.X)
        self.formula = design.formula
        self.data.frame = frame
        self.data_name = str(getattr(frame, "attrs", {}).get("name", ""))

    def _handle_data(
        self, endog: Any, exog: Any, missing: Any, hasconst: Any, **kwargs: Any
    ) -> DesignData:
        return DesignData(self.design)

    @classmethod
    def from_formula(
        cls,
        formula: str,
        data: Any,
        *,
        REML: bool = True,
        checks: str | Mapping[str, str] | None = None,
        **options: Any,
    ) -> LMM:
        """Build a model from a formula; the arguments are those of `lme.lmer`."""
        _check_options(options)
        design = build_design(formula, data, **options)
        every = dict.fromkeys(OPTIONS) | {"na_action": "omit"} | options
        return cls.from_design(design, every | {"REML": REML, "checks": checks}, data)

    def fit(
        self,
        *,
        reml: bool | None = None,
        start: Any = None,
        kernel: str = "auto",
        optimizer: str = "auto",
        control: Mapping[str, Any] | None = None,
        verbose: int = 0,
    ) -> LMMResultsWrapper:
        """Estimate the model.

        Parameters
        ----------
        reml : bool, optional
            REML or maximum likelihood; by default as the model says (REML).
        start : array_like or mapping, optional
            Start of the search: theta, or ``{"theta": theta}``.
        kernel : {"auto", "blocked", "cholmod"}
            How the penalized least-squares problem is solved.
        optimizer : str
            Search; ``"auto"`` is the quasi-Newton search with exact gradients.
        control : mapping, optional
            Limits and tolerances of the search, such as ``max_evaluations``.
        verbose : int
            1 logs every evaluation to the logger ``lme``.

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
        severity = self.checks["rank"]
        arguments = {
            "reml": self.reml if reml is None else bool(reml),
            "start": start,
            "kernel": kernel,
            "optimizer": optimizer,
            "control": control,
            "verbose": verbose,
            "rank": "stop" if severity == "stop" else "drop",
        }
        if severity == "ignore":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", RankWarning)
                return self._results(fit_lmm(self.design, **arguments))
        return self._results(fit_lmm(self.design, **arguments))

    def _results(self, record: Fit) -> LMMResultsWrapper:
        model = self
        if record.kept_columns.size < len(self.design.column_names):
            model = copy.copy(self)
            model._set_data(DesignData(self.design, record.kept_columns))
        return LMMResultsWrapper(LMMResults(model, record))

    def _set_data(self, data: DesignData) -> None:
        data.frame = self.data.frame
        self.data = data
        self.endog, self.exog = data.endog, data.exog
        self.k_constant = data.k_constant

    def loglike(self, params: ArrayLike) -> float:
        """Not defined, because the criterion is profiled over the fixed effects."""
        raise OptionError(
            "loglike(params) of a linear mixed model is not available.",
            "The likelihood is profiled over beta and sigma.",
            "Use result.llf, or lme.fit.objective_at(result.fit_record, theta).",
        )

    def update(
        self, formula: str | None = None, data: Any = None, **changes: Any
    ) -> LMM:
        """A changed model, not yet fitted.

        Parameters
        ----------
        formula : str, optional
            New formula; ``.`` stands for the old side, as in ``". ~ . + x"``.
        data : frame, optional
            New data.
        **changes
            Arguments of `lmer` that change.

        Returns
        -------
        LMM
            A new model.

        Raises
        ------
        DataError
            If the model does not hold the data it was made from.
        """
        frame = self.data.frame if data is None else data
        if frame is None:
            raise DataError(
                "The model does not hold the data it was made from.",
                "An update evaluates the formula again.",
                "Pass data=, or build the model with lmer.",
            )
        _check_options(changes)
        text = self.design.expanded if formula is None else formula
        if formula is not None:
            text = revise(self.design.expanded, formula)
        return type(self).from_formula(text, frame, **(self.options | changes))

    def with_response(self, record: Fit) -> LMMResultsWrapper:
        """Results of a refit to another response, with a model that holds it."""
        model = copy.copy(self)
        model.design = record.design
        model._set_data(DesignData(record.design))
        # The frame still holds the old response: an update from it would mislead.
        model.data.frame = None
        return model._results(record)

    def without_rows(self, design: Design) -> LMM:
        """A copy that holds `design`, which has no rows, and no data."""
        model = copy.copy(self)
        data = copy.copy(self.data)
        data.design, data.frame = design, None
        data.endog, data.exog = design.y, design.X[:, : len(data.xnames)]
        model.design, model.data = design, data
        model.endog, model.exog = data.endog, data.exog
        hidden = dict.fromkeys(("weights", "offset", "subset", "context"))
        model.options = {k: v for k, v in self.options.items() if k not in hidden}
        return model


def lmer(
    formula: str,
    data: Any,
    *,
    REML: bool = True,
    weights: Any = None,
    offset: Any = None,
    subset: Any = None,
    na_action: str = "omit",
    contrasts: Mapping[str, Any] | None = None,
    context: Mapping[str, Any] | None = None,
    checks: str | Mapping[str, str] | None = None,
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
        checks=checks,
        weights=weights,
        offset=offset,
        subset=subset,
        na_action=na_action,
        contrasts=contrasts,
        context=context,
    )
