"""What a design remembers of its data, so that new data are coded alike."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError
from lme.formula.bars import Bar
from lme.formula.evaluation import Scope
from lme.formula.expand import Terms
from lme.formula.groups import Grouping
from lme.formula.matrices import Plan, fill, match_levels, settle
from lme.formula.parts import Formula
from lme.formula.syntax import Node
from lme.formula.table import Table
from lme.formula.values import Value, as_double, as_factor, take

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]


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
        return Scope(Table(data), self.context, self.memory, False, self.formula.text)

    def needed(self, which: Iterable[int], fixed: bool) -> list[Node]:
        """The variables that new data must have."""
        nodes: list[Node] = []
        if fixed:
            used = {i for block in self.plan.blocks for i, _ in block}
            used.update(self.terms.offsets)
            nodes += [self.terms.nodes[i] for i in sorted(used)]
        for k in which:
            recipe = self.random[k]
            terms = recipe.bar.terms
            nodes += [terms.nodes[i] for block in recipe.plan.blocks for i, _ in block]
            nodes.append(recipe.bar.group)
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


def offset_of(recipe: Recipe, scope: Scope, argument: Floats | None) -> Floats | None:
    """Sum of the ``offset(...)`` terms and the offset argument, or None."""
    parts = [
        as_double(scope.value(recipe.terms.nodes[i]), recipe.terms.variables[i])
        for i in recipe.terms.offsets
    ]
    if argument is not None:
        parts.append(argument)
    if not parts:
        return None
    for part in parts:
        if part.ndim != 1:
            raise DataError("An offset has several columns.", "Expected one number.")
    return np.asarray(np.sum(parts, axis=0), dtype=np.float64)


def chosen(value: Value, rows: NDArray[np.intp] | None) -> Value:
    """`value` in the selected rows; all of them for None."""
    return value if rows is None else take(value, rows)
