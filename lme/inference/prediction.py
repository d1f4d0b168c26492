"""Predictions: the mean of rows of the fit or of new data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from lme.errors import DataError, OptionError, near
from lme.fit import Fit
from lme.inference.estimates import label_rows

RE_FORMS = ("all", "none")
NEW_LEVELS = ("error", "population", "nan")


def predict(
    fit: Fit,
    newdata: Any = None,
    *,
    re_form: str = "all",
    new_levels: str = "error",
    offset: Any = None,
) -> pd.Series:
    """Conditional or population means.

    Parameters
    ----------
    fit : Fit
        An estimated model.
    newdata : frame or mapping, optional
        New rows; by default the rows of the fit.
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
        On the scale of the response, with the index of the rows.

    Raises
    ------
    DataError
        For unseen levels, and where the fit's offset is not known for new rows.
    OptionError
        For options outside their set.

    Notes
    -----
    ``offset + X beta + Z b`` with the modes ``b`` of the fit.
    """
    for option, value, choices in (
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
        if re_form == "all":
            return label_rows(fit.design, fit.mu)
        fixed = fit.X @ fit.beta
        known = fit.design.offset
        return label_rows(fit.design, fixed if known is None else fixed + known)
    rows = fit.design.new(newdata, random=re_form, offset=offset)
    if rows.offset_missing:
        raise DataError(
            "The model has an offset= array, which new rows do not have.",
            "The offset is part of the mean.",
            "Pass offset=, one value a row of newdata, or write offset(x) in formulas.",
        )
    if rows.X is None:
        raise TypeError("new() was asked for the fixed part.")
    mean = rows.X[:, fit.kept_columns] @ fit.beta
    if rows.offset is not None:
        mean = mean + rows.offset
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
        mean = mean + np.where(unseen, np.nan if new_levels == "nan" else 0.0, part)
    return pd.Series(mean, index=rows.index)
