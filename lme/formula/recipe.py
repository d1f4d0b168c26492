"""What a design remembers of its data, so that new data are coded alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, OptionError
from lme.formula.bars import Bar
from lme.formula.evaluation import Scope, check_names, has_names
from lme.formula.expand import Terms
from lme.formula.groups import Grouping
from lme.formula.matrices import Plan, fill, match_levels, restrict, settle
from lme.formula.parts import Formula
from lme.formula.response import row_argument
from lme.formula.syntax import Node, deparse
from lme.formula.table import Table
from lme.formula.values import Value, as_double, as_factor

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
    known : object or None
        Known covariance between the levels, as the engine takes it
        (`lme.covariance.known.Known`); None where they are independent.
    held : object or None
        The structure with elements of theta held (`lme.covariance.held.Held`); None
        where all are free.
    """

    group: str
    columns: tuple[str, ...]
    structure: str
    codes: Codes = field(repr=False)
    levels: tuple[str, ...] = field(repr=False)
    values: Floats = field(repr=False)
    known: Any = field(default=None, repr=False)
    held: Any = field(default=None, repr=False)


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
    labels : tuple of ndarray of object
        For each of the terms, the labels of the rows with code -1, in their order;
        None where a label is missing.
    """

    X: Floats | None
    offset: Floats | None
    terms: tuple[RandomTerm, ...]
    which: tuple[int, ...]
    index: pd.Index[Any]
    offset_missing: bool = False
    labels: tuple[NDArray[Any], ...] = ()


@dataclass(frozen=True)
class RandomRecipe:
    """How one random term is made: its grouping factor and its columns.

    ``as_factors`` are the variables of the left-hand side that occur in the
    grouping factor too and are therefore categorical in this term.
    """

    bar: Bar
    grouping: Grouping
    plan: Plan
    as_factors: frozenset[str]


@dataclass(frozen=True)
class Recipe:
    """How the matrices of a design are made from data.

    Parameters
    ----------
    formula : Formula
        The formula taken apart.
    terms, plan : Terms, Plan
        Fixed part: terms with any `.` expanded, and the layout of their columns.
    random : tuple of RandomRecipe
        The random terms in the design's order.
    memory : dict
        What stateful functions learned from the data of the fit.
    context : mapping
        Names and functions that the user supplied.
    offset : Node or None
        The ``offset=`` argument, if it was text.
    """

    formula: Formula
    terms: Terms
    plan: Plan
    random: tuple[RandomRecipe, ...]
    memory: dict[str, Any]
    context: Mapping[str, Any]
    offset: Node | None = None

    def scope(self, data: Any) -> Scope:
        """Names of new data, with the memory of the fit."""
        table = data if isinstance(data, Table) else Table(data)
        return Scope(table, self.context, self.memory, False, self.formula.text)

    def needed(self, random: Mapping[int, Plan], fixed: bool) -> list[Node]:
        """The variables that new data must have for these layouts."""
        nodes: list[Node] = []
        if fixed:
            used = {i for block in self.plan.blocks for i, _ in block}
            used.update(self.terms.offsets)
            nodes += [self.terms.nodes[i] for i in sorted(used)]
        for k, layout in random.items():
            bar = self.random[k].bar
            nodes += [bar.terms.nodes[i] for block in layout.blocks for i, _ in block]
            nodes.append(bar.group)
        return nodes


def matrix_of(
    terms: Terms,
    layout: Plan,
    value: Callable[[Node], Value],
    nrow: int,
    as_factors: frozenset[str] = frozenset(),
) -> Floats:
    """The model matrix of `layout` for new data, shape (nrow, columns)."""
    values: list[Value] = [None] * len(terms.nodes)
    for i in {i for block in layout.blocks for i, _ in block}:
        coding = layout.codings[i]
        assert coding is not None
        raw = value(terms.nodes[i])
        if terms.variables[i] in as_factors:
            raw = as_factor(raw)
        values[i] = match_levels(coding.name, settle(raw), coding)
    return fill(layout, values, nrow)


def offset_sum(
    terms: Terms, value: Callable[[Node], Value], argument: Floats | None
) -> Floats | None:
    """Sum of the ``offset(...)`` terms and the offset argument, or None."""
    parts = [
        as_double(value(terms.nodes[i]), terms.variables[i]) for i in terms.offsets
    ]
    if argument is not None:
        parts.append(argument)
    if not parts:
        return None
    for part in parts:
        if part.ndim != 1:
            raise DataError("An offset has several columns.", "Expected one number.")
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def new_rows(
    recipe: Recipe,
    old: tuple[RandomTerm, ...],
    newdata: Any,
    *,
    fixed: bool,
    random: str | Iterable[int] | Mapping[int, Iterable[int]],
    offset: Any,
    offset_given: bool,
) -> NewRows:
    """The matrices of a design for new data; see `Design.new`."""
    scope = recipe.scope(newdata)
    layouts = _layouts(random, recipe, scope)
    check_names(recipe.needed(layouts, fixed), scope)
    n = scope.table.nrow
    X, total, lacking = None, None, False
    if fixed:
        X = matrix_of(recipe.terms, recipe.plan, scope.value, n)
        added = _offset_argument(recipe, scope, offset)
        lacking = offset is None and recipe.offset is None and offset_given
        total = offset_sum(recipe.terms, scope.value, added)
    terms = tuple(
        _new_term(old[k], recipe.random[k], layout, scope)
        for k, layout in layouts.items()
    )
    labels = tuple(
        recipe.random[k].grouping.labels(scope.value, np.flatnonzero(term.codes < 0))
        for k, term in zip(layouts, terms, strict=True)
    )
    index = scope.table.index
    return NewRows(X, total, terms, tuple(layouts), index, lacking, labels)


def new_columns(
    recipe: Recipe, newdata: Any, k: int, columns: Iterable[int]
) -> Floats | list[str]:
    """Columns of a random term for new data, whatever the groups.

    Parameters
    ----------
    recipe : Recipe
    newdata : DataFrame or other data
        Needs the variables of these columns, but not those of the grouping factor.
    k : int
        Position of the term.
    columns : iterable of int
        Positions of the columns in the term; the others are 0.

    Returns
    -------
    ndarray, shape (m, p), or list of str
        The names of the variables that are missing, if there are any.
    """
    term = recipe.random[k]
    scope = recipe.scope(newdata)
    layout = restrict(term.plan, columns)
    terms = term.bar.terms
    nodes = [terms.nodes[i] for block in layout.blocks for i, _ in block]
    lacking = [deparse(node) for node in nodes if not has_names([node], scope)]
    if lacking:
        return list(dict.fromkeys(lacking))
    return _values(term, layout, scope)


def _offset_argument(recipe: Recipe, scope: Scope, offset: Any) -> Floats | None:
    """The offset argument for new data."""
    if offset is not None:
        return row_argument("offset", offset, scope)[0]
    if recipe.offset is None:
        return None
    check_names([recipe.offset], scope)
    return as_double(scope.value(recipe.offset), "The offset")


def _new_term(
    old: RandomTerm, recipe: RandomRecipe, layout: Plan, scope: Scope
) -> RandomTerm:
    values = _values(recipe, layout, scope)
    codes = recipe.grouping.locate(scope.value)
    return replace(old, codes=codes, values=values)


def _values(recipe: RandomRecipe, layout: Plan, scope: Scope) -> Floats:
    """The columns of a random term that `layout` makes; the others are 0."""
    n = scope.table.nrow
    values = np.zeros((n, len(recipe.plan.names)))
    made = [j for j, name in enumerate(recipe.plan.names) if name in layout.names]
    values[:, made] = matrix_of(
        recipe.bar.terms, layout, scope.value, n, recipe.as_factors
    )
    return values


def _layouts(
    random: str | Iterable[int] | Mapping[int, Iterable[int]],
    recipe: Recipe,
    scope: Scope,
) -> dict[int, Plan]:
    """Layout of the columns to make of each random term asked for."""
    count = len(recipe.random)
    if isinstance(random, str):
        if random not in ("all", "none", "available"):
            raise OptionError(
                f"random is {random!r}.",
                "Expected 'available', 'all', 'none', or positions of terms.",
                "select_random reads a formula such as '~ (1 | g)'.",
            )
        every = {k: term.plan for k, term in enumerate(recipe.random)}
        if random == "available":
            return {
                k: layout
                for k, layout in every.items()
                if has_names(recipe.needed({k: layout}, False), scope)
            }
        return every if random == "all" else {}
    which = [int(k) for k in random]
    if any(not 0 <= k < count for k in which):
        raise OptionError(
            f"random names the terms {which}.",
            f"The design has the terms 0 to {count - 1}.",
        )
    if isinstance(random, Mapping):
        return {k: restrict(recipe.random[k].plan, random[k]) for k in which}
    return {k: recipe.random[k].plan for k in which}
