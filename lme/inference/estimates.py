"""Fixed effects, information criteria, fitted values and residuals."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import FitError, OptionError, near
from lme.fit import Fit, objective_at

if TYPE_CHECKING:
    from lme.formula.design import Design

Array = NDArray[np.float64]

RESIDUAL_KINDS = ("conditional", "marginal", "random")
RESIDUAL_TYPES = ("response", "pearson", "deviance", "working")


def coefficient_names(fit: Fit) -> list[str]:
    """Names of the estimated fixed effects, without dropped columns."""
    return [fit.design.column_names[i] for i in fit.kept_columns]


def dropped_names(fit: Fit) -> list[str]:
    """Names of the columns that were dropped as linearly dependent."""
    kept = set(fit.kept_columns.tolist())
    return [name for i, name in enumerate(fit.design.column_names) if i not in kept]


def without_rows(fit: Fit) -> Fit:
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
        trials=None,
        terms=terms,
        index=pd.RangeIndex(n),
        full_index=pd.RangeIndex(n),
        kept=np.zeros(0, dtype=bool),
        dropped_rows=codes,
    )
    return replace(
        fit,
        design=light,
        # The problem is made of the rows; what needs it is refused without them.
        problem=None,  # type: ignore[arg-type]
        X=np.zeros((0, fit.beta.size)),
        mu=none,
    )


def fixed_effects(fit: Fit, *, add_dropped: bool = False) -> pd.Series:
    """Fixed-effects coefficients.

    Parameters
    ----------
    fit : Fit
        An estimated model.
    add_dropped : bool
        Include columns dropped for linear dependence, as NaN, in their place.

    Returns
    -------
    Series
        Coefficients on the scale of the response, labelled as R labels them.
    """
    if not add_dropped:
        return pd.Series(fit.beta, index=coefficient_names(fit))
    values = np.full(len(fit.design.column_names), np.nan)
    values[fit.kept_columns] = fit.beta
    return pd.Series(values, index=list(fit.design.column_names))


def row_count(fit: Fit) -> int:
    """Number of rows used; known even after the data have been removed."""
    return len(fit.design.index)


def parameter_count(fit: Fit) -> int:
    """Number of parameters: fixed effects, elements of theta, and sigma."""
    return fit.beta.size + fit.theta.size + 1


def log_likelihood(fit: Fit, *, reml: bool | None = None) -> float:
    """Log-likelihood, or restricted log-likelihood, at the estimates.

    Parameters
    ----------
    fit : Fit
        An estimated model.
    reml : bool, optional
        Which of the two; by default the one that was maximized. The other is
        evaluated at the same theta, with beta and sigma profiled out.

    Returns
    -------
    float
        Absolute: all constants are in it.
    """
    if reml is None or reml == fit.reml:
        return -fit.objective / 2
    return -objective_at(fit, fit.theta, reml=reml) / 2


def aic(fit: Fit) -> float:
    """``objective + 2 npar``; for a REML fit from the REML criterion, as lme4."""
    return fit.objective + 2 * parameter_count(fit)


def aicc(fit: Fit) -> float:
    """AIC with the small-sample correction ``2k(k + 1)/(n - k - 1)``."""
    k, n = parameter_count(fit), row_count(fit)
    return aic(fit) + (2 * k * (k + 1) / (n - k - 1) if n > k + 1 else math.inf)


def bic(fit: Fit) -> float:
    """``objective + log(n) npar``, with n the number of rows used."""
    return fit.objective + math.log(row_count(fit)) * parameter_count(fit)


def group_sizes(fit: Fit) -> dict[str, int]:
    """Number of levels of each grouping factor, in the order of the terms."""
    return {term.group: len(term.levels) for term in fit.design.terms}


def residuals(
    fit: Fit, kind: str = "conditional", type: str = "response", scaled: bool = False
) -> Array:
    """Residuals of the rows used.

    Parameters
    ----------
    fit : Fit
        An estimated model.
    kind : {"conditional", "marginal", "random"}
        ``y - mu``; ``y - offset - X beta``; or the random part ``Z b``, which is the
        difference of the first two.
    type : {"response", "pearson", "deviance", "working"}
        For a Gaussian model ``pearson`` and ``deviance`` are the residuals times the
        root of the prior weights; ``working`` is the same as ``response``.
    scaled : bool
        Divide by sigma.

    Returns
    -------
    ndarray, shape (n,)
        On the scale of the response, or free of scale when `scaled`.

    Raises
    ------
    OptionError
        If `kind` or `type` is not one of those above.

    References
    ----------
    Hilden-Minton (1995), Multilevel diagnostics for mixed and hierarchical linear
    models, for the three kinds.
    """
    _check_choice("kind", kind, RESIDUAL_KINDS)
    _check_choice("type", type, RESIDUAL_TYPES)
    design = fit.design
    if kind == "conditional":
        values: Array = design.y - fit.mu
    else:
        offset = 0.0 if design.offset is None else design.offset
        fixed = offset + fit.X @ fit.beta
        values = design.y - fixed if kind == "marginal" else fit.mu - fixed
    if type in ("pearson", "deviance") and design.weights is not None:
        values = values * np.sqrt(design.weights)
    if scaled:
        if fit.sigma == 0:
            raise FitError(
                "Residuals cannot be scaled: sigma is 0.",
                "Scaled residuals are divided by a positive sigma.",
                "Use scaled=False.",
            )
        values = values / fit.sigma
    return values


def scaled_quantiles(fit: Fit) -> Array:
    """Minimum, quartiles and maximum of the Pearson residuals over sigma."""
    if fit.sigma == 0 or fit.mu.size == 0:
        return np.full(5, np.nan)
    scaled = residuals(fit, type="pearson", scaled=True)
    found: Array = np.quantile(scaled, [0.0, 0.25, 0.5, 0.75, 1.0])
    return found


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


def _check_choice(option: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise OptionError(
            f"{option}={value!r} is not known.",
            f"It must be one of {', '.join(map(repr, choices))}.",
            near(value, choices),
        )
