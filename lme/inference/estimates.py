"""Fixed effects, likelihood, information criteria and counts."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.fit import objective_at
from lme.fixing import free_parameters
from lme.generalized import GLMMFit
from lme.inference.working import MixedFit

if TYPE_CHECKING:
    from lme.formula.design import Design

Array = NDArray[np.float64]


def coefficient_names(fit: MixedFit) -> list[str]:
    """Names of the estimated fixed effects, without dropped columns."""
    return [fit.design.column_names[i] for i in fit.kept_columns]


def dropped_names(fit: MixedFit) -> list[str]:
    """Names of the columns that were dropped as linearly dependent."""
    kept = set(fit.kept_columns.tolist())
    return [name for i, name in enumerate(fit.design.column_names) if i not in kept]


def without_rows(fit: MixedFit) -> MixedFit:
    """A copy of a fit that keeps estimates, names and counts, but no row of data."""
    design = fit.design
    n, none = len(design.index), np.zeros(0)
    codes = np.zeros(0, dtype=np.intp)
    terms = tuple(
        replace(term, codes=codes, values=np.zeros((0, len(term.columns))))
        for term in design.terms
    )
    light = replace(
        design,
        y=none,
        X=np.zeros((0, len(design.column_names))),
        offset=None,
        weights=None,
        residual=None,
        trials=None,
        terms=terms,
        index=pd.RangeIndex(n),
        full_index=pd.RangeIndex(n),
        kept=np.zeros(0, dtype=bool),
        dropped_rows=codes,
    )
    # The problem is made of the rows; what needs it is refused without them.
    empty: dict[str, Any] = {"design": light, "problem": None, "mu": none}
    empty["X"] = np.zeros((0, fit.beta.size))
    # A part of the least-squares problem, which getME refuses with the rest.
    empty["RX"] = np.zeros((0, 0))
    if not isinstance(fit, GLMMFit):
        return replace(fit, **empty)
    small = replace(fit, eta=none, **empty)
    # Cached properties that could not be computed again.
    small.__dict__["vcov_hessian"] = fit.vcov_hessian
    return small


def fixed_effects(fit: MixedFit, *, add_dropped: bool = False) -> pd.Series:
    """Fixed-effects coefficients.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    add_dropped : bool
        Include columns dropped for linear dependence, as NaN, in their place.

    Returns
    -------
    Series
        Coefficients on the scale of the linear predictor, labelled as R labels them.
    """
    if not add_dropped:
        return pd.Series(fit.beta, index=coefficient_names(fit))
    values = np.full(len(fit.design.column_names), np.nan)
    values[fit.kept_columns] = fit.beta
    return pd.Series(values, index=list(fit.design.column_names))


def row_count(fit: MixedFit) -> int:
    """Number of rows used; known even after the data have been removed."""
    return len(fit.design.index)


def parameter_count(fit: MixedFit) -> int:
    """Number of parameters: fixed effects, elements of theta, and sigma.

    Those of a residual structure count too.

    In a generalized model a dispersion or the theta of a negative binomial takes the
    place of sigma, where it is estimated; a known sigma does not count.
    """
    if isinstance(fit, GLMMFit):
        scale = fit.family.extra is not None
    else:
        scale = fit.known_sigma is None
    free = free_parameters(fit.design) + residual_parameters(fit)
    return fit.beta.size + free + int(scale)


def residual_parameters(fit: MixedFit) -> int:
    """Number of parameters of a residual structure; 0 without one."""
    if isinstance(fit, GLMMFit) or fit.residual is None:
        return 0
    return int(fit.residual.values.size)


def log_likelihood(fit: MixedFit, *, reml: bool | None = None) -> float:
    """Log-likelihood, or restricted log-likelihood, at the estimates.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    reml : bool, optional
        Which of the two; by default the one that was maximized. The other is
        evaluated at the same theta, with beta and sigma profiled out. A generalized
        model has no other.

    Returns
    -------
    float
        Absolute: all constants are in it.
    """
    if isinstance(fit, GLMMFit) or reml is None or reml == fit.reml:
        return -fit.objective / 2
    return -objective_at(fit, fit.theta, reml=reml) / 2


def aic(fit: MixedFit) -> float:
    """``objective + 2 npar``; for a REML fit from the REML criterion, as lme4."""
    return fit.objective + 2 * parameter_count(fit)


def aicc(fit: MixedFit) -> float:
    """AIC with the small-sample correction ``2k(k + 1)/(n - k - 1)``."""
    k, n = parameter_count(fit), row_count(fit)
    return aic(fit) + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf)


def bic(fit: MixedFit) -> float:
    """``objective + log(n) npar``, with n the number of rows used."""
    return fit.objective + math.log(row_count(fit)) * parameter_count(fit)


def group_sizes(fit: MixedFit) -> dict[str, int]:
    """Number of levels of each grouping factor, in the order of the terms."""
    return {term.group: len(term.levels) for term in fit.design.terms}


def label_rows(design: Design, values: Array, name: str | None = None) -> pd.Series:
    """Values of the rows used, on the index of the user's frame.

    Parameters
    ----------
    design : Design
        The design whose rows `values` belong to.
    values : ndarray, shape (n,)
        One value a row used.
    name : str, optional
        Name of the series.

    Returns
    -------
    Series
        With ``na_action="exclude"`` the rows left out come back as NaN.
    """
    if design.na_action == "exclude" and len(design.full_index) != values.size:
        padded = np.full(len(design.full_index), np.nan)
        padded[design.kept] = values
        return pd.Series(padded, index=design.full_index, name=name)
    return pd.Series(values, index=design.index, name=name)
