"""Predictions: the mean of rows of the fit or of new data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, OptionError, near
from lme.formula.selection import select_random
from lme.generalized import GLMMFit
from lme.inference.estimates import label_rows
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

RE_FORMS = ("all", "none")
NEW_LEVELS = ("error", "population", "nan")
WHICH = ("mean", "linear")


def predict(
    fit: MixedFit,
    newdata: Any = None,
    *,
    which: str = "mean",
    re_form: str = "all",
    new_levels: str = "error",
    offset: Any = None,
) -> pd.Series:
    """Conditional or population means.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    newdata : frame or mapping, optional
        New rows; by default the rows of the fit.
    which : {"mean", "linear"}
        The mean, on the scale of the response, or the linear predictor; the same for a
        linear model.
    re_form : {"all", "none"}
        With all random effects, or for the population (random effects of zero).
    new_levels : {"error", "population", "nan"}
        What a level that the fit did not see gets: an error, random effects of zero,
        or NaN.
    offset : str or array_like, optional
        For `newdata`, in place of the ``offset=`` of the fit.

    Returns
    -------
    Series
        With the index of the rows.

    Raises
    ------
    DataError
        For unseen levels, and where the fit's offset is not known for new rows.
    OptionError
        For options outside their set.

    Notes
    -----
    ``offset + X beta + Z b`` with the modes ``b`` of the fit, and the mean there. With
    random effects of zero this is the mean of a group in the middle, which differs from
    the mean over groups where the link is not the identity.
    """
    for option, value, choices in (
        ("which", which, WHICH),
        ("re_form", re_form, RE_FORMS),
        ("new_levels", new_levels, NEW_LEVELS),
    ):
        if value not in choices:
            raise OptionError(
                f"{option}={value!r} is not known.",
                f"It must be one of {', '.join(map(repr, choices))}.",
                near(str(value), choices),
            )
    if newdata is None:
        return label_rows(
            fit.design,
            _mean(fit, linear_predictor(fit, selected_effects(fit, re_form)), which),
        )
    eta, index = _new(fit, newdata, re_form, new_levels, offset)
    return pd.Series(_mean(fit, eta, which), index=index)


def _mean(fit: MixedFit, eta: Array, which: str) -> Array:
    """The mean at a linear predictor, where it is asked for."""
    if which == "linear" or not isinstance(fit, GLMMFit):
        return eta
    return fit.family.mean(eta)


def selected_effects(fit: MixedFit, re_form: str) -> dict[int, tuple[int, ...]]:
    """Columns of each random term that `re_form` keeps, by position."""
    if re_form == "none":
        return {}
    if re_form == "all":
        return {
            k: tuple(range(len(term.columns)))
            for k, term in enumerate(fit.design.terms)
        }
    return select_random(fit.design, re_form)


def linear_predictor(fit: MixedFit, kept: Mapping[int, tuple[int, ...]]) -> Array:
    """``offset + X beta + Z b`` of the rows of the fit, with the effects in `kept`."""
    eta: Array = fit.X @ fit.beta
    if fit.design.offset is not None:
        eta = eta + fit.design.offset
    for k, columns in kept.items():
        term = fit.design.terms[k]
        for j in columns:
            eta = eta + term.values[:, j] * fit.b[k][term.codes, j]
    return eta


def _new(
    fit: MixedFit, newdata: Any, re_form: str, new_levels: str, offset: Any
) -> tuple[Array, pd.Index]:
    """Linear predictor of new rows, and their index."""
    rows = fit.design.new(newdata, random=re_form, offset=offset)
    if rows.offset_missing:
        raise DataError(
            "The model has an offset= array, which new rows do not have.",
            "The offset is part of the mean.",
            "Pass offset=, one value a row of newdata, or write offset(x) in formulas.",
        )
    if rows.X is None:
        raise TypeError("new() was asked for the fixed part.")
    eta = rows.X[:, fit.kept_columns] @ fit.beta
    if rows.offset is not None:
        eta = eta + rows.offset
    for k, term in zip(rows.which, rows.terms, strict=True):
        unseen = term.codes < 0
        if unseen.any() and new_levels == "error":
            raise DataError(
                f"{int(unseen.sum())} rows of newdata have a level of {term.group!r} "
                "that the fit did not see, or none.",
                "Random effects are known for the levels of the fit.",
                "Use new_levels='population' or 'nan', or re_form='none'.",
            )
        part = np.einsum("np,np->n", term.values, fit.b[k][term.codes])
        eta = eta + np.where(unseen, np.nan if new_levels == "nan" else 0.0, part)
    return eta, rows.index
