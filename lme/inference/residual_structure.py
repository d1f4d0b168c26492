"""What inference asks of a residual structure: its table, its limits, new rows."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, FitError
from lme.formula.evaluation import check_names
from lme.formula.residual import new_values
from lme.formula.table import Table
from lme.generalized import GLMMFit
from lme.inference.working import MixedFit
from lme.residual import RESIDUALS, Correlation, Rows

Array = NDArray[np.float64]


def structure_frame(fit: MixedFit) -> pd.DataFrame:
    """Parameters of the residual structure.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    DataFrame
        Columns ``term``, ``parameter``, ``estimate``, in the order of the structure:
        ``Phi`` is the correlation at distance 1; the levels of ``varIdent`` are ratios
        of standard deviations to that of the first level, whose standard deviation is
        sigma; ``power`` and ``expon`` are those of the standard deviation. Empty
        without a structure.
    """
    found = None if isinstance(fit, GLMMFit) else fit.residual
    names = () if found is None else found.names
    return pd.DataFrame(
        {
            "term": [term for term, _ in names],
            "parameter": [name for _, name in names],
            "estimate": np.empty(0) if found is None else found.values,
        }
    )


def structure_text(fit: MixedFit) -> str:
    """The residual structure as R would write it; empty without one."""
    if isinstance(fit, GLMMFit) or fit.residual is None:
        return ""
    return fit.residual.text


def structure_words(fit: MixedFit) -> str:
    """The structure in a list of what makes a model; empty without one."""
    text = structure_text(fit)
    return f"residual {text}" if text else ""


def is_correlated(fit: MixedFit) -> bool:
    """Whether residuals of different rows are correlated."""
    residual = None if isinstance(fit, GLMMFit) else fit.design.residual
    return residual is not None and residual.correlation is not None


def refuse_correlated(fit: MixedFit, what: str, remedy: str = "") -> None:
    """Raise FitError where `what` has no meaning, or no code, for such residuals."""
    if is_correlated(fit):
        raise FitError(
            f"{what} is not available with the residual structure "
            f"{structure_text(fit)}.",
            "It takes the rows of the data one by one, and theirs are correlated.",
            remedy,
        )


def refuse_structured(fit: MixedFit, what: str, remedy: str = "") -> None:
    """Raise FitError where `what` would hold parameters that it has to vary."""
    if structure_text(fit):
        raise FitError(
            f"{what} is not available with the residual structure "
            f"{structure_text(fit)}.",
            "Its parameters would have to be estimated again.",
            remedy,
        )


def new_variances(fit: MixedFit, table: Table) -> Array | None:
    """Residual variances of new rows relative to ``sigma^2``, (m,).

    Parameters
    ----------
    fit : Fit or GLMMFit
    table : Table
        The new rows, with the covariates and strata of the variance functions.

    Returns
    -------
    ndarray or None
        NaN where a variable is missing; None without a variance function.

    Raises
    ------
    FormulaError
        If a variable is missing altogether.
    DataError
        For a stratum that the fit did not see.
    """
    if isinstance(fit, GLMMFit) or fit.residual is None:
        return None
    design, recipe = fit.design.residual, fit.design.recipe
    if design is None or recipe is None:
        return None
    logs, at = np.zeros(table.nrow), 0
    found = False
    scope = recipe.scope(table)
    for term in design.terms:
        structure = RESIDUALS[term.name]
        old = Rows(term.text, term.values, term.codes, term.labels)
        size = structure.size(old)
        phi = fit.residual.phi[at : at + size]
        at += size
        if isinstance(structure, Correlation):
            continue
        found = True
        check_names(term.nodes, scope)
        values, codes = new_values(term, scope.value, table.nrow)
        if (codes < 0).any():
            raise DataError(
                f"{int((codes < 0).sum())} row(s) have no stratum of {term.text}, or "
                "one that the fit did not see.",
                f"Its strata are {', '.join(term.labels)}.",
                "Leave these rows out, or take their means from predict().",
            )
        with np.errstate(divide="ignore", invalid="ignore"):
            logs += structure.log_deviations(
                phi, Rows(term.text, values, codes, term.labels)
            )
    return np.exp(2.0 * logs) if found else None
