"""Checks of responses that several families share."""

from __future__ import annotations

import warnings as messages

import numpy as np
from numpy.typing import NDArray

from lme.errors import DataError, DataWarning

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: Counts this near to a whole number (relative to 1) pass as whole.
_TOLERANCE = 1e-3


def refuse(bad: Flags, y: Array, expected: str, remedy: str) -> None:
    """Raise a `DataError` naming the first row where `bad` holds."""
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        count = int(bad.sum())
        others = f" and {count - 1} more rows" if count > 1 else ""
        raise DataError(
            f"The response is {y[row]:g} in row {row}{others}.", expected, remedy
        )


def check_finite(y: Array) -> None:
    """Refuse missing and infinite responses."""
    refuse(
        ~np.isfinite(y),
        y,
        "Expected finite numbers.",
        "Leave these rows out.",
    )


def not_whole(values: Array) -> Flags:
    """Where values are not whole numbers, up to rounding in proportions."""
    return np.abs(values - np.round(values)) > _TOLERANCE


def warn_fractional(values: Array, what: str, remedy: str) -> None:
    """Warn, with the first row, when `values` are not whole numbers."""
    bad = not_whole(values)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        text = (
            f"Non-integer {what}: {values[row]:g} in row {row}"
            f" ({int(bad.sum())} of {bad.size} rows). {remedy}"
        )
        messages.warn(DataWarning(text), stacklevel=3)


def check_counts(family: str, y: Array) -> None:
    """Refuse negative responses and warn about fractions."""
    check_finite(y)
    refuse(
        y < 0.0,
        y,
        f"A {family} response counts something: 0, 1, 2, ...",
        "For a response of either sign fit a linear mixed model.",
    )
    warn_fractional(y, "counts", "For rates fit the counts with offset(log(exposure)).")


def check_positive(family: str, y: Array) -> None:
    """Refuse responses that are not positive."""
    check_finite(y)
    refuse(
        y <= 0.0,
        y,
        f"A {family} response is positive.",
        "Zeros need another family, or their own model; for counts use 'poisson' or"
        " 'negative_binomial'.",
    )


def all_positive(mu: Array) -> bool:
    """Whether all of `mu` are positive and finite."""
    return bool(((mu > 0.0) & np.isfinite(mu)).all())
