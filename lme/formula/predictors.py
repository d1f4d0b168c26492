"""What a design remembers of its predictors: levels, centres and frequencies.

A grid of typical rows needs the variables behind the columns of X. They are
summarized when the design is made, because the user's data may change afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import DesignError
from lme.formula.evaluation import check_names
from lme.formula.expand import Terms
from lme.formula.matrices import Plan, is_logical
from lme.formula.recipe import Recipe, matrix_of
from lme.formula.sample import Sample
from lme.formula.syntax import Call, Name, Node, variables_of
from lme.formula.values import Factor, Value, as_factor, label, object_kind

Floats = NDArray[np.float64]
Codes = NDArray[np.intp]

FACTOR_MAKERS = ("factor", "as.factor", "ordered", "as.ordered", "C")
"""Functions that make a factor of a number, whose every value is then a level."""
MAX_CELLS = 2**26
"""Rows times columns of the largest grid."""


@dataclass(frozen=True)
class Predictor:
    """One variable of the fixed part.

    Attributes
    ----------
    name : str
    values : Factor or ndarray
        The distinct values of a factor, of a logical variable, of a number that the
        formula makes a factor of, and of a number with at most two values; the mean
        of any other number.
    labels : tuple of str
        These values as text.
    is_factor : bool
        Whether the values are levels rather than a mean.
    is_numeric : bool
        Whether the variable holds numbers.
    is_coerced : bool
        Whether the formula makes a factor of it, so that other values are unknown.
    low, high : float
        Range of a number.
    """

    name: str
    values: Value
    labels: tuple[str, ...]
    is_factor: bool
    is_numeric: bool
    is_coerced: bool = False
    low: float = np.nan
    high: float = np.nan


@dataclass(frozen=True)
class Predictors:
    """The variables of the fixed part, in the order of the formula.

    Attributes
    ----------
    variables : tuple of Predictor
    cells : (c, f) intp
        Combinations of the levels of the f factors that occur.
    frequencies : (c,) float
        How often, or the sum of the prior weights.
    offset : float
        Mean of the offset.
    """

    variables: tuple[Predictor, ...]
    cells: Codes = field(repr=False)
    frequencies: Floats = field(repr=False)
    offset: float = 0.0

    def __getitem__(self, name: str) -> Predictor:
        return next(one for one in self.variables if one.name == name)

    @property
    def names(self) -> list[str]:
        """Names of all variables."""
        return [one.name for one in self.variables]


def summarize_predictors(
    terms: Terms,
    layout: Plan,
    sample: Sample,
    weights: Floats | None,
    offset: Floats | None,
) -> Predictors:
    """Look at each variable of the fixed part in the rows used.

    Parameters
    ----------
    terms, layout : Terms, Plan
        The fixed part.
    sample : Sample
        The rows used.
    weights, offset : (n,) array or None
        Prior weights and the whole offset.
    """
    used = sorted({i for block in layout.blocks for i, _ in block})
    nodes = [terms.nodes[i] for i in used]
    coerced = {name for node in nodes for name in coerced_names(node)}
    found, codes = [], []
    names = dict.fromkeys(name.name for node in nodes for name in variables_of(node))
    for name in names:
        if name not in sample.scope.table:
            continue
        one, own = look(name, sample.raw(Name(name)), name in coerced)
        found.append(one)
        if own is not None:
            codes.append((own, len(one.labels)))
    cells, frequencies = combinations(codes, sample.nrow, weights)
    mean = 0.0 if offset is None else float(offset.mean())
    return Predictors(tuple(found), cells, frequencies, mean)


def coerced_names(node: Node) -> Iterator[str]:
    """Names of variables that a call makes a factor of."""
    if isinstance(node, Call):
        first = node.args[0] if node.args else None
        if node.function in FACTOR_MAKERS and isinstance(first, Name):
            yield first.name
        for arg in node.args:
            yield from coerced_names(arg)


def look(name: str, raw: Value, coerced: bool) -> tuple[Predictor, Codes | None]:
    """One variable, and the level of each row where it has levels."""
    if is_logical(raw):
        # None and NaN among Python's truth values leave an object array.
        truth = np.asarray(raw, dtype=bool)
        values = np.array([False, True])
        values = values[[bool((~truth).any()), bool(truth.any())]]
        codes = np.searchsorted(values, truth)
        labels = tuple(str(value).upper() for value in values)
        return Predictor(name, values, labels, True, False), codes
    text = isinstance(raw, np.ndarray) and object_kind(raw)[0] == "character"
    if isinstance(raw, Factor) or text:
        factor = (raw if isinstance(raw, Factor) else as_factor(raw)).drop_unused()
        k = len(factor.levels)
        every = Factor(np.arange(k, dtype=np.intp), factor.levels, factor.ordered)
        return Predictor(name, every, factor.levels, True, False), factor.codes
    numbers = np.asarray(raw)
    low, high = numbers.min(), numbers.max()
    few = bool(((numbers == low) | (numbers == high)).all())
    if coerced or few:
        values, codes = np.unique(numbers, return_inverse=True)
        labels = tuple(label(value) for value in values.tolist())
        few_levels = Predictor(
            name,
            values,
            labels,
            len(values) > 1,
            True,
            coerced,
            float(low),
            float(high),
        )
        return few_levels, codes if len(values) > 1 else None
    mean = np.array([numbers.mean(dtype=np.float64)])
    labels = (label(float(mean[0])),)
    ends = float(low), float(high)
    return Predictor(name, mean, labels, False, True, False, *ends), None


def combinations(
    codes: Sequence[tuple[Codes, int]], n: int, weights: Floats | None
) -> tuple[Codes, Floats]:
    """The combinations of levels that occur, and how often."""
    shape = [levels for _, levels in codes]
    total = float(np.prod([float(levels) for levels in shape]))
    if not codes or total > 2.0**62:
        return np.zeros((0, len(codes)), dtype=np.intp), np.zeros(0)
    cell = np.zeros(n, dtype=np.int64)
    for own, levels in codes:
        cell = cell * levels + own
    if total <= max(n, 10_000):
        counts = np.bincount(cell, weights, int(total)).astype(np.float64)
        occurring = np.flatnonzero(counts)
        counts = counts[occurring]
    else:
        occurring, inverse = np.unique(cell, return_inverse=True)
        counts = np.bincount(inverse, weights).astype(np.float64)
    cells = np.stack(np.unravel_index(occurring, shape), axis=1)
    return cells.astype(np.intp), counts


def grid_matrix(recipe: Recipe, values: Mapping[str, Value], nrow: int) -> Floats:
    """Fixed-effects matrix of rows with these values, (nrow, columns).

    Offsets are left out, so that their variables need no values.

    Raises
    ------
    DesignError
        If the matrix would be too large.
    """
    columns = len(recipe.plan.names)
    if nrow * columns > MAX_CELLS:
        raise DesignError(
            f"The grid has {nrow} rows and {columns} columns.",
            f"At most {MAX_CELLS} cells are made.",
            "Hold a factor at some of its levels with at=.",
        )
    # A variable of the context alone leaves the grid without columns.
    scope = recipe.scope(dict(values) or {"": np.zeros(nrow)})
    used = sorted({i for block in recipe.plan.blocks for i, _ in block})
    check_names([recipe.terms.nodes[i] for i in used], scope)
    return matrix_of(recipe.terms, recipe.plan, scope.value, nrow)


def repeated(value: Value, codes: Codes) -> Value:
    """Values by position, in the kind that the variable has."""
    if isinstance(value, Factor):
        return Factor(value.codes[codes], value.levels, value.ordered)
    held: Any = value
    return np.asarray(held)[codes]
