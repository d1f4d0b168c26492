"""Rows to predict, of the fit or new ones, as arrays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, DesignError, OptionError, near
from lme.formula.evaluation import has_names
from lme.formula.recipe import RandomTerm, Recipe
from lme.formula.response import row_argument
from lme.formula.selection import select_random
from lme.formula.table import Table
from lme.formula.values import as_double
from lme.inference.residual_structure import new_variances
from lme.inference.working import MixedFit

Array = NDArray[np.float64]
Kept = Mapping[int, tuple[int, ...]]
"""Columns of each random term, by its position in the design."""

RE_FORMS = ("all", "none")
_CELLS = 2**22  # of the matrices of one chunk: 32 MB
_NAMED = 5  # new levels that a message names


@dataclass(frozen=True)
class Rows:
    """Rows of the model: what multiplies the coefficients and the random effects.

    Attributes
    ----------
    X : (m, p) array
        Columns that the fit kept; NaN where a variable is missing.
    offset : (m,) array or None
    terms : tuple of RandomTerm
        The terms that are kept, columns left out being 0; code -1 marks a level that
        the fit did not see, or none.
    which : tuple of int
        Positions of these terms in the design.
    index : Index
    labels : tuple of (r,) object arrays
        For each term the labels of the rows with code -1; None for a missing one.
    """

    X: Array
    offset: Array | None
    terms: tuple[RandomTerm, ...]
    which: tuple[int, ...]
    index: pd.Index[Any]
    labels: tuple[NDArray[Any], ...]

    @property
    def unseen(self) -> NDArray[np.bool_]:
        """Rows with a level that the fit did not see in some term, or none."""
        out = np.zeros(len(self.X), dtype=bool)
        for term in self.terms:
            out |= term.codes < 0
        return out


def selected_effects(fit: MixedFit, re_form: Any) -> dict[int, tuple[int, ...]]:
    """Columns of each random term that `re_form` names, by position of the term.

    Parameters
    ----------
    fit : Fit or GLMMFit
    re_form : str
        "all", "none", or random terms such as ``"~ (1 | g)"``.

    Raises
    ------
    OptionError, FormulaError
        When it is none of these, or names an effect that the model does not have.
    """
    named = isinstance(re_form, str)
    if named and re_form == "none":
        return {}
    terms = fit.design.terms
    if named and re_form == "all":
        return {k: tuple(range(len(term.columns))) for k, term in enumerate(terms)}
    if named and ("~" in re_form or "|" in re_form):
        return select_random(fit.design, re_form)
    remedy = near(re_form, RE_FORMS) if named else ""
    if re_form is None:
        remedy = "R's NULL, all random effects, is 'all'; its NA, none of them, 'none'."
    raise OptionError(
        f"re_form={re_form!r} is not known.",
        "It must be 'all', 'none', or random terms such as '~ (1 | g)'.",
        remedy,
    )


def masked(values: Array, columns: tuple[int, ...]) -> Array:
    """A copy of columns (m, p) in which those that are not named are 0."""
    out = np.zeros_like(values)
    out[:, columns] = values[:, columns]
    return out


def rows_of_fit(fit: MixedFit, kept: Kept) -> Rows:
    """The rows that the fit used."""
    design = fit.design
    terms = []
    for k, columns in kept.items():
        term = design.terms[k]
        if len(columns) < len(term.columns):
            term = replace(term, values=masked(term.values, columns))
        terms.append(term)
    nothing = tuple(np.empty(0, dtype=object) for _ in terms)
    return Rows(fit.X, design.offset, tuple(terms), tuple(kept), design.index, nothing)


def rows_of_data(fit: MixedFit, data: Any, kept: Kept, offset: Any = None) -> Rows:
    """New rows, coded as in the fit.

    Raises
    ------
    DataError
        Where the offset of the fit is not known for new rows.
    """
    new = fit.design.new(data, random=dict(kept), offset=offset)
    if new.offset_missing:
        raise DataError(
            "The model has an offset= array, which new rows do not have.",
            "The offset is part of the mean.",
            "Pass offset=, one value a row of newdata, or write offset(x) in formulas.",
        )
    if new.X is None:
        raise TypeError("new() was asked for the fixed part.")
    X = new.X[:, fit.kept_columns]
    return Rows(X, new.offset, new.terms, new.which, new.index, new.labels)


def recipe_of(fit: MixedFit) -> Recipe:
    """How matrices are made from new data.

    Raises
    ------
    DesignError
        For a model that was made from arrays.
    """
    recipe = fit.design.recipe
    if recipe is None:
        raise DesignError(
            "The model was made from arrays.",
            "New data need a formula, which says how to code them.",
            "Build the model with a formula to predict from new data.",
        )
    return recipe


def argument(fit: MixedFit, table: Table, name: str, given: Any) -> Array | None:
    """An argument with one number a row of new data: column, expression or array."""
    return row_argument(name, given, recipe_of(fit).scope(table))[0]


def parts(
    fit: MixedFit, table: Table, kept: Kept, offset: Any = None
) -> Iterator[tuple[slice, Rows]]:
    """New rows a chunk at a time, so that the matrices stay small.

    Whole where the formula uses values or functions from outside the data: these may
    look at all rows at once.
    """
    known = argument(fit, table, "offset", offset)
    design = fit.design
    width = len(design.column_names) + 1
    width += sum(len(term.columns) + 1 for term in design.terms)
    step = max(1000, _CELLS // width)
    if recipe_of(fit).context or table.nrow <= step:
        step = max(table.nrow, 1)
    for first in range(0, max(table.nrow, 1), step):
        chosen = slice(first, min(first + step, table.nrow))
        part = table if step >= table.nrow else table.part(chosen.start, chosen.stop)
        here = None if known is None else known[chosen]
        yield chosen, rows_of_data(fit, part, kept, here)


def known_part(fit: MixedFit, rows: Rows) -> Array:
    """``offset + X beta + Z b``; 0 for the effects of levels that were not seen."""
    eta: Array = rows.X @ fit.beta
    if rows.offset is not None:
        eta = eta + rows.offset
    for k, term in zip(rows.which, rows.terms, strict=True):
        modes = fit.b[k]
        # A row of zeros stands for the level -1.
        modes = np.vstack([modes, np.zeros((1, modes.shape[1]))])
        for j in range(modes.shape[1]):
            # Not by a matrix product: NaN in a column must stay in its row.
            eta = eta + term.values[:, j] * modes[term.codes, j]
    return eta


def refuse_new_levels(rows: Rows) -> None:
    """Raise for levels that the fit did not see, with their names.

    Raises
    ------
    DataError
    """
    for term, labels in zip(rows.terms, rows.labels, strict=True):
        if not len(labels):
            continue
        names = [name for name in dict.fromkeys(labels.tolist()) if name is not None]
        absent = sum(name is None for name in labels)
        found = []
        if names:
            shown = ", ".join(map(repr, names[:_NAMED]))
            more = f", ... ({len(names)} in all)" if len(names) > _NAMED else ""
            found.append(
                f"New level{'s' * (len(names) > 1)} of {term.group!r} that the fit did"
                f" not see: {shown}{more}."
            )
        if absent:
            found.append(
                f"{absent} row{'s' * (absent > 1)} of newdata without a level of"
                f" {term.group!r}."
            )
        raise DataError(
            " ".join(found),
            "Random effects are known for the levels of the fit.",
            "Use new_levels='population' or 'nan', or leave them out with re_form.",
        )


def refuse_weights(weights: Any) -> None:
    """Raise OptionError if weights are given without new data."""
    if weights is not None:
        raise OptionError(
            "weights= is given without newdata.",
            "The rows of the fit have the weights of the fit.",
            "Pass newdata= too.",
        )


def new_weights(fit: MixedFit, table: Table, given: Any) -> Array | None:
    """Weights of new observations: given, the trials of the response, or ones.

    With a residual structure they are one over the estimated relative variances, times
    what is given.

    Raises
    ------
    DataError
        For weights that are not positive.
    """
    if given is not None:
        weights = argument(fit, table, "weights", given)
        assert weights is not None
        bad = int((weights <= 0).sum())
        if bad:
            raise DataError(
                f"weights has {bad} values that are not positive.",
                "A weight divides the variance of an observation.",
            )
        variances = new_variances(fit, table)
        return weights if variances is None else weights / variances
    variances = new_variances(fit, table)
    return new_trials(fit, table) if variances is None else 1.0 / variances


def new_trials(fit: MixedFit, table: Table) -> Array | None:
    """Row sums of the response's two columns, where new data have them."""
    if fit.design.y_kind != "counts":
        return None
    recipe = recipe_of(fit)
    scope, response = recipe.scope(table), recipe.formula.left
    if response is None or not has_names([response], scope):
        return None
    return np.asarray(as_double(scope.value(response)).sum(axis=1))
