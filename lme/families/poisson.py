"""Counts with variance equal to the mean.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   chapter 6. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lme.families.base import EMPTY, Family, Pointwise
from lme.families.checks import all_positive, check_counts
from lme.families.composition import log_mean, through
from lme.families.saturated import poisson_deviance, poisson_saturated

Array = NDArray[np.float64]


@dataclass(frozen=True, init=False)
class Poisson(Family):
    """Counts ``y = 0, 1, 2, ...`` with variance mu.

    Parameters
    ----------
    link : {"log", "identity", "sqrt"} or Link
        The link.

    Notes
    -----
    ``D = 2 w (y log(y / mu) - (y - mu))``. Under the log link ``g = 2 w (mu - y)`` and
    all weights and their derivatives are ``w mu``. Counts that are not whole are
    accepted with a warning, with the gamma function for the factorial.

    Examples
    --------
    >>> point = Poisson().pointwise(np.array([2.0]), None, np.array([0.0]))
    >>> point.deviance, point.g, point.W
    (array([0.77258872]), array([-2.]), array([1.]))
    """

    name = "poisson"
    links = ("log", "identity", "sqrt")

    @property
    def canonical(self) -> bool:
        """True for the logarithm."""
        return self.link.name == "log"

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
        scale = log_mean(self.link, eta, self.limit, order)
        W = np.exp(scale.value)
        deviance = W - y * scale.value
        g = EMPTY if order == 0 else 2.0 * (W - y)
        if weights is not None:
            deviance *= weights
            W *= weights
            g = g * weights if order else g
        deviance *= 2.0
        deviance += data_term
        if order == 0:
            return through(scale, Pointwise(deviance), order)
        return through(scale, Pointwise(deviance, g, W, W, W, W), order)

    def data_term(self, y: Array, weights: Array | None) -> Array | float:
        """``2 w (y log y - y)``."""
        term = 2.0 * (special.xlogy(y, y) - y)
        return np.asarray(term if weights is None else term * weights)

    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """``-2 w (y log y - y - log y!)``."""
        saturated = -2.0 * poisson_saturated(y)
        return saturated if weights is None else saturated * weights

    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """``mu``."""
        return mu

    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """``2 (y log(y / mu) - (y - mu))``."""
        return 2.0 * poisson_deviance(y, mu)

    def check_response(self, y: Array, weights: Array | None) -> None:
        """Not negative; warns when counts are not whole numbers."""
        check_counts("Poisson", y)

    def start_mean(self, y: Array, weights: Array | None) -> Array:
        """``y + 0.1``."""
        return y + 0.1

    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """Counts; weights, which count equal rows, do not matter."""
        return rng.poisson(mean).astype(np.float64)

    def valid_mean(self, mu: Array) -> bool:
        """``0 < mu < inf``."""
        return all_positive(mu)
