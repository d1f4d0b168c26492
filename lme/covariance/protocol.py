"""What a covariance structure has to offer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Structure(Protocol):
    """What the engine asks of a covariance structure for ``p`` columns."""

    #: "triangular": `lambda` may be premultiplied by any lower-triangular matrix
    #: and stays in the family; "diagonal": by any diagonal matrix; "scalar": by a
    #: number.
    basis: str
    #: Whether the effects of a level are uncorrelated by construction.
    independent: bool
    #: Whether `lambda` is linear in the parameters.
    linear: bool

    def size(self, p: int) -> int:
        """Number of parameters."""

    def factor(self, theta: Array, p: int) -> Array:
        """A factor ``lambda``, shape (p, p), of the covariance."""

    def jacobian(self, theta: Array, p: int) -> Array:
        """``d lambda / d theta_i``, shape (size, p, p)."""

    def pack(self, factor: Array) -> Array:
        """The parameters whose covariance is that of a lower-triangular `factor`.

        For a covariance outside the family, such as a moment estimate, one nearby.
        """

    def natural(self, theta: Array, p: int) -> Array:
        """What is reported for `theta`, shape (size,)."""

    def interior(self, values: Array, p: int) -> Array:
        """The parameters for which `natural` reports `values`, shape (size,)."""

    def labels(self, columns: Sequence[str]) -> list[str]:
        """Names of what `natural` reports, for the names of the columns."""

    def lower(self, p: int) -> Array:
        """Lower bounds in lme4's convention: 0 or -inf, shape (size,)."""

    def start(self, p: int) -> Array:
        """Parameters of the identity factor, shape (size,)."""

    def idle(self, theta: Array, p: int) -> NDArray[np.bool_]:
        """Parameters so far out that the covariance has ceased to change, (size,)."""

    def even(self, p: int) -> NDArray[np.bool_]:
        """Parameters whose sign alone does not change the covariance, (size,)."""
