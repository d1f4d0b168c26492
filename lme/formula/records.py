"""The design of a model: response, fixed-effects matrix, random-effects terms."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import sparse

from lme.errors import DataError, DataTypeError, DesignError
from lme.formula.evaluation import Scope, check_names
from lme.formula.recipe import RandomRecipe, Recipe, matrix_of, offset_of
from lme.formula.response import row_argument
from lme.formula.values import as_double

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class RandomTerm:
    """One random-effects term.

    Parameters
    ----------
    group : str
        Name of the grouping factor as lme4 writes it, such as ``"cask:batch"``.
    columns : tuple of str
        Names of the `p` columns of the left-hand side.
    structure : str
        Covariance structure of the columns, ``"us"`` or ``"diag"``.
    codes : ndarray of intp, shape (n,)
        0-based level of each row.
    levels : tuple of str
        Labels of the levels in R's order.
    values : ndarray of float64, shape (n, p)
        The columns, stored row by row.
    """

    group: str
    columns: tuple[str, ...]
    structure: str
    codes: Codes = field(repr=False)
    levels: tuple[str, ...] = field(repr=False)
    values: Floats = field(repr=False)


class GroupingFactor(NamedTuple):
    """Levels of a grouping factor and the level of each row (0-based)."""

    levels: tuple[str, ...]
    codes: Codes


class RandomColumns(NamedTuple):
    """Names of one term's columns, with its grouping factor."""

    group: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class NewRows:
    """The matrices of a design for new data.

    Parameters
    ----------
    X : ndarray of float64, shape (m, p0), or None
        Fixed-effects matrix, NaN in rows with missing values.
    offset : ndarray of float64, shape (m,), or None
        Sum of the offsets.
    terms : tuple of RandomTerm
        The terms asked for, with the levels of the fit; code -1 marks a level
        that the fit did not see, and a missing one.
    which : tuple of int
        Positions of these terms in the design.
    index : Index
        Labels of the rows.
    offset_missing : bool
        Whether the fit had an offset array that new data cannot supply.
    """

    X: Floats | None
    offset: Floats | None
    terms: tuple[RandomTerm, ...]
    which: tuple[int, ...]
    index: pd.Index[Any]
    offset_missing: bool = False


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

    @property
    def nobs(self) -> int:
        """Number of rows used."""
        return len(self.y)

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
        """Start of the covariance parameters: 1 for variances, else 0."""
        return np.concatenate(
            [(_rows(t) == _cols(t)).astype(np.float64) for t in self.terms]
            or [np.empty(0)]
        )

    @cached_property
    def lower(self) -> Floats:
        """Lower bounds of `theta`: 0 or minus infinity."""
        return np.where(self.theta == 1.0, 0.0, -np.inf)

    @cached_property
    def Lind(self) -> NDArray[np.int64]:
        """Position in `theta`, from 1, of each stored entry of `Lambdat`."""
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
        random: str | Iterable[int] = "all",
        offset: Any = None,
    ) -> NewRows:
        """The same columns for new data, coded as in the fit.

        Parameters
        ----------
        newdata : DataFrame or any data that `build_design` reads
            Needs only the columns of the parts asked for.
        fixed : bool
            Whether to make the fixed-effects matrix and the offsets.
        random : {"all", "none"} or iterable of int
            Which random terms to make, by position in `terms`.
        offset : str or array, optional
            Replaces the ``offset=`` argument of the fit.

        Raises
        ------
        FormulaError
            Naming all the columns that are missing.
        DataError
            For a level of a fixed factor that the fit did not see.
        """
        recipe = self.recipe
        if recipe is None:
            raise DesignError(
                "The model was made from arrays.",
                "New data need a formula, which says how to code them.",
                "Build the model with a formula to predict from new data.",
            )
        which = _which(random, len(self.terms))
        scope = recipe.scope(newdata)
        nodes = recipe.needed(which, fixed)
        check_names(nodes, scope)
        n = scope.table.nrow
        X = matrix_of(recipe.terms, recipe.plan, scope.value, n) if fixed else None
        added, lacking = (
            _offset_argument(self, recipe, scope, offset) if fixed else (None, False)
        )
        total = offset_of(recipe, scope, added) if fixed else None
        terms = tuple(_new_term(self.terms[k], recipe.random[k], scope) for k in which)
        return NewRows(X, total, terms, which, scope.table.index, lacking)


def _offset_argument(
    design: Design, recipe: Recipe, scope: Scope, offset: Any
) -> tuple[Floats | None, bool]:
    """The offset argument for new data, and whether it is lacking."""
    if offset is not None:
        return row_argument("offset", offset, scope)[0], False
    if recipe.offset is None:
        return None, design.offset_given
    check_names([recipe.offset], scope)
    return as_double(scope.value(recipe.offset), "The offset"), False


def _new_term(old: RandomTerm, recipe: RandomRecipe, scope: Scope) -> RandomTerm:
    n = scope.table.nrow
    terms, layout = recipe.bar.terms, recipe.plan
    values = matrix_of(terms, layout, scope.value, n, recipe.as_factors)
    codes = recipe.grouping.locate(scope.value)
    values = np.ascontiguousarray(values)
    return RandomTerm(old.group, old.columns, old.structure, codes, old.levels, values)


def _rows(term: RandomTerm) -> Codes:
    """Row of each entry of a term's factor, in the order of `theta`."""
    p = len(term.columns)
    return np.arange(p) if term.structure == "diag" else np.triu_indices(p)[1]


def _cols(term: RandomTerm) -> Codes:
    """Column of each entry of a term's factor, in the order of `theta`."""
    p = len(term.columns)
    return np.arange(p) if term.structure == "diag" else np.triu_indices(p)[0]


def _which(random: str | Iterable[int], count: int) -> tuple[int, ...]:
    if isinstance(random, str):
        if random not in ("all", "none"):
            raise DataTypeError(
                f"random is {random!r}.", "Expected 'all', 'none' or term numbers."
            )
        return tuple(range(count)) if random == "all" else ()
    which = tuple(int(k) for k in random)
    if any(not 0 <= k < count for k in which):
        raise DataError(
            f"random names terms {which}.", f"The design has terms 0 to {count - 1}."
        )
    return which
