"""Positive responses with constant coefficient of variation.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   chapter 8. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.families.base import Family, Pointwise
from lme.families.checks import all_positive, check_positive
from lme.families.composition import log_mean, through
from lme.families.saturated import poisson_deviance, stirling, stirling_slope

Array = NDArray[np.float64]


@dataclass(frozen=True, init=False)
class Gamma(Family):
    """Positive responses with variance ``phi mu^2 / weight``.

    Parameters
    ----------
    link : {"inverse", "log", "identity"} or Link
        The link. All need a positive mean.

    Notes
    -----
    The shape is ``nu = w / phi`` and the scale ``mu / nu``, so that
    ``D = 2 nu (log(mu / y) + y / mu - 1)``. In ``s = log mu``:
    ``D' = 2 nu (1 - y / mu)``, ``D''/2 = nu y / mu`` and ``E(D'')/2 = nu``.
    """

    name = "gamma"
    links = ("inverse", "log", "identity")
    dispersion = True

    @property
    def canonical(self) -> bool:
        """True for the inverse."""
        return self.link.name == "inverse"

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
        if data_term is None:
            data_term = self.data_term(y, weights)
        nu = self.precision(weights, extra)
        scale = log_mean(self.link, eta, self.limit, order)
        ratio = y * np.exp(-scale.value)
        deviance = 2.0 * nu * (scale.value + ratio + data_term)
        if order == 0:
            return through(scale, Pointwise(deviance), order)
        g = 2.0 * nu * (1.0 - ratio)
        W = np.broadcast_to(np.asarray(nu), eta.shape)
        if order == 1:
            return through(scale, Pointwise(deviance, g, W), order)
        Wo = nu * ratio
        point = Pointwise(deviance, g, W, np.zeros_like(eta), Wo, -Wo)
        return through(scale, point, order, self.canonical)

    def data_term(self, y: Array, weights: Array | None) -> Array | float:
        """``-log y - 1``, before the factor ``2 w / phi``."""
        return -np.log(y) - 1.0

    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """``2 log y - log nu + log(2 pi) + 2 delta(nu)``; 0 in rows of weight 0."""
        nu = np.broadcast_to(np.asarray(self.precision(weights, extra)), y.shape)
        used = nu > 0.0
        nu = np.where(used, nu, 1.0)
        rows = 2.0 * np.log(y) + np.log(2.0 * np.pi / nu) + 2.0 * stirling(nu)
        return np.where(used, rows, 0.0)

    def constant_slope(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> float:
        """``sum 1 - 2 nu delta'(nu)``, over rows of positive weight."""
        nu = np.broadcast_to(np.asarray(self.precision(weights, extra)), y.shape)
        nu = nu[nu > 0.0]
        return float(np.sum(1.0 - 2.0 * stirling_slope(nu)))

    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """``mu^2``."""
        return mu * mu

    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """``2 (log(mu / y) + (y - mu) / mu)``."""
        return 2.0 * poisson_deviance(mu, y) / mu

    def check_response(self, y: Array, weights: Array | None) -> None:
        """Positive."""
        check_positive("gamma", y)

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
        """Gamma numbers of shape ``weight / phi``."""
        nu = self.precision(weights, extra)
        return np.asarray(rng.gamma(nu, mean / nu))

    def valid_mean(self, mu: Array) -> bool:
        """``0 < mu < inf``."""
        return all_positive(mu)
