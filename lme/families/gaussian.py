"""Normal responses whose mean is a function of the linear predictor.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   chapter 3. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.families.base import Family, Pointwise, parameter
from lme.families.checks import check_finite
from lme.families.composition import mean_scale, through

Array = NDArray[np.float64]


@dataclass(frozen=True, init=False)
class Gaussian(Family):
    """Normal responses with variance ``phi / weight``.

    Parameters
    ----------
    link : str or Link
        Any of the links; the identity, the default, gives a linear mixed model.

    Notes
    -----
    ``D = (w / phi) (y - mu)^2``.
    """

    name = "gaussian"
    links = (
        *("identity", "log", "inverse", "sqrt", "inverse_squared"),
        *("logit", "probit", "cloglog", "cauchit"),
    )
    dispersion = True
    # The square of the mean must stay finite.
    limit = 300.0

    @property
    def canonical(self) -> bool:
        """True for the identity."""
        return self.link.name == "identity"

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
        """Deviance and derivatives, by way of the mean."""
        precision = self.precision(weights, extra)
        scale = mean_scale(self.link, eta, self.limit, order)
        error = scale.value - y
        deviance = precision * error * error
        if order == 0:
            return through(scale, Pointwise(deviance), order)
        W = np.broadcast_to(np.asarray(precision), eta.shape)
        zero = np.zeros_like(eta)
        point = Pointwise(deviance, 2.0 * precision * error, W, zero, W, zero)
        return through(scale, point, order, self.canonical)

    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """``log(2 pi phi / w)``; 0 in rows of weight 0."""
        return scale_constants(y, weights, extra)

    def constant_slope(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> float:
        """The number of rows of positive weight."""
        return float(y.size if weights is None else np.count_nonzero(weights))

    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """1."""
        return np.ones_like(mu)

    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """``(y - mu)^2``."""
        return (y - mu) ** 2

    def check_response(self, y: Array, weights: Array | None) -> None:
        """Finite."""
        check_finite(y)

    def start_mean(self, y: Array, weights: Array | None) -> Array:
        """`y` where the link is defined there, else a small or middling mean."""
        usable = self.link.valid_mean(y)
        if usable.all():
            return y.copy()
        if self.link.valid_mean(np.array([2.0]))[0]:
            size = float(np.mean(np.abs(y))) or 1.0
            return np.where(usable, y, 0.1 * size)
        return np.clip(y, 0.1, 0.9)

    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """Normal numbers with standard deviation ``sqrt(phi / weight)``."""
        noise = rng.standard_normal(np.shape(mean))
        return np.asarray(mean + noise / np.sqrt(self.precision(weights, extra)))


def scale_constants(y: Array, weights: Array | None, extra: float) -> Array:
    """``log(2 pi phi / w)`` of each row, 0 where the weight is 0."""
    base = np.log(2.0 * np.pi * parameter(extra))
    if weights is None:
        return np.full(y.shape, base)
    used = weights > 0.0
    return np.where(used, base - np.log(np.where(used, weights, 1.0)), 0.0)
