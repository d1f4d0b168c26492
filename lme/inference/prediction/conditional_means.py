"""Predictions: the mean of rows of the fit or of new data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError, near
from lme.formula.table import Table
from lme.generalized import GLMMFit
from lme.inference.estimates import label_rows
from lme.inference.prediction.rows import (
    Kept,
    known_part,
    parts,
    refuse_new_levels,
    rows_of_fit,
    selected_effects,
)
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

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
        New rows; by default the rows of the fit. Only the columns that the fixed part
        and the random effects of `re_form` need must be there.
    which : {"mean", "linear"}
        The mean, on the scale of the response, or the linear predictor; the same for a
        linear model.
    re_form : str
        Random effects in the prediction: "all", "none" (those of a population in the
        middle), or a formula such as ``"~ (1 | g)"`` that names some. Columns of a term
        can be named without the others.
    new_levels : {"error", "population", "nan"}
        What a level that the fit did not see gets, and a missing one: an error that
        names it, random effects of zero, or NaN.
    offset : str or array_like, optional
        For `newdata`, in place of the ``offset=`` of the fit.

    Returns
    -------
    Series
        With the index of the rows; NaN where a variable is missing.

    Raises
    ------
    DataError
        For unseen levels, and where the fit's offset is not known for new rows.
    FormulaError
        For columns that are missing, and effects that the model does not have.
    OptionError
        For options outside their set.

    Notes
    -----
    ``offset + X beta + Z b`` with the modes ``b`` of the fit, and the mean there. With
    random effects of zero this is the mean of a group in the middle, which differs from
    the mean over groups where the link is not the identity.

    New rows are coded by what the fit remembers: knots of splines, centres and scales,
    levels and contrasts of factors, and which columns were dropped.
    """
    check_choice("which", which, WHICH)
    check_choice("new_levels", new_levels, NEW_LEVELS)
    kept = selected_effects(fit, re_form)
    if newdata is None:
        refuse_offset(offset)
        eta = fitted_predictor(fit) if re_form == "all" else linear_predictor(fit, kept)
        return label_rows(fit.design, mean_at(fit, eta, which))
    table = Table(newdata)
    out = np.empty(table.nrow)
    for chosen, rows in parts(fit, table, kept, offset):
        if new_levels == "error":
            refuse_new_levels(rows)
        eta = known_part(fit, rows)
        if new_levels == "nan":
            eta[rows.unseen] = np.nan
        out[chosen] = mean_at(fit, eta, which)
    return pd.Series(out, index=table.index)


def check_choice(option: str, value: Any, choices: tuple[str, ...]) -> None:
    """Raise OptionError if an option is none of its values."""
    if not isinstance(value, str) or value not in choices:
        raise OptionError(
            f"{option}={value!r} is not known.",
            f"It must be one of {', '.join(map(repr, choices))}.",
            near(str(value), choices),
        )


def refuse_offset(offset: Any) -> None:
    """Raise OptionError if an offset is given without new data."""
    if offset is not None:
        raise OptionError(
            "offset= is given without newdata.",
            "The rows of the fit have the offset of the fit.",
            "Pass newdata= too.",
        )


def mean_at(fit: MixedFit, eta: Array, which: str = "mean") -> Array:
    """The mean at a linear predictor, where it is asked for."""
    if which == "linear" or not isinstance(fit, GLMMFit):
        return eta
    return fit.family.mean(eta)


def fitted_predictor(fit: MixedFit) -> Array:
    """Linear predictor of the rows of the fit, with all random effects."""
    return fit.eta if isinstance(fit, GLMMFit) else fit.mu


def linear_predictor(fit: MixedFit, kept: Kept) -> Array:
    """``offset + X beta + Z b`` of the rows of the fit, with the effects in `kept`."""
    return known_part(fit, rows_of_fit(fit, kept))
