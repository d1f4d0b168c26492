"""The design of a model: response, fixed-effects matrix, random-effects terms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lme.errors import DesignError
from lme.formula.predictors import Predictors
from lme.formula.recipe import NewRows, RandomTerm, Recipe, new_rows
from lme.formula.residual import ResidualDesign

__all__ = ["Design", "GroupingFactor", "NewRows", "RandomColumns", "RandomTerm"]

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

DIAGONAL = ("diag", "homdiag")
"""Structures whose factor has no entry off the diagonal."""


class GroupingFactor(NamedTuple):
    """Levels of a grouping factor and the level of each row (0-based)."""

    levels: tuple[str, ...]
    codes: Codes


class RandomColumns(NamedTuple):
    """Names of one term's columns, with its grouping factor."""

    group: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Design:
    """Everything that a formula and data say about a model.

    Parameters
    ----------
    formula, expanded : str
        The formula as typed, and with ``||`` expanded.
    y : ndarray of float64, shape (n,)
        Response in the rows used.
    y_name : str
        Its text.
    X : ndarray of float64, shape (n, p0)
        Fixed-effects matrix before dependent columns are dropped, stored column
        by column.
    column_names, assign, term_labels : tuple
        Name of each column, the number of its term from 1 (0 for the intercept),
        and the label of each term.
    offset, weights : ndarray of float64, shape (n,), or None
        Sum of the offsets; prior weights, which for counts of two columns
        include the number of trials.
    terms : tuple of RandomTerm
        Random-effects terms in lme4's order.
    index : Index
        Labels of the rows used.
    full_index : Index
        Labels of the rows that `subset` left, missing values included.
    kept : ndarray of bool, shape (len(full_index),)
        Which of these are used.
    dropped_rows : ndarray of intp
        0-based positions in the data of the rows lost to missing values.
    na_action : str
        ``"omit"``, ``"exclude"`` or ``"fail"``.
    warnings : tuple of Warning
        What was said while building.
    y_kind : {"numeric", "logical", "factor", "counts"}
        What the response was before.
    y_levels : tuple of str
        Levels of a two-level response, failure first.
    trials : ndarray of float64, shape (n,), or None
        Row sums of a response ``cbind(successes, failures)``.
    predictors : Predictors or None
        The variables of the fixed part in short; None without a formula.
    residual : ResidualDesign or None
        Variances and correlations of the residuals, where they have a structure.
    """

    formula: str
    expanded: str
    y: Floats = field(repr=False)
    y_name: str
    X: Floats = field(repr=False)
    column_names: tuple[str, ...]
    assign: tuple[int, ...] = field(repr=False)
    term_labels: tuple[str, ...]
    offset: Floats | None = field(repr=False)
    weights: Floats | None = field(repr=False)
    terms: tuple[RandomTerm, ...]
    index: pd.Index[Any] = field(repr=False)
    full_index: pd.Index[Any] = field(repr=False)
    kept: NDArray[np.bool_] = field(repr=False)
    dropped_rows: Codes = field(repr=False)
    na_action: str
    warnings: tuple[Warning, ...]
    recipe: Recipe | None = field(repr=False)
    y_kind: str = "numeric"
    y_levels: tuple[str, ...] = ()
    trials: Floats | None = field(default=None, repr=False)
    offset_given: bool = field(default=False, repr=False)
    predictors: Predictors | None = field(default=None, repr=False)
    residual: ResidualDesign | None = field(default=None, repr=False)

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return len(self.y)

    @property
    def sketch(self) -> Design:
        """What checks of a design look at: itself, where it has rows."""
        return self

    @property
    def shown_X(self) -> Floats:
        """Rows of X from which its span can be seen, shape (m, p0)."""
        return self.X

    @cached_property
    def Zt(self) -> sparse.csc_array:
        """Transposed random-effects matrix, shape (q, n); level-major rows.

        Zeros of the columns are stored, so that the pattern depends on the
        grouping factors only.
        """
        n = self.nobs
        width = sum(len(term.columns) for term in self.terms)
        rows = np.empty((n, width), dtype=np.int64)
        data = np.empty((n, width))
        at = start = 0
        for term in self.terms:
            p = len(term.columns)
            first = start + term.codes * p
            rows[:, at : at + p] = first[:, None] + np.arange(p)
            data[:, at : at + p] = term.values
            at += p
            start += len(term.levels) * p
        pointers = np.arange(n + 1, dtype=np.int64) * width
        return sparse.csc_array((data.ravel(), rows.ravel(), pointers), (start, n))

    @cached_property
    def theta(self) -> Floats:
        """Entries of identity factors: 1 on the diagonal, 0 below."""
        return np.concatenate(
            [(_rows(t) == _cols(t)).astype(np.float64) for t in self.terms]
            or [np.empty(0)]
        )

    @cached_property
    def lower(self) -> Floats:
        """Lower bounds of `theta`: 0 or minus infinity."""
        return np.where(self.theta == 1.0, 0.0, -np.inf)

    def entries(self, factors: Sequence[Floats]) -> Floats:
        """Entries of the terms' factors in the order that `Lind` counts them in."""
        pieces = [
            factor[_rows(term), _cols(term)]
            for term, factor in zip(self.terms, factors, strict=True)
        ]
        return np.concatenate([np.empty(0), *pieces])

    @cached_property
    def Lind(self) -> NDArray[np.int64]:
        """Number, from 1, of each stored entry of `Lambdat` among those of the factors.

        For unstructured and diagonal terms this is its position in `theta`.
        """
        pieces = [np.empty(0, dtype=np.int64)]
        start = 1
        for term in self.terms:
            # Entries of one level's block of Lambda' by columns are rows of Lambda.
            order = np.lexsort((_cols(term), _rows(term)))
            pieces.append(np.tile(order + start, len(term.levels)))
            start += len(order)
        return np.concatenate(pieces)

    @cached_property
    def Lambdat(self) -> sparse.csc_array:
        """Transposed relative covariance factor at `theta`, shape (q, q)."""
        indices = [np.empty(0, dtype=np.int64)]
        counts = [np.zeros(1, dtype=np.int64)]
        start = 0
        for term in self.terms:
            p, levels = len(term.columns), len(term.levels)
            rows, cols = _rows(term), _cols(term)
            within = cols[np.lexsort((cols, rows))]
            offsets = start + np.arange(levels, dtype=np.int64) * p
            indices.append((offsets[:, None] + within).ravel())
            counts.append(np.tile(np.bincount(rows, minlength=p), levels))
            start += levels * p
        pointers = np.cumsum(np.concatenate(counts))
        data = self.theta[self.Lind - 1]
        return sparse.csc_array(
            (data, np.concatenate(indices), pointers), (start, start)
        )

    @cached_property
    def flist(self) -> dict[str, GroupingFactor]:
        """Grouping factors by name, each once, in the order of the terms."""
        return {t.group: GroupingFactor(t.levels, t.codes) for t in self.terms}

    @property
    def cnms(self) -> tuple[RandomColumns, ...]:
        """Grouping factor and column names of each term."""
        return tuple(RandomColumns(t.group, t.columns) for t in self.terms)

    def new(
        self,
        newdata: Any,
        *,
        fixed: bool = True,
        random: str | Iterable[int] | Mapping[int, Iterable[int]] = "available",
        offset: Any = None,
    ) -> NewRows:
        """The same columns for new data, coded as in the fit.

        Parameters
        ----------
        newdata : DataFrame or any data that `build_design` reads
            Needs only the columns of the parts asked for.
        fixed : bool
            Whether to make the fixed-effects matrix and the offsets.
        random : {"available", "all", "none"}, iterable of int, or mapping
            Which random terms to make: those whose variables the new data have, all,
            none, or by position in `terms`. A mapping to column positions, as
            `select_random` returns it, leaves the other columns 0.
        offset : str or array, optional
            Replaces the ``offset=`` argument of the fit.

        Raises
        ------
        FormulaError
            Naming all the columns that are missing.
        DataError
            For a level of a fixed factor that the fit did not see.
        """
        if self.recipe is None:
            raise DesignError(
                "The model was made from arrays.",
                "New data need a formula, which says how to code them.",
                "Build the model with a formula to predict from new data.",
            )
        return new_rows(
            self.recipe,
            self.terms,
            newdata,
            fixed=fixed,
            random=random,
            offset=offset,
            offset_given=self.offset_given,
        )


def _rows(term: RandomTerm) -> Codes:
    """Row of each entry of a term's factor, in the order of `theta`."""
    p = len(term.columns)
    return np.arange(p) if term.structure in DIAGONAL else np.triu_indices(p)[1]


def _cols(term: RandomTerm) -> Codes:
    """Column of each entry of a term's factor, in the order of `theta`."""
    p = len(term.columns)
    return np.arange(p) if term.structure in DIAGONAL else np.triu_indices(p)[0]
