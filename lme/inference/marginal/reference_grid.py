"""Reference grids: all combinations of levels, with numbers at their means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lme.errors import DataTypeError, DesignError, OptionError, near
from lme.formula.predictors import (
    Predictor,
    Predictors,
    grid_matrix,
    repeated,
)
from lme.formula.records import Design
from lme.formula.values import Factor, label

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

MAX_ROWS = 2**22
"""Rows of the largest grid."""


@dataclass(frozen=True)
class ReferenceGrid:
    """Rows at which a model is looked at.

    Attributes
    ----------
    design : Design
    predictors : tuple of Predictor
        Each with its values in the grid.
    codes : (m, v) intp
        Position of the value of each predictor; the first varies fastest.
    frequencies : (m,) array
        How often the combination of levels occurs.
    """

    design: Design
    predictors: tuple[Predictor, ...]
    codes: Codes
    frequencies: Array

    @property
    def names(self) -> list[str]:
        """Names of the predictors."""
        return [one.name for one in self.predictors]

    def matrix(self, shifts: Mapping[str, float] | None = None) -> Array:
        """Fixed-effects matrix, (m, columns), dropped columns included.

        Parameters
        ----------
        shifts : mapping, optional
            What to add to numeric predictors.
        """
        values = {}
        for j, one in enumerate(self.predictors):
            values[one.name] = repeated(one.values, self.codes[:, j])
        for name, amount in (shifts or {}).items():
            values[name] = np.asarray(values[name], dtype=float) + amount
        recipe = self.design.recipe
        assert recipe is not None
        return grid_matrix(recipe, values, len(self.codes))


def reference_grid(
    design: Design, at: Mapping[str, Any] | None = None
) -> ReferenceGrid:
    """The grid of a design.

    Parameters
    ----------
    design : Design
        Made with a formula.
    at : mapping, optional
        Values of numbers, and levels of factors, in place of the mean and of all.

    Raises
    ------
    DesignError
        For a design without a formula, and a grid that is too large.
    OptionError
        For names and levels that do not exist.
    """
    known = predictors_of(design)
    if at is not None and not isinstance(at, Mapping):
        raise DataTypeError(
            f"at is of type {type(at).__name__}.",
            "Expected a mapping such as {'x': [0, 1]}.",
        )
    at = {} if at is None else dict(at)
    for name in at:
        check_predictor(name, known.names, "at")
    chosen = tuple(
        _held(one, at[one.name]) if one.name in at else one for one in known.variables
    )
    shape = [len(one.labels) for one in chosen]
    rows = float(np.prod([float(size) for size in shape]))
    if rows > MAX_ROWS:
        raise DesignError(
            f"The grid of {', '.join(one.name for one in chosen)} has {rows:.0f} rows.",
            f"At most {MAX_ROWS} are made.",
            "Hold a factor at some of its levels with at=.",
        )
    index = np.arange(int(rows))
    codes = np.zeros((index.size, len(shape)), dtype=np.intp)
    for j, size in enumerate(shape):
        codes[:, j] = index % size
        index = index // size
    return ReferenceGrid(design, chosen, codes, _frequencies(known, chosen, codes))


def predictors_of(design: Design) -> Predictors:
    """What the design remembers of its predictors.

    Raises
    ------
    DesignError
        For a design without a formula.
    """
    if design.predictors is None:
        raise DesignError(
            "The model was made from arrays.",
            "Marginal means need a formula, which says what the columns stand for.",
            "Build the model with a formula, or use contrast() with a matrix.",
        )
    return design.predictors


def check_predictor(name: object, names: Sequence[str], argument: str) -> None:
    """Refuse a name that is no variable of the fixed part."""
    if name not in names:
        raise OptionError(
            f"{argument} names {name!r}, which is no variable of the fixed part.",
            f"Its variables are {', '.join(map(repr, names)) or 'none'}.",
            near(str(name), names),
        )


def _held(one: Predictor, given: Any) -> Predictor:
    """A predictor at some of its levels, or at given numbers."""
    values = [given] if np.ndim(given) == 0 else list(given)
    if not values:
        raise OptionError(f"at gives no value for {one.name!r}.")
    texts = [_text(value) for value in values]
    if one.is_factor and all(text in one.labels for text in texts):
        positions = np.array([one.labels.index(text) for text in texts], dtype=np.intp)
        labels = tuple(one.labels[i] for i in positions)
        return replace(one, values=repeated(one.values, positions), labels=labels)
    if not one.is_numeric or one.is_coerced:
        unknown = next(t for t in texts if t not in one.labels)
        shown = ", ".join(map(repr, one.labels[:12]))
        raise OptionError(
            f"{unknown!r} is not a level of {one.name!r}.",
            f"Its levels are {shown}{' ...' if len(one.labels) > 12 else ''}.",
            near(unknown, one.labels),
        )
    numbers = _numbers(one.name, values)
    return replace(
        one,
        values=numbers,
        labels=tuple(label(value) for value in numbers.tolist()),
        is_factor=False,
    )


def _text(value: object) -> str:
    """A value as the label of a level."""
    if isinstance(value, (bool, np.bool_)):
        return str(bool(value)).upper()
    if isinstance(value, (int, float, np.number)):
        return label(value.item() if isinstance(value, np.number) else value)
    return str(value)


def _numbers(name: str, values: ArrayLike) -> Array:
    try:
        numbers = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        numbers = np.array([np.nan])
    if numbers.ndim != 1 or not np.isfinite(numbers).all():
        raise OptionError(
            f"at={{{name!r}: {values!r}}} has values that are not finite numbers.",
            f"{name!r} is numeric.",
        )
    return numbers


def _frequencies(known: Predictors, chosen: Sequence[Predictor], codes: Codes) -> Array:
    """How often each combination of levels occurs, (m,)."""
    columns, positions = [], []
    factors = [one for one in known.variables if one.is_factor]
    for j, one in enumerate(chosen):
        if not one.is_factor:
            continue
        place = next(i for i, old in enumerate(factors) if old.name == one.name)
        original = [factors[place].labels.index(text) for text in one.labels]
        columns.append((place, len(factors[place].labels)))
        positions.append(np.array(original, dtype=np.intp)[codes[:, j]])
    if not columns or not len(known.cells):
        return np.ones(len(codes))
    key = np.zeros(len(known.cells), dtype=np.int64)
    wanted = np.zeros(len(codes), dtype=np.int64)
    for (place, levels), own in zip(columns, positions, strict=True):
        key = key * levels + known.cells[:, place]
        wanted = wanted * levels + own
    occurring, inverse = np.unique(key, return_inverse=True)
    counts = np.bincount(inverse, known.frequencies)
    found = np.minimum(np.searchsorted(occurring, wanted), occurring.size - 1)
    return np.where(occurring[found] == wanted, counts[found], 0.0)


def level_values(one: Predictor) -> list[Any]:
    """The values of a predictor for a frame: labels of factors, else numbers."""
    if one.is_numeric and not isinstance(one.values, Factor):
        held: Any = one.values
        return list(np.asarray(held).tolist())
    return list(one.labels)
