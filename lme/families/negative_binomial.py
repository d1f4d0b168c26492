"""Counts that vary more than Poisson counts: variance ``mu + mu^2 / theta``.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   section 11.2. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
.. [2] Lawless, J. F. (1987). Negative binomial and mixed Poisson regression.
   Canad. J. Statist. 15(3), 209-225. doi:10.2307/3314912
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lme.errors import OptionError
from lme.families.base import ExtraDerivatives, Family, Pointwise, parameter
from lme.families.checks import all_positive, check_counts
from lme.families.composition import log_mean, through, through_extra
from lme.families.saturated import (
    poisson_deviance,
    poisson_saturated,
    stirling,
    stirling_slope,
)

Array = NDArray[np.float64]


@dataclass(frozen=True, init=False)
class NegativeBinomial(Family):
    """Counts with variance ``mu + mu^2 / theta`` ("NB2").

    Parameters
    ----------
    theta : float, optional
        The parameter, if known; by default it is estimated.
    link : {"log", "sqrt", "identity"} or Link
        The link.

    Notes
    -----
    With ``r = theta / (mu + theta)`` and ``q = 1 - r``,
    ``D = 2 w (y log(y / mu) - (y + theta) log((y + theta) / (mu + theta)))`` has in
    ``s = log mu`` the derivatives ``D' = 2 w (mu - y) r``,
    ``D''/2 = w (y + theta) q r`` and ``E(D'')/2 = w mu r``.

    Examples
    --------
    >>> NegativeBinomial(theta=2.0).variance(np.array([1.0, 4.0]))
    array([ 1.5, 12. ])
    """

    theta: float | None

    name = "negative_binomial"
    links = ("log", "sqrt", "identity")

    def __init__(self, theta: float | None = None, link: object = None) -> None:
        if theta is not None:
            try:
                value = float(theta)
            except (TypeError, ValueError):
                value = math.nan
            if not 0.0 < value < math.inf:
                raise OptionError(
                    f"theta is {theta!r}.",
                    "Expected a positive number, or None to estimate it.",
                )
            theta = value
        object.__setattr__(self, "theta", theta)
        super().__init__(link)

    def with_link(self, link: object) -> Family:
        """The same family with another link."""
        return NegativeBinomial(self.theta, link)

    @property
    def extra(self) -> str | None:
        """Name of the parameter to estimate: "theta", or None when it is known."""
        return "theta" if self.theta is None else None

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
        theta = self._theta(extra)
        w = 1.0 if weights is None else weights
        scale = log_mean(self.link, eta, self.limit, order)
        mu = np.exp(scale.value)
        ratio = mu / theta
        # Two logarithms: one of the quotient would be log(0) for a huge mean.
        log_ratio = np.log1p(y / theta) - np.log1p(ratio)
        deviance = -2.0 * w * (y * scale.value + (y + theta) * log_ratio) + data_term
        if order == 0:
            return through(scale, Pointwise(deviance), order)
        r = 1.0 / (1.0 + ratio)
        mur = mu * r
        g, W = 2.0 * w * (mur - y * r), w * mur
        if order == 1:
            return through(scale, Pointwise(deviance, g, W), order)
        q = ratio * r
        Wo = w * (y + theta) * q * r
        point = Pointwise(deviance, g, W, W * r, Wo, Wo * (r - q))
        return through(scale, point, order)

    def data_term(self, y: Array, weights: Array | None) -> Array | float:
        """``2 w y log y``."""
        term = 2.0 * special.xlogy(y, y)
        return np.asarray(term if weights is None else term * weights)

    def extra_derivatives(
        self, y: Array, weights: Array | None, eta: Array, extra: float
    ) -> ExtraDerivatives:
        """Derivatives in ``log theta``; all 0 when it is known."""
        if self.extra is None:
            return super().extra_derivatives(y, weights, eta, extra)
        theta = self._theta(extra)
        w = 1.0 if weights is None else weights
        scale = log_mean(self.link, eta, self.limit)
        mu = np.exp(scale.value)
        ratio = mu / theta
        r = 1.0 / (1.0 + ratio)
        q = ratio * r
        log_ratio = np.log1p(y / theta) - np.log1p(ratio)
        mur, yr = mu * r, y * r
        derivatives = ExtraDerivatives(
            deviance=-2.0 * w * (theta * log_ratio + mur - yr),
            g=2.0 * w * (mur - yr) * q,
            W=w * mur * q,
            Wo=w * q * r * (theta + (y + theta) * (q - r)),
            constant=self.constant_slope(y, weights, extra),
        )
        return through_extra(scale, derivatives)

    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """-2 log-probabilities at ``mu = y``, by Stirling's formula."""
        theta = self._theta(extra)
        remainder = stirling(y + theta) - stirling(np.array(theta))
        rows = poisson_saturated(y) - 0.5 * np.log1p(y / theta) + remainder
        return np.asarray(-2.0 * rows if weights is None else -2.0 * rows * weights)

    def constant_slope(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> float:
        """Derivative of `constant` in ``log theta``; 0 when it is known."""
        if self.extra is None:
            return 0.0
        theta = self._theta(extra)
        share = theta / (y + theta)
        rows = 0.5 * (1.0 - share) + share * stirling_slope(y + theta)
        rows = rows - stirling_slope(np.array(theta))
        return float(-2.0 * np.sum(rows if weights is None else rows * weights))

    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """``mu + mu^2 / theta``."""
        return mu * (1.0 + mu / self._theta(extra))

    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """``2 (y log(y/mu) - (y+theta) log((y+theta)/(mu+theta)))``."""
        theta = self._theta(extra)
        return 2.0 * (poisson_deviance(y, mu) - poisson_deviance(y + theta, mu + theta))

    def check_response(self, y: Array, weights: Array | None) -> None:
        """Not negative; warns when counts are not whole numbers."""
        check_counts("negative binomial", y)

    def start_mean(self, y: Array, weights: Array | None) -> Array:
        """`y`, and 1/6 for zeros."""
        return np.where(y > 0.0, y, 1.0 / 6.0)

    def start_extra(self, y: Array, weights: Array | None) -> float:
        """Twice the moment estimate about the common mean, between 0.1 and 100."""
        if self.theta is not None:
            return 0.0
        mean = float(np.average(y, weights=weights))
        variance = float(np.average((y - mean) ** 2, weights=weights))
        excess = max(variance - mean, 1e-10)
        return float(np.log(np.clip(2.0 * mean * mean / excess, 0.1, 100.0)))

    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """Poisson counts whose means are gamma numbers; weights do not matter."""
        theta = self._theta(extra)
        return rng.poisson(rng.gamma(theta, mean / theta)).astype(np.float64)

    def valid_mean(self, mu: Array) -> bool:
        """``0 < mu < inf``."""
        return all_positive(mu)

    def _theta(self, extra: float) -> float:
        return parameter(extra) if self.theta is None else self.theta
