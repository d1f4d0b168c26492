"""The summary as statsmodels' `iolib.summary2.Summary`, which is made of frames."""

from __future__ import annotations

from typing import Any

import pandas as pd
from statsmodels.iolib.summary2 import Summary

from lme.errors import OptionError
from lme.generalized import GLMMFit
from lme.inference import estimates
from lme.inference.components import variance_components
from lme.inference.coverage import check_alpha
from lme.inference.hypotheses import wald
from lme.inference.hypotheses.ddf import Denominator
from lme.inference.working import MixedFit
from lme.report.summary import title as title_of


def summary_frames(
    fit: MixedFit,
    *,
    cov_type: wald.CovType = None,
    ddf: Denominator | None = None,
    data_name: str = "",
    alpha: float = 0.05,
    float_format: str = "%.4f",
    title: str | None = None,
) -> Summary:
    """Description, fixed effects and variance components as frames.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.
    cov_type, ddf, data_name, alpha
        As in `summary.summarize`.
    float_format : str
        Format of numbers, with one ``%``.
    title : str, optional
        In place of the kind of model.

    Returns
    -------
    Summary
        Of ``statsmodels.iolib.summary2``, with ``as_text``, ``as_html`` and
        ``as_latex``, and the frames in ``tables``.
    """
    alpha = check_alpha(alpha)
    _check_format(float_format)
    found = Summary()
    found.add_dict(_information(fit, data_name), float_format=float_format)
    # statsmodels formats all tables as the first one.
    found.settings[0]["float_format"] = float_format
    frame = wald.coefficient_table(fit, alpha, cov_type, ddf)
    letter = "z" if "z" in frame else "t"
    names = {"estimate": "Coef.", "se": "Std.Err."}
    if letter == "t":
        names["df"] = "df"
    names |= {letter: letter, "p": f"P>|{letter}|"}
    names |= {"lower": f"[{alpha / 2:.3g}", "upper": f"{1 - alpha / 2:.3g}]"}
    coefficients = frame[list(names)].rename(columns=names)
    if len(coefficients):
        found.add_df(coefficients, float_format=float_format)
    found.add_df(_components(fit), float_format=float_format)
    found.add_title(title or title_of(fit))
    return found


def _check_format(float_format: Any) -> None:
    try:
        float_format % 1.0
    except (TypeError, ValueError):
        raise OptionError(
            f"float_format={float_format!r} does not format a number.",
            "Expected a format with one %, such as '%.4f'.",
        ) from None


def _information(fit: MixedFit, data_name: str) -> dict[str, Any]:
    rows: dict[str, Any] = {
        "Model:": "GLMM" if isinstance(fit, GLMMFit) else "LMM",
        "Dependent Variable:": fit.design.y_name,
        "No. Observations:": str(estimates.row_count(fit)),
        "Parameters:": str(estimates.parameter_count(fit)),
        "Method:": "REML" if fit.reml else "ML",
        "Log-Likelihood:": estimates.log_likelihood(fit),
        "AIC:": estimates.aic(fit),
        "BIC:": estimates.bic(fit),
    }
    if isinstance(fit, GLMMFit):
        rows["Family:"] = str(fit.family)
    if data_name:
        rows["Data:"] = data_name
    for group, size in estimates.group_sizes(fit).items():
        rows[f"Levels of {group}:"] = str(size)
    rows["Converged:"] = "Yes" if fit.convergence.converged else "No"
    return rows


def _components(fit: MixedFit) -> pd.DataFrame:
    """Variances and covariances with standard deviations and correlations."""
    found = variance_components(fit).to_frame()
    labels = []
    for row in found.itertuples(index=False):
        names = [name for name in (row.var1, row.var2) if isinstance(name, str)]
        labels.append(" ".join([str(row.grp), ", ".join(names)]).strip())
    values = found[["vcov", "sdcor"]].to_numpy()
    return pd.DataFrame(values, index=labels, columns=["Var./Cov.", "Std.Dev./Corr."])
