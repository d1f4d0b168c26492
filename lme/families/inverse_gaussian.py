"""Positive responses with variance growing as the cube of the mean.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   table 2.1. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
.. [2] Tweedie, M. C. K. (1957). Statistical properties of inverse Gaussian
   distributions I. Ann. Math. Statist. 28(2), 362-377. doi:10.1214/aoms/1177706964
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.families.base import Family, Pointwise
from lme.families.checks import all_positive, check_positive
from lme.families.composition import log_mean, through
from lme.families.gaussian import scale_constants

Array = NDArray[np.float64]


@dataclass(frozen=True, init=False)
class InverseGaussian(Family):
    """Positive responses with variance ``phi mu^3 / weight``.

    Parameters
    ----------
    link : {"inverse_squared", "inverse", "log", "identity"} or Link
        The link. All need a positive mean.

    Notes
    -----
    ``D = (w / phi) (y - mu)^2 / (y mu^2)``. In ``s = log mu``, with ``z = y / mu``:
    ``D' = 2 (w/phi) (1 - z) / mu``, ``D''/2 = (w/phi) (2 z - 1) / mu`` and
    ``E(D'')/2 = (w/phi) / mu``.
    """

    name = "inverse_gaussian"
    links = ("inverse_squared", "inverse", "log", "identity")
    dispersion = True
    # The square of 1 / mu must stay finite.
    limit = 300.0

    @property
    def canonical(self) -> bool:
        """True for the inverse square."""
        return self.link.name == "inverse_squared"

    def pointwise(
        self,
        y: Array,
        weights: Array | None,
        eta: Array,
        extra: float = 0.0,
        *,
        order: int = 2,
        data_term: Array | float | None = None,
    ) -> Pointwise:
        """Deviance and derivatives, by way of the log mean."""
        precision = self.precision(weights, extra)
        scale = log_mean(self.link, eta, self.limit, order)
        e = np.exp(-scale.value)
        z = y * e
        deviance = precision * (z - 1.0) ** 2 / y
        if order == 0:
            return through(scale, Pointwise(deviance), order)
        W = precision * e
        g = 2.0 * W * (1.0 - z)
        if order == 1:
            return through(scale, Pointwise(deviance, g, W), order)
        Wo, dWo = W * (2.0 * z - 1.0), W * (1.0 - 4.0 * z)
        point = Pointwise(deviance, g, W, -W, Wo, dWo)
        return through(scale, point, order, self.canonical)

    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """``log(2 pi phi / w) + 3 log y``; 0 in rows of weight 0."""
        rows = scale_constants(y, weights, extra) + 3.0 * np.log(y)
        return rows if weights is None else np.where(weights > 0.0, rows, 0.0)

    def constant_slope(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> float:
        """The number of rows of positive weight."""
        return float(y.size if weights is None else np.count_nonzero(weights))

    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """``mu^3``."""
        return mu * mu * mu

    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """``(y - mu)^2 / (y mu^2)``."""
        return ((y - mu) / mu) ** 2 / y

    def check_response(self, y: Array, weights: Array | None) -> None:
        """Positive."""
        check_positive("inverse Gaussian", y)

    def start_mean(self, y: Array, weights: Array | None) -> Array:
        """`y`."""
        return y.copy()

    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """Inverse Gaussian numbers with shape ``weight / phi``."""
        return np.asarray(rng.wald(mean, self.precision(weights, extra)))

    def valid_mean(self, mu: Array) -> bool:
        """``0 < mu < inf``."""
        return all_positive(mu)
