"""Denominator degrees of freedom by containment, as nlme counts them.

A column that is constant within the levels of a grouping factor is measured on as
many units as there are levels; one that varies inside them, on the units inside
(Pinheiro & Bates 2000, Mixed-Effects Models in S and S-PLUS, section 2.4.2,
doi:10.1007/b98882).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError
from lme.fit import Fit
from lme.inference.known_levels import refuse_known

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Containment:
    """Degrees of freedom of every column.

    Attributes
    ----------
    beta : (p,) array
    covariance : (p, p) array
    sigma : float
    by_column : (p,) array
    """

    beta: Array
    covariance: Array
    sigma: float
    by_column: Array

    label = "containment"

    def df(self, L: Array) -> float:
        """The least of the degrees of freedom of the coefficients in L."""
        size = np.abs(L).max(axis=0)
        return float(self.by_column[size > 1e-10 * size.max()].min())

    def of_columns(self, own: NDArray[np.bool_]) -> Containment:
        """With the degrees of freedom of some columns only.

        A term tested after others is a combination with the later columns too, but its
        units are those of its own.
        """
        return replace(self, by_column=np.where(own, self.by_column, np.inf))

    def scaling(self, L: Array) -> float:
        """Factor of the F statistic: 1."""
        return 1.0


def containment(fit: Fit) -> Containment:
    """Count by the nesting of the grouping factors.

    Raises
    ------
    OptionError
        If the grouping factors are not nested in each other.
    FitError
        With a known covariance between levels.
    """
    refuse_known(fit, "ddf='containment'", "Use ddf='satterthwaite'.")
    groups = {term.group: (term.codes, len(term.levels)) for term in fit.design.terms}
    nested = sorted(groups.items(), key=lambda item: item[1][1])
    for (name, (outer, _)), (below, (inner, levels)) in pairwise(nested):
        if _varies(outer, inner, levels):
            raise OptionError(
                f"The levels of {below} are not nested in those of {name}.",
                "Containment counts units inside units, so the grouping factors must "
                "be nested.",
                "Use ddf='satterthwaite' or 'kenward-roger'.",
            )
    by_column = counts(fit.X, [found for _, found in nested])
    covariance = fit.sigma**2 * fit.vcov_unscaled
    return Containment(fit.beta, covariance, fit.sigma, by_column)


def counts(X: Array, nested: Sequence[tuple[Codes, int]]) -> Array:
    """Degrees of freedom of each column of X, (p,).

    Parameters
    ----------
    X : (n, p) array
    nested : sequence of ((n,) intp, int)
        Codes and number of levels of each grouping factor, the outermost first.

    Notes
    -----
    A constant column takes one unit from the outermost stratum and, as in nlme, has
    the largest count of all. Counts that are not positive become NaN.
    """
    n, p = X.shape
    everything = (np.zeros(n, dtype=np.intp), 1)
    strata = [everything, *nested]
    sizes = [0, *(levels for _, levels in nested), n]
    left = np.diff(sizes).astype(float)
    own = np.full(p, -1)
    for number, (codes, levels) in enumerate(strata):
        for j in range(p):
            if _varies(X[:, j], codes, levels):
                own[j] = number
    np.subtract.at(left, np.maximum(own, 0), 1.0)
    found = np.where(own < 0, left.max(), left[own])
    return np.where(found > 0.0, found, np.nan)


def _varies(values: NDArray[np.generic], codes: Codes, levels: int) -> bool:
    """Whether values differ within any level."""
    first = np.zeros(levels, dtype=values.dtype)
    first[codes] = values
    return bool((values != first[codes]).any())
