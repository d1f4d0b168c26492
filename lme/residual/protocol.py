"""What a residual structure has to offer, and the arrays it works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Rows:
    """What a structure knows of the rows.

    Attributes
    ----------
    text : str
        The term as written, for messages.
    values : (n,) array or None
        Covariate or time; None for the order of the rows.
    codes : (n,) intp
        Stratum of a variance function, group of a correlation; 0-based.
    labels : tuple of str
        Their names; empty without a factor.
    """

    text: str
    values: Array | None
    codes: Codes
    labels: tuple[str, ...]


class VarianceFunction(Protocol):
    """Standard deviations of the residuals relative to sigma, one a row."""

    def check(self, rows: Rows) -> None:
        """Refuse rows for which the function has no meaning."""

    def size(self, rows: Rows) -> int:
        """Number of parameters."""

    def log_deviations(self, phi: Array, rows: Rows) -> Array:
        """Logarithms of the relative standard deviations, (n,)."""

    def jacobian(self, phi: Array, rows: Rows) -> Array:
        """Their derivatives in the parameters, (n, size)."""

    def start(self, rows: Rows) -> Array:
        """Where a search begins: the parameters of equal deviations, where possible."""

    def natural(self, phi: Array) -> Array:
        """What is reported for the parameters, (size,)."""

    def names(self, rows: Rows) -> list[str]:
        """Names of what is reported."""


@runtime_checkable
class Correlation(Protocol):
    """Correlation of neighbours in time, from which all others follow (Markov)."""

    def gaps(self, rows: Rows) -> tuple[Codes, Array]:
        """Order by group and time, and the time since the row before; see `Chain`."""

    def size(self, rows: Rows) -> int:
        """Number of parameters."""

    def neighbours(self, phi: Array, gap: Array) -> tuple[Array, Array]:
        """Correlations across the gaps, and their derivatives in the parameters.

        Parameters
        ----------
        phi : (size,) array
        gap : (m,) array
            All positive.

        Returns
        -------
        (m,) array, (m, size) array
        """

    def start(self, gap: Array) -> list[Array]:
        """Where searches begin, the most plausible first."""

    def natural(self, phi: Array, gap: Array) -> Array:
        """What is reported for the parameters."""

    def names(self, rows: Rows) -> list[str]:
        """Names of what is reported."""

    def boundary(self, phi: Array, gap: Array) -> list[str]:
        """Words for parameters at the end of their range."""
