"""Several fits in one table, a column a fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from lme.errors import OptionError
from lme.generalized import GLMMFit
from lme.inference import estimates
from lme.inference.components import variance_components
from lme.inference.coverage import check_digits
from lme.inference.text import P_STYLES, number, p_value
from lme.inference.working import MixedFit
from lme.report.grid import Grid

BELOW = ("se", "ci", "p", "none")
"""What may stand in parentheses below an estimate."""
STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Upper bounds of p-values and their marks, as in R."""
STATISTICS = ("nobs", "npar", "llf", "aic", "bic")
"""Rows at the foot of the table, attributes of the results."""
_TITLES = {
    "nobs": "Observations",
    "npar": "Parameters",
    "llf": "Log-likelihood",
    "aic": "AIC",
    "bic": "BIC",
}


def compare_table(
    *results: Any,
    names: Sequence[str] | None = None,
    below: str = "se",
    stars: bool = False,
    digits: int = 4,
    p_style: str = "bound",
    statistics: Sequence[str] = STATISTICS,
) -> Grid:
    """Several fits side by side, as stargazer and modelsummary do in R.

    Parameters
    ----------
    *results : LMMResults, GLMMResults or results of statsmodels
        One or more fits; OLS, GLM and the like have no random effects.
    names : sequence of str, optional
        Titles of the columns, by default the responses, numbered.
    below : {"se", "ci", "p", "none"}
        What stands in parentheses below an estimate.
    stars : bool
        Mark p-values below .05, .01 and .001.
    digits : int
        Decimals of estimates.
    p_style : {"bound", "r", "fixed"}
        How small p-values are written; see `lme.inference.text.p_value`.
    statistics : sequence of str
        Attributes of the results for the foot of the table.

    Returns
    -------
    Grid
        With ``as_text``, ``as_markdown``, ``as_html``, ``as_latex``, ``as_csv``,
        ``to_frame`` and ``to_great_table``.

    Raises
    ------
    OptionError
        For objects that are not results, and options outside their set.

    Examples
    --------
    >>> import lme
    >>> from lme.report.side_by_side import compare_table
    >>> dye = lme.datasets.load("Dyestuff")
    >>> model = lme.lmer("Yield ~ 1 + (1 | Batch)", dye)
    >>> both = model.fit(), model.fit(reml=False)
    >>> print(compare_table(*both, names=["REML", "ML"], digits=2))
                                 REML        ML
    (Intercept)               1527.50   1527.50
                              (19.38)   (17.69)
    Random effects (Std.Dev.)
    Batch: (Intercept)          42.00     37.26
    Residual                    49.51     49.51
    Levels of Batch                 6         6
    Method                       REML        ML
    Observations                   30        30
    Parameters                      3         3
    Log-likelihood            -159.83   -163.66
    AIC                        325.65    333.33
    BIC                        329.86    337.53
    """
    digits = _check(results, names, below, p_style, digits)
    columns = [_Column(result, below, stars, digits, p_style) for result in results]
    titles = list(names) if names is not None else _default_names(results)
    rows: list[tuple[str, ...]] = []
    for name in _union(column.estimates for column in columns):
        rows.append((name, *(column.estimates.get(name, "") for column in columns)))
        second = [column.second.get(name, "") for column in columns]
        if any(second):
            rows.append(("", *second))
    random = _union(column.deviations for column in columns)
    random.sort(key=lambda name: name == "Residual")
    if random:
        rows.append(("Random effects (Std.Dev.)", *[""] * len(columns)))
    rows += [(n, *(c.deviations.get(n, "") for c in columns)) for n in random]
    feet = [column.foot(statistics) for column in columns]
    rows += [(n, *(foot.get(n, "") for foot in feet)) for n in _union(feet)]
    notes = []
    if stars:
        notes.append(
            "Stars: " + ", ".join(f"{mark} p < {bound}" for bound, mark in STARS[::-1])
        )
    return Grid("", ("", *titles), tuple(rows), notes=tuple(notes))


def _check(
    results: Sequence[Any],
    names: Sequence[str] | None,
    below: str,
    p_style: str,
    digits: Any,
) -> int:
    if not results:
        raise OptionError("There is no fit to show.", "Expected one or more results.")
    for result in results:
        if not all(hasattr(result, name) for name in ("params", "bse", "pvalues")):
            raise OptionError(
                f"An argument is a {type(result).__name__}.",
                "compare_table shows results, of lme or of statsmodels.",
                "Pass what fit() returned, one by one.",
            )
    if names is not None and (isinstance(names, str) or len(names) != len(results)):
        raise OptionError(
            f"names={names!r} does not have {len(results)} names.",
            "Expected a list with one for each fit.",
        )
    for option, value, choices in (
        ("below", below, BELOW),
        ("p_style", p_style, P_STYLES),
    ):
        if value not in choices:
            raise OptionError(
                f"{option}={value!r} is not known.",
                f"It must be one of {', '.join(map(repr, choices))}.",
            )
    return check_digits(digits)


def _union(parts: Any) -> list[str]:
    """Keys of all parts, in the order in which they first occur."""
    return list(dict.fromkeys(key for part in parts for key in part))


def _default_names(results: Sequence[Any]) -> list[str]:
    responses = [str(result.model.endog_names) for result in results]
    if len(set(responses)) == len(responses):
        return responses
    return [f"{name} ({i})" for i, name in enumerate(responses, start=1)]


class _Column:
    """The cells of one fit."""

    def __init__(
        self, result: Any, below: str, stars: bool, digits: int, p_style: str
    ) -> None:
        self.result, self.digits = result, digits
        names = [str(name) for name in result.model.exog_names]
        beta, se, p = (
            np.asarray(getattr(result, name), dtype=float)[: len(names)]
            for name in ("params", "bse", "pvalues")
        )
        self.estimates = {
            name: self.cell(b) + (_mark(q) if stars else "")
            for name, b, q in zip(names, beta, p, strict=True)
        }
        second: Any = []
        if below == "se":
            second = [self.cell(value) for value in se]
        elif below == "p":
            second = [p_value(value, p_style) for value in p]
        elif below == "ci":
            limits = np.asarray(result.conf_int(), dtype=float)[: len(names)]
            second = [", ".join(map(self.cell, row)) for row in limits]
        self.second = {
            name: f"({text})" for name, text in zip(names, second, strict=False)
        }
        self.fit: MixedFit | None = getattr(result, "fit_record", None)
        self.deviations = self._deviations()

    def cell(self, value: float) -> str:
        """A number, with enough decimals where it is small."""
        small = 0.0 < abs(value) < 0.5 * 10.0**-self.digits
        return number(value, self.digits) if small else f"{value:.{self.digits}f}"

    def _deviations(self) -> dict[str, str]:
        if self.fit is None:
            return {}
        found = variance_components(self.fit)
        cells: dict[str, str] = {}
        for part in found.components:
            for i, name in enumerate(part.columns):
                cells[f"{part.name}: {name}"] = self.cell(float(part.sd[i]))
            for j in range(len(part.columns)):
                for i in range(j + 1, len(part.columns)):
                    if not part.diagonal:
                        pair = f"{part.columns[j]}, {part.columns[i]}"
                        value = self.cell(float(part.corr[i, j]))
                        cells[f"{part.name}: corr {pair}"] = value
        if found.sigma is not None:
            cells["Residual"] = self.cell(found.sigma)
        return cells

    def foot(self, statistics: Sequence[str]) -> dict[str, str]:
        """Levels, method and statistics."""
        cells = {}
        if self.fit is not None:
            for group, size in estimates.group_sizes(self.fit).items():
                cells[f"Levels of {group}"] = str(size)
            used = "REML" if self.fit.reml else "ML"
            if isinstance(self.fit, GLMMFit):
                used = str(self.fit.family)
            cells["Method"] = used
        for name in statistics:
            value = getattr(self.result, name, None)
            numeric = isinstance(value, (int, float, np.number))
            if numeric and not isinstance(value, bool):
                title = _TITLES.get(name, name)
                whole = name in ("nobs", "npar") or isinstance(value, (int, np.integer))
                cells[title] = f"{value:.0f}" if whole else f"{value:.2f}"
            elif not isinstance(value, (type(None), pd.Series)):
                cells[_TITLES.get(name, name)] = str(value)
        return cells


def _mark(p: float) -> str:
    if math.isnan(p):
        return ""
    return next((mark for bound, mark in STARS if p < bound), "")
