"""Residuals of three levels side by side, as HLMdiag's ``hlm_resid``."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import GroupError, OptionError
from lme.fit import Fit
from lme.inference.diagnostics.residuals import residuals, whitened
from lme.inference.estimates import label_rows
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


def residual_table(
    fit: MixedFit, *, standardize: bool = False, group: str | None = None
) -> pd.DataFrame:
    """Residuals and fitted values of a linear model: conditional, own, marginal.

    Parameters
    ----------
    fit : Fit
        An estimated linear model.
    standardize : bool
        Residuals free of scale instead: ``.std.resid`` (conditional over sigma, as
        HLMdiag), ``.student.resid`` (over ``sigma sqrt(1 - h)``) and
        ``.chol.mar.resid`` (marginal, freed from their covariance).
    group : str, optional
        Grouping factor of the least-squares fits; by default the one with the most
        levels.

    Returns
    -------
    DataFrame
        On the index of the data: ``.resid`` and ``.fitted`` with random effects,
        ``.ls.resid`` and ``.ls.fitted`` of separate least-squares fits of the fixed
        part to each group, ``.mar.resid`` and ``.mar.fitted`` without random effects.

    Raises
    ------
    OptionError
        For a generalized model.
    GroupError
        If the model has no such grouping factor.

    References
    ----------
    Loy and Hofmann (2014), HLMdiag: A suite of diagnostics for hierarchical linear
    models in R, Journal of Statistical Software 56(5), doi:10.18637/jss.v056.i05.
    """
    if not isinstance(fit, Fit):
        raise OptionError(
            "hlm_resid was asked of a generalized model.",
            "The residuals of three levels are those of a linear one.",
            "Use residuals(kind=..., type=...).",
        )
    design = fit.design
    factors = design.flist
    name = group if group is not None else next(iter(factors))
    if name not in factors:
        raise GroupError(name, factors)
    if standardize:
        columns = {
            ".std.resid": residuals(fit, type="pearson", scaled=True),
            ".student.resid": residuals(fit, standardize="leverage"),
            ".chol.mar.resid": whitened(fit),
        }
    else:
        own = _within(fit, factors[name].codes)
        marginal = residuals(fit, "marginal")
        columns = {
            ".resid": residuals(fit),
            ".fitted": fit.mu,
            ".ls.resid": design.y - own,
            ".ls.fitted": own,
            ".mar.resid": marginal,
            ".mar.fitted": design.y - marginal,
        }
    return pd.DataFrame({key: label_rows(design, v) for key, v in columns.items()})


def _within(fit: Fit, codes: NDArray[np.intp]) -> Array:
    """Fitted values of the fixed part by least squares in each group, (n,)."""
    design = fit.design
    offset = np.zeros(design.nobs) if design.offset is None else design.offset
    root = np.ones(design.nobs) if design.weights is None else np.sqrt(design.weights)
    out = offset.copy()
    order = np.argsort(codes, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        X, y = fit.X[rows], design.y[rows] - offset[rows]
        w = root[rows]
        # Columns without variation in the group leave no trace: least norm.
        coefficients = np.linalg.lstsq(X * w[:, None], y * w, rcond=None)[0]
        out[rows] += X @ coefficients
    return out
