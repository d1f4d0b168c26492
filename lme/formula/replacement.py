"""Another response for the rows of a design, in the forms of the first one."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError, LMEWarning
from lme.formula.arrays import response_of
from lme.formula.records import Design

Floats = NDArray[np.float64]


class _Checker(Protocol):
    """A family of distributions."""

    def check_response(self, y: Floats, weights: Floats | None) -> None:
        """Raise for impossible responses; warn about odd ones."""


def check_response(design: Design, family: _Checker) -> tuple[LMEWarning, ...]:
    """Let a family refuse the response, and return its warnings for the caller."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        family.check_response(design.y, design.weights)
    return tuple(w.message for w in caught if isinstance(w.message, LMEWarning))


def replace_response(design: Design, y: Any) -> Design:
    """The same design with another response.

    Parameters
    ----------
    design : Design
        The design whose rows are wanted.
    y : array_like, shape (nobs,) or (rows,), or with two columns
        One value a row used, or one a row of the data before missing values were
        dropped: numbers; the two categories, where the response had these; successes
        and failures in two columns, where it was ``cbind(successes, failures)``, or
        proportions with the numbers of trials as they were.

    Returns
    -------
    Design
        With other `y`, and with other `weights` and `trials` for counts.

    Raises
    ------
    DataError, DataTypeError
        If the length or the kind does not fit, or values are not finite numbers.
    """
    values = np.asarray(y)
    if design.trials is not None and values.ndim == 2:
        return _with_counts(design, values)
    if design.y_levels and values.dtype.kind in "OSUT":
        values = _codes(design, values)
    return replace(design, y=response_of(design, values))


def split_counts(name: str, values: Any) -> tuple[Floats, Floats]:
    """Proportion of successes and number of trials, each of shape (n,).

    Parameters
    ----------
    name : str
        What the messages call the counts.
    values : array_like, shape (n, 2)
        Successes and failures.

    Raises
    ------
    DataError, DataTypeError
        For another shape, and for counts that are negative or no numbers.
    """
    array = np.asarray(values)
    if array.ndim != 2 or array.shape[1] != 2:
        raise DataError(
            f"{name} has shape {array.shape}.",
            "Counts have two columns, successes and failures.",
        )
    try:
        counts = array.astype(np.float64)
    except (TypeError, ValueError):
        raise DataTypeError(f"{name} is not numeric.", "Expected counts.") from None
    if not (np.isfinite(counts) & (counts >= 0)).all():
        raise DataError(
            f"{name} has counts that are negative, missing or infinite.",
            "Expected numbers of successes and failures.",
        )
    trials = counts.sum(axis=1)
    y = np.divide(counts[:, 0], trials, out=np.zeros(len(counts)), where=trials > 0)
    return y, trials


def _with_counts(design: Design, values: NDArray[Any]) -> Design:
    n, rows = len(design.index), len(design.full_index)
    if len(values) == rows != n:
        values = values[design.kept]
    y, trials = split_counts("The new response", values)
    if y.size != n:
        raise DataError(
            f"The new response has {y.size} rows.", f"The design has {n} rows."
        )
    old = design.trials
    assert old is not None and design.weights is not None  # a design of counts
    prior = np.divide(design.weights, old, out=np.ones(n), where=old > 0)
    return replace(design, y=y, weights=trials * prior, trials=trials)


def _codes(design: Design, values: NDArray[Any]) -> Floats:
    """0 and 1 for the first and the second category."""
    text = [None if value is None else str(value) for value in values.ravel()]
    unknown = sorted({str(t) for t in text if t not in design.y_levels})
    if unknown:
        raise DataError(
            f"The new response has the category {unknown[0]!r}.",
            f"The categories are {' and '.join(map(repr, design.y_levels))}.",
        )
    return np.array([design.y_levels.index(str(t)) for t in text], dtype=np.float64)
