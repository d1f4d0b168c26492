"""Independent clusters of rows, which no random effect crosses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lme.errors import DataError, DataTypeError, DesignError, GroupError
from lme.formula.design import Design
from lme.formula.evaluation import Scope, check_names
from lme.formula.groups import group, leaves
from lme.formula.parser import parse
from lme.formula.table import Table

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Clusters:
    """The cluster of each row.

    Attributes
    ----------
    name : str
    codes : (n,) intp
        0-based; every one of `count` occurs.
    count : int
    """

    name: str
    codes: Codes
    count: int

    def sums(self, rows: Array) -> Array:
        """Sums of rows (n, r) by cluster, (count, r)."""
        ones = np.ones(self.codes.size)
        indptr = np.arange(self.codes.size + 1)
        shape = (self.codes.size, self.count)
        pick = sparse.csr_matrix((ones, self.codes, indptr), shape=shape)
        return np.asarray(pick.T @ rows)

    def rows(self) -> list[Codes]:
        """Rows of each cluster, in the order of the data."""
        order = np.argsort(self.codes, kind="stable")
        ends = np.cumsum(np.bincount(self.codes, minlength=self.count))
        return np.split(order, ends[:-1])


def find_clusters(design: Design, groups: Any = None, frame: Any = None) -> Clusters:
    """The clusters that the user means.

    Parameters
    ----------
    design : Design
        Of the fit.
    groups : str or array_like, optional
        A grouping factor of the model; a column, or ``a:b`` of such, of the data; or
        one label a row, of the rows used or of all rows. By default the grouping
        factor with the fewest levels.
    frame : frame, optional
        The data, for names that are no grouping factor.

    Returns
    -------
    Clusters

    Raises
    ------
    GroupError, DataError, DataTypeError
        For names that are not known, and labels of wrong length or missing.
    DesignError
        If a random-effects term has a level in more than one cluster.
    """
    factors = design.flist
    tied = [term.group for term in design.terms if term.known is not None]
    if tied:
        raise DesignError(
            f"The levels of {tied[0]!r} have a known covariance.",
            "Robust covariances need independent clusters.",
            "Leave cov_type at the model's.",
        )
    if groups is None:
        groups = min(factors, key=lambda name: len(factors[name].levels))
    if isinstance(groups, str) and groups in factors:
        found = factors[groups]
        clusters = Clusters(groups, found.codes, len(found.levels))
    elif isinstance(groups, str):
        clusters = _of_column(design, groups, frame)
    else:
        clusters = _of_labels(design, groups)
    _check_nesting(design, clusters)
    return clusters


def _of_column(design: Design, name: str, frame: Any) -> Clusters:
    node = parse(name)
    if frame is None:
        raise GroupError(name, design.flist)
    scope = Scope(Table(frame), {}, {}, True, name)
    check_names(list(leaves(node)), scope)
    codes = group(node, scope.value)[1]
    return Clusters(name, *_compact(_of_rows(design, codes, name)))


def _of_labels(design: Design, labels: Any) -> Clusters:
    name = str(getattr(labels, "name", None) or "groups")
    try:
        codes, _ = pd.factorize(pd.Series(labels))
    except (TypeError, ValueError):
        raise DataTypeError(
            f"groups is of type {type(labels).__name__}.",
            "Expected a name, or one label a row.",
        ) from None
    return Clusters(name, *_compact(_of_rows(design, codes, name)))


def _of_rows(design: Design, codes: NDArray[Any], name: str) -> Codes:
    """Codes of the rows used."""
    n, rows = design.nobs, len(design.full_index)
    if codes.size == rows != n:
        codes = codes[design.kept]
    if codes.size != n:
        raise DataError(
            f"The clusters {name!r} have {codes.size} rows.",
            f"The model uses {n}" + (f" of {rows}." if rows != n else "."),
            "Give one label for each row used.",
        )
    if (codes < 0).any():
        raise DataError(
            f"The clusters {name!r} are missing in {int((codes < 0).sum())} rows.",
            "Each row belongs to a cluster.",
        )
    return codes


def _compact(codes: Codes) -> tuple[Codes, int]:
    levels, inner = np.unique(codes, return_inverse=True)
    return inner.astype(np.intp, copy=False), levels.size


def _check_nesting(design: Design, clusters: Clusters) -> None:
    """Refuse clusters that share a level of a grouping factor."""
    for name, factor in design.flist.items():
        home = np.full(len(factor.levels), -1, dtype=np.intp)
        home[factor.codes] = clusters.codes
        crossed = home[factor.codes] != clusters.codes
        if crossed.any():
            level = factor.levels[factor.codes[np.argmax(crossed)]]
            raise DesignError(
                f"Level {level!r} of {name!r} is in more than one cluster of "
                f"{clusters.name!r}.",
                "Robust covariances need independent clusters: every level of a "
                "grouping factor in one cluster only.",
                "Give groups= that contain the levels of all grouping factors; with "
                "crossed random effects there may be none.",
            )
