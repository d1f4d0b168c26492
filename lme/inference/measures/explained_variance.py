"""Shares of the variance: R squared and intraclass correlations.

The variance of the linear predictor and of the response about it is split into a fixed
part, a part of each random-effects term and a residual part; both measures are ratios
of these. Random slopes enter by the mean over the rows of ``z_i' Sigma z_i`` (Johnson
2014); a generalized model has the variance of its distribution on the scale of the
link (Nakagawa, Johnson & Schielzeth 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from lme.errors import FitError, OptionError
from lme.formula.design import Design
from lme.generalized import GLMMFit
from lme.inference.components import term_names
from lme.inference.measures.latent_variance import (
    choose_approximation,
    distribution_variance,
    random_variances,
)
from lme.inference.text import html_table, number, table
from lme.inference.working import MixedFit


@dataclass(frozen=True, repr=False)
class VarianceParts:
    """The variance of a response, or of its latent scale, in parts.

    Attributes
    ----------
    fixed : float
        Of ``X beta`` over the rows, with n - 1 in the denominator.
    random : Series
        By random-effects term, named as in `VarCorr`: mean over the rows of ``z_i'
        Sigma z_i``. Without terms that count as over-dispersion.
    groups : Series
        The same by grouping factor.
    dispersion : float
        Of the random effects of a generalized model that differ from row to row.
    distribution : float
        Of the response about its mean, on the scale of the linear predictor.
    approximation : str
        How `distribution` was found: "sigma^2", or one of `APPROXIMATIONS`.

    Notes
    -----
    All on the squared scale of the linear predictor, which is that of the response
    for a linear model.
    """

    fixed: float
    random: pd.Series
    groups: pd.Series
    dispersion: float
    distribution: float
    approximation: str

    @property
    def residual(self) -> float:
        """Variance that neither fixed nor (shared) random effects account for."""
        return self.distribution + self.dispersion

    @property
    def total(self) -> float:
        """Sum of all parts."""
        return self.fixed + float(self.random.sum()) + self.residual


@dataclass(frozen=True, repr=False)
class ExplainedVariance:
    """R squared of a mixed model.

    Attributes
    ----------
    marginal : float
        Share of the fixed effects in the total variance.
    conditional : float
        Share of fixed and random effects.
    parts : VarianceParts
    """

    marginal: float
    conditional: float
    parts: VarianceParts

    def to_frame(self) -> pd.DataFrame:
        """One row with the columns ``R2_marginal`` and ``R2_conditional``."""
        values = {"R2_marginal": [self.marginal], "R2_conditional": [self.conditional]}
        return pd.DataFrame(values)

    def _cells(self) -> list[list[str]]:
        return [
            ["marginal (fixed effects)", number(self.marginal)],
            ["conditional (fixed and random effects)", number(self.conditional)],
        ]

    def __repr__(self) -> str:
        text = table(self._cells(), ["R2", ""], left=(0,))
        return f"{text}\n{_basis_of(self.parts)}"

    def _repr_html_(self) -> str:
        return html_table(self._cells(), ["R2", ""])


@dataclass(frozen=True, repr=False)
class IntraclassCorrelation:
    """Intraclass correlation of a mixed model.

    Attributes
    ----------
    adjusted : float
        Share of the random effects in the variance that fixed effects leave.
    unadjusted : float
        Share of the random effects in the total variance; also called conditional.
    by_group : DataFrame
        ``adjusted`` and ``unadjusted`` of each grouping factor; they add up to the
        whole.
    parts : VarianceParts
    """

    adjusted: float
    unadjusted: float
    by_group: pd.DataFrame
    parts: VarianceParts

    def to_frame(self) -> pd.DataFrame:
        """A row for each grouping factor and one, ``(all)``, for their sum."""
        whole = pd.DataFrame(
            {"adjusted": [self.adjusted], "unadjusted": [self.unadjusted]},
            index=["(all)"],
        )
        return pd.concat([self.by_group, whole]).rename_axis("group")

    def _cells(self) -> list[list[str]]:
        frame = self.to_frame()
        rows = zip(frame.index, frame["adjusted"], frame["unadjusted"], strict=True)
        return [[str(name), number(a), number(u)] for name, a, u in rows]

    def __repr__(self) -> str:
        text = table(self._cells(), ["ICC", "adjusted", "unadjusted"], left=(0,))
        return f"{text}\n{_basis_of(self.parts)}"

    def _repr_html_(self) -> str:
        return html_table(self._cells(), ["ICC", "adjusted", "unadjusted"])


def _basis_of(parts: VarianceParts) -> str:
    if parts.approximation == "sigma^2":
        return f"residual variance {number(parts.residual)}"
    return (
        f"residual variance {number(parts.residual)} on the scale of the link "
        f"({parts.approximation})"
    )


def explained_variance(
    fit: MixedFit, *, approximation: str | None = None
) -> ExplainedVariance:
    """Marginal and conditional R squared.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model with its data.
    approximation : {"theoretical", "lognormal", "delta", "trigamma"}, optional
        See `variance_parts`.

    Returns
    -------
    ExplainedVariance

    Raises
    ------
    OptionError
        For an approximation that the model does not have.
    FitError
        If the total variance is zero.

    References
    ----------
    Nakagawa and Schielzeth (2013), Methods in Ecology and Evolution 4, 133-142,
    doi:10.1111/j.2041-210x.2012.00261.x. Johnson (2014), Methods in Ecology and
    Evolution 5, 944-946, doi:10.1111/2041-210X.12225.
    """
    parts = variance_parts(fit, approximation=approximation)
    total = _positive(parts.total, "R squared")
    both = parts.fixed + float(parts.random.sum())
    return ExplainedVariance(parts.fixed / total, both / total, parts)


def intraclass_correlation(
    fit: MixedFit, *, approximation: str | None = None
) -> IntraclassCorrelation:
    """Share of the variance that levels of the grouping factors have in common.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model with its data.
    approximation : {"theoretical", "lognormal", "delta", "trigamma"}, optional
        See `variance_parts`.

    Returns
    -------
    IntraclassCorrelation

    Raises
    ------
    OptionError
        For an approximation that the model does not have.
    FitError
        If fixed effects leave no variance.

    Notes
    -----
    With random slopes the correlation of two rows of a group depends on the rows; this
    is the share of the mean variance.
    """
    parts = variance_parts(fit, approximation=approximation)
    left = _positive(parts.total - parts.fixed, "The intraclass correlation")
    frame = pd.DataFrame(
        {"adjusted": parts.groups / left, "unadjusted": parts.groups / parts.total}
    )
    random = float(parts.random.sum())
    return IntraclassCorrelation(random / left, random / parts.total, frame, parts)


def _positive(variance: float, what: str) -> float:
    if not 0.0 < variance < math.inf:
        raise FitError(
            f"{what} is not defined: the variance it divides by is {variance:g}.",
            "A positive, finite variance was expected.",
            "See variances in VarCorr(); another approximation= may be finite.",
        )
    return variance


def variance_parts(fit: MixedFit, *, approximation: str | None = None) -> VarianceParts:
    """The variance in parts.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model with its data.
    approximation : {"theoretical", "lognormal", "delta", "trigamma"}, optional
        For a generalized model, where the variance about the mean on the scale of the
        link comes from. "theoretical" is that of the latent variable of a binomial
        model: ``pi^2/3`` (logit), 1 (probit), ``pi^2/6`` (complementary log-log).
        "lognormal" and "trigamma" are for the log link. "delta" is ``Var(y | mu)
        (d eta / d mu)^2`` at the mean, for every model. By default the first of these
        that the model has.

    Returns
    -------
    VarianceParts

    Raises
    ------
    OptionError
        For an approximation that is not known or that the model does not have.

    Notes
    -----
    The mean at which a variance is taken is that of a model with the same random
    effects and no fixed effects but an intercept, over the distribution of the linear
    predictor (for the log link ``exp(beta_0 + tau^2 / 2)``); the dispersion and the
    theta of a negative binomial are those of the full model (Nakagawa et al. 2017).
    For links under which that mean does not exist it is the mean of the response.
    Variances of binomial models are those of one trial.

    A linear model's residual variance is the mean of ``sigma^2 / weight``, so that
    the unit of the weights does not matter. An offset is not part of any variance.

    References
    ----------
    Nakagawa, Johnson and Schielzeth (2017), Journal of the Royal Society Interface
    14, 20170213, doi:10.1098/rsif.2017.0213.
    """
    fixed = float(np.var(fit.X @ fit.beta, ddof=1)) if fit.beta.size else 0.0
    by_term = random_variances(fit)
    groups = pd.Index([term.group for term in fit.design.terms], dtype=object)
    if isinstance(fit, GLMMFit):
        own = np.array([_by_row(fit.design, k) for k in range(len(by_term))])
        name = choose_approximation(fit.family, approximation)
        distribution = distribution_variance(fit, name)
    else:
        own = np.zeros(len(by_term), dtype=bool)
        if approximation is not None:
            raise OptionError(
                f"approximation={approximation!r} is for generalized models.",
                "A linear model has its own residual variance.",
                "Leave approximation out.",
            )
        name, weights = "sigma^2", fit.design.weights
        scale = 1.0 if weights is None else float(np.mean(1.0 / weights))
        distribution = fit.sigma**2 * scale
    random = pd.Series(by_term[~own], np.array(term_names(fit), dtype=object)[~own])
    shared = random.groupby(groups[~own], sort=False).sum()
    return VarianceParts(
        fixed, random, shared, float(by_term[own].sum()), distribution, name
    )


def _by_row(design: Design, k: int) -> bool:
    """Whether each row has a level of its own: additive over-dispersion."""
    return len(design.terms[k].levels) == design.nobs
