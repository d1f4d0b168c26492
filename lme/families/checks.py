"""Checks of responses that several families share."""

from __future__ import annotations

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


def fractional_warning(
    bad: Flags, values: Array, what: str, remedy: str
) -> DataWarning:
    """A warning that names the first row with a non-integer count."""
    row = int(np.flatnonzero(bad)[0])
    return DataWarning(
        f"Non-integer {what}: {values[row]:g} in row {row}"
        f" ({int(bad.sum())} of {bad.size} rows). {remedy}"
    )
