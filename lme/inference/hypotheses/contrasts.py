"""Tests of linear combinations of the fixed effects, by t or F."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.generalized import GLMMFit
from lme.inference.hypotheses import wald
from lme.inference.hypotheses.ddf import (
    DDF_METHODS,
    Constant,
    Denominator,
    f_frame,
    method_name,
    t_tests,
)
from lme.inference.hypotheses.tables_of_tests import method_words, with_heading
from lme.inference.robust.sandwich import Sandwich
from lme.inference.working import MixedFit

Array = NDArray[np.float64]


def denominator(
    fit: MixedFit, method: str, cov_type: wald.CovType = None
) -> Denominator:
    """One of `ddf.DDF_METHODS` prepared for a fit.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    method : str
        A generalized model has "z" only.
    cov_type : str or Sandwich, optional
        Kind of standard errors; see `wald.covariance`. With a robust one a linear model
        has "satterthwaite" and "z".

    Raises
    ------
    OptionError
        For a method that is not known or not for this model.
    """
    name = method_name(fit, method)
    if name == "z":
        found = wald.covariance(fit, cov_type)
        return Constant(fit.beta, found, fit.sigma, "normal", np.inf)
    if isinstance(cov_type, Sandwich):
        return _robust(cov_type, name)
    if isinstance(fit, GLMMFit):
        raise TypeError("A generalized model has z tests only.")
    return DDF_METHODS[name](fit)


def _robust(sandwich: Sandwich, name: str) -> Sandwich:
    """The degrees of freedom that a robust covariance has."""
    if name != "satterthwaite":
        raise OptionError(
            f"ddf={name!r} is not for a cluster-robust covariance.",
            "It has 'satterthwaite' and 'z'.",
        )
    return sandwich


def contrast_frame(
    method: Denominator,
    names: Sequence[str],
    hypothesis: tuple[Array, Array],
    *,
    joint: bool = False,
    alpha: float = 0.05,
) -> pd.DataFrame:
    """Tests of ``R beta = q``: one F test, or a t test for each row.

    Parameters
    ----------
    method : Denominator
        From `denominator`.
    names : sequence of str
        Names of the coefficients.
    hypothesis : (ndarray, ndarray)
        R and q; see `wald.linear_constraint`.
    joint : bool
        One F test of all rows.
    alpha : float
        One minus the coverage of the intervals.

    Returns
    -------
    DataFrame
        See `ddf.t_tests` and `ddf.f_frame`; ``attrs["ddf"]`` names the method.
    """
    R, q = hypothesis
    if joint:
        frame = f_frame(method, [("joint", R, q)])
    else:
        frame = t_tests(method, R, q, alpha)
        frame.index = pd.Index(hypothesis_labels(R, q, names))
    frame.attrs["ddf"] = method.label
    kind = "Joint test of the contrasts" if joint else "Contrasts"
    return with_heading(frame, f"{kind}; {method_words(method.label)}")


def hypothesis_labels(R: Array, q: Array, names: Sequence[str]) -> list[str]:
    """Each hypothesis as text, such as ``fb - fc`` or ``Days = 10``.

    Examples
    --------
    >>> hypothesis_labels(np.array([[0, 1, -2.0]]), np.zeros(1), ["a", "b", "c"])
    ['b - 2*c']
    """
    found = []
    for row, value in zip(R, q, strict=True):
        parts = []
        for weight, name in zip(row, names, strict=True):
            if weight:
                factor = "" if abs(weight) == 1 else f"{abs(weight):.4g}*"
                parts.append(f"{'-' if weight < 0 else '+'} {factor}{name}")
        text = " ".join(parts) or "0"
        text = text.removeprefix("+ ")
        text = "-" + text[2:] if text.startswith("- ") else text
        found.append(text if value == 0 else f"{text} = {value:.4g}")
    return found
