"""Linear functions of the coefficients that the data can estimate.

Where columns were dropped as dependent, ``L beta`` has one value for all least-squares
solutions only if L is orthogonal to the null space of X.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError
from lme.inference.hypotheses.ddf import Denominator
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Size of ``L N`` relative to L from which a function cannot be estimated.
_ESTIMABLE = 1e-8


@dataclass(frozen=True)
class Basis:
    """What linear functions of the coefficients are estimated with.

    Attributes
    ----------
    method : Denominator
        Estimates, covariance and degrees of freedom of the columns kept.
    kept : (p,) intp
        These columns among all.
    null : (p0, d) array
        Basis of what the data cannot tell: ``X null = 0`` for all p0 columns.
    """

    method: Denominator
    kept: NDArray[np.intp]
    null: Array

    def estimable(self, L: Array) -> NDArray[np.bool_]:
        """Which rows of L, (m, p0), the data can estimate."""
        known: NDArray[np.bool_] = np.asarray(np.isfinite(L).all(axis=1))
        if self.null.shape[1]:
            size = np.abs(L).max(axis=1, initial=0.0)
            lost = np.abs(np.nan_to_num(L) @ self.null).max(axis=1)
            known = known & (lost <= _ESTIMABLE * np.maximum(size, 1.0))
        return known


def basis(fit: MixedFit, method: Denominator) -> Basis:
    """What linear functions are estimated with.

    Raises
    ------
    FitError
        If columns were dropped and the rows are no longer there.
    """
    kept = fit.kept_columns
    p0 = len(fit.design.column_names)
    dropped = np.setdiff1d(np.arange(p0), kept)
    null = np.zeros((p0, dropped.size))
    if dropped.size:
        X = fit.design.X
        if not len(X):
            raise FitError(
                "Which means can be estimated needs the data, which are gone.",
                "Columns of the model were dropped as linearly dependent.",
                "Fit the model again.",
            )
        null[dropped, np.arange(dropped.size)] = 1.0
        null[kept] = -np.linalg.lstsq(X[:, kept], X[:, dropped], rcond=None)[0]
    return Basis(method, kept, null)


def weighted(C: Array, L: Array) -> Array:
    """``C L`` in which a row that is not known only spoils what it enters."""
    unknown: NDArray[np.bool_] = np.asarray(~np.isfinite(L).all(axis=1))
    out = np.asarray(C @ np.where(unknown[:, None], 0.0, L))
    out[(C[:, unknown] != 0.0).any(axis=1)] = np.nan
    return out
