"""Variance inflation factors of the terms of the fixed part."""

from __future__ import annotations

import numpy as np
import pandas as pd

from lme.errors import FitError
from lme.inference.hypotheses import wald
from lme.inference.working import MixedFit


def variance_inflation(fit: MixedFit) -> pd.DataFrame:
    """Generalized variance inflation factors.

    Parameters
    ----------
    fit : Fit or GLMMFit
        An estimated model.

    Returns
    -------
    DataFrame
        A row a term, without the intercept; R's columns ``GVIF``, ``Df`` (columns of
        the term) and ``GVIF^(1/(2*Df))``, which can be compared between terms. For a
        term of one column GVIF is the usual factor.

    Raises
    ------
    FitError
        If there are fewer than two terms, or estimates without a variance.

    Notes
    -----
    With R the correlations of the estimates but the intercept's,
    ``GVIF = det(R_tt) det(R_oo) / det(R)`` for the columns t of the term and the
    others o. Predictors of a mixed model can be collinear within groups and not
    between them; the covariance of the estimates weighs both as the model does.
    Columns that were dropped do not count.

    References
    ----------
    Fox and Monette (1992), Generalized collinearity diagnostics, Journal of the
    American Statistical Association 87, 178-183, doi:10.1080/01621459.1992.10475190.
    """
    terms = [pair for pair in wald.term_matrices(fit) if pair[0] != "(Intercept)"]
    if len(terms) < 2:
        raise FitError(
            f"Variance inflation needs two terms; the model has {len(terms)}.",
            "The factors compare a term with the other terms.",
        )
    sets = [np.flatnonzero(matrix.any(axis=0)) for _, matrix in terms]
    used = np.concatenate(sets)
    covariance = wald.covariance(fit)[np.ix_(used, used)]
    deviations = np.sqrt(covariance.diagonal())
    correlations = covariance / np.outer(deviations, deviations)
    sign, whole = np.linalg.slogdet(correlations)
    if not (np.isfinite(whole) and sign > 0):
        raise FitError(
            "The correlations of the fixed effects are singular.",
            "Variance inflation needs their inverse.",
            "Look for estimates with a variance of zero.",
        )
    rows, start = [], 0
    for (label, _), columns in zip(terms, sets, strict=True):
        own = np.zeros(used.size, dtype=bool)
        own[start : start + columns.size] = True
        start += columns.size
        inner = np.linalg.slogdet(correlations[np.ix_(own, own)])[1]
        outer = np.linalg.slogdet(correlations[np.ix_(~own, ~own)])[1]
        gvif = float(np.exp(inner + outer - whole))
        rows.append((label, gvif, columns.size, gvif ** (0.5 / columns.size)))
    frame = pd.DataFrame(rows, columns=["term", "GVIF", "Df", "GVIF^(1/(2*Df))"])
    return frame.set_index("term")
