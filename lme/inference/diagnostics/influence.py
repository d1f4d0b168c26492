"""Influence of each row, or of each group of rows, on what is estimated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, GroupError, OptionError, near
from lme.generalized import GLMMFit
from lme.inference.components import residual_deviation
from lme.inference.diagnostics.influence_measures import Influence, RowInfluence
from lme.inference.diagnostics.leverage import held
from lme.inference.diagnostics.residuals import residuals
from lme.inference.diagnostics.row_deletion import delete_rows
from lme.inference.diagnostics.unit_deletion import Estimates, delete_units, refits_of
from lme.inference.processes import process_count
from lme.inference.residual_structure import refuse_correlated
from lme.inference.working import MixedFit

__all__ = ["Influence", "RowInfluence", "influence"]

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

METHODS = ("exact", "one-step")


def influence(
    fit: MixedFit,
    groups: Any = None,
    *,
    method: str | None = None,
    n_jobs: int | None = None,
    progress: bool = False,
) -> Influence:
    """Estimates without each row, or without each group of rows.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    groups : str or array_like, optional
        A grouping factor of the model, or a label for each row; rows by default.
    method : {"exact", "one-step"}, optional
        "exact" estimates everything again, from where all rows led; default for
        groups. "one-step" holds theta for the fixed effects and sigma, then moves theta
        by one Newton step (linear models); default for rows, where it is a closed form.
    n_jobs : int, optional
        Processes for refits, as in joblib; by default those of
        ``joblib.parallel_config``, or one.
    progress : bool
        Show a bar while refitting.

    Returns
    -------
    Influence
        A `RowInfluence` for rows.

    Raises
    ------
    GroupError
        If the model has no such grouping factor.
    OptionError, DataError
        For unknown methods, and labels that do not fit the rows.

    Notes
    -----
    Units without which the model cannot be fitted (the fixed effects lose full rank,
    or a factor has one level left) give NaN and a note. Standard errors of generalized
    models are those of the working model (``cov_type="rx"``).

    References
    ----------
    Belsley, Kuh and Welsch (1980), Regression diagnostics. Loy and Hofmann (2014),
    HLMdiag, Journal of Statistical Software 56(5).
    """
    refuse_correlated(fit, "The influence of rows and groups")
    if method is not None and method not in METHODS:
        raise OptionError(
            f"method={method!r} is not known.",
            f"It must be one of {', '.join(map(repr, METHODS))}.",
            near(str(method), METHODS),
        )
    n_jobs = process_count(n_jobs)
    if groups is None:
        return _row_influence(fit, method or "one-step", n_jobs, progress)
    name, index, codes = _units(fit, groups)
    chosen = method or "exact"
    order = np.argsort(codes, kind="stable")
    sizes = np.bincount(codes[codes >= 0], minlength=len(index))
    bounds = np.cumsum(sizes)[:-1]
    units = np.split(order[np.count_nonzero(codes < 0) :], bounds)
    refits = refits_of(fit, chosen == "one-step")
    found = delete_units(refits, units, n_jobs=n_jobs, progress=progress)
    return Influence(fit, name, chosen, index, sizes, **_compared(fit, found))


def _units(fit: MixedFit, groups: Any) -> tuple[str, pd.Index[Any], Rows]:
    """Name, labels, and the unit of each row (-1 for none)."""
    design = fit.design
    if isinstance(groups, str):
        if groups not in design.flist:
            raise GroupError(groups, design.flist)
        factor = design.flist[groups]
        index = pd.Index(list(factor.levels), dtype=object, name=groups)
        return groups, index, factor.codes
    labels = pd.Series(groups) if np.ndim(groups) == 1 else None
    if labels is not None and len(labels) == len(design.full_index) > design.nobs:
        labels = labels[design.kept]
    if labels is None or len(labels) != design.nobs:
        raise DataError(
            f"groups has {np.size(groups)} labels, and the model has {design.nobs} "
            "rows.",
            "It is the name of a grouping factor, or an array with a label for each "
            "row.",
        )
    codes, index = pd.factorize(labels, sort=True)
    name = str(labels.name) if labels.name is not None else "groups"
    return name, pd.Index(index, name=name), np.asarray(codes, dtype=np.intp)


def _compared(fit: MixedFit, found: Sequence[Estimates]) -> dict[str, Any]:
    """Fields of `Influence` from the estimates without each unit."""
    p = fit.beta.size
    m = len(found)
    beta = np.array([each.beta for each in found]).reshape(m, p)
    covariance = np.array([each.covariance for each in found]).reshape(m, p, p)
    scale = 1.0 if isinstance(fit, GLMMFit) else fit.sigma**2
    precision = fit.RX.T @ fit.RX / scale
    d = fit.beta - beta
    known = np.isfinite(covariance).all(axis=(1, 2))
    mdffits, determinant = np.full(m, np.nan), np.full(m, np.nan)
    ratio = covariance @ precision
    trace = np.abs(np.trace(ratio, axis1=1, axis2=2) - p)
    inner = np.linalg.solve(covariance[known], d[known][:, :, None])[:, :, 0]
    determinant[known] = np.linalg.det(ratio[known])
    share = 1.0 / p if p else np.nan
    mdffits[known] = np.einsum("mp,mp->m", d[known], inner) * share
    cook = np.einsum("mp,pq,mq->m", d, precision, d) * share * (m - p) / m
    thetas = np.array([each.theta for each in found]).reshape(m, fit.theta.size)
    return {
        "beta": beta,
        "bse": np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)),
        "sigma": np.array([each.sigma for each in found]),
        "_cook": cook,
        "_mdffits": mdffits,
        "_covratio": determinant,
        "_covtrace": trace,
        "_theta": None if m and not np.isfinite(thetas).any() else thetas,
        "_sigma_there": np.array([each.sigma_there for each in found]),
        "_notes": tuple(each.note for each in found),
    }


def _row_influence(
    fit: MixedFit, method: str, n_jobs: int, progress: bool
) -> RowInfluence:
    """Influence of each row."""
    at = held(fit)
    h = at.random + at.fixed
    p, scale = fit.beta.size, residual_deviation(fit)
    if isinstance(fit, GLMMFit):
        pearson = residuals(fit, type="pearson")
    else:
        pearson = at.residual
    shared: dict[str, Any] = {"_leverage": h, "_pearson": pearson}
    if method == "exact":
        units = list(np.arange(h.size, dtype=np.intp)[:, None])
        refits = refits_of(fit, one_step=False)
        found = delete_units(refits, units, n_jobs=n_jobs, progress=progress)
        shared |= _compared(fit, found)
    else:
        without = delete_rows(fit, at)
        shared |= {
            "beta": without.beta,
            "bse": without.bse,
            "sigma": without.sigma,
            "_mdffits": without.mdffits,
            "_covratio": without.covratio,
            "_covtrace": without.covtrace,
            "_theta": None,
            "_sigma_there": None,
            "_notes": tuple(
                "" if known else "the row alone determines an effect"
                for known in np.isfinite(at.remainder)
            ),
        }
    sigma2 = 1.0 if scale is None else scale**2
    share = 1.0 / p if p else np.nan
    shared["_cook"] = (pearson / at.remainder) ** 2 * h / sigma2 * share
    ones = np.ones(h.size, dtype=np.intp)
    return RowInfluence(fit, "row", method, fit.design.index, ones, **shared)
