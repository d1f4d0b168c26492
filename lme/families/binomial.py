"""Successes in a number of trials, and the case of one trial.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   chapter 4. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lme.errors import DataError
from lme.families.base import Family, Pointwise
from lme.families.binary import binomial_pointwise
from lme.families.checks import (
    check_finite,
    not_whole,
    refuse,
    warn_fractional,
)
from lme.families.links import NEAREST
from lme.families.saturated import binomial_saturated, poisson_deviance

Array = NDArray[np.float64]

_SMALLEST, _LARGEST = 1e-300, 1.0 - 2.0**-53


@dataclass(frozen=True, init=False)
class Binomial(Family):
    """Proportion `y` of successes in `weights` trials, with variance mu (1 - mu).

    Parameters
    ----------
    link : {"logit", "probit", "cloglog", "cauchit", "log"} or Link
        The link.

    Examples
    --------
    >>> point = Binomial().pointwise(np.array([1.0]), None, np.array([0.0]))
    >>> point.deviance, point.g, point.W
    (array([1.38629436]), array([-1.]), array([0.25]))
    """

    name = "binomial"
    links = ("logit", "probit", "cloglog", "cauchit", "log")

    @property
    def canonical(self) -> bool:
        """True for the logit."""
        return self.link.name == "logit"

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
        """Deviance and derivatives; see `lme.families.binary`."""
        if data_term is None:
            data_term = self.data_term(y, weights)
        return binomial_pointwise(self.link.name, y, weights, eta, order, data_term)

    def data_term(self, y: Array, weights: Array | None) -> Array | float:
        """``2 w (y log y + (1-y) log(1-y))``; the number 0 for 0/1 responses."""
        if ((y == 0.0) | (y == 1.0)).all():
            return 0.0
        term = 2.0 * (special.xlogy(y, y) + special.xlog1py(1.0 - y, -y))
        return np.asarray(term if weights is None else term * weights)

    def row_constants(
        self, y: Array, weights: Array | None, extra: float = 0.0
    ) -> Array:
        """-2 log of the binomial probabilities at the observed proportions.

        Counts that are not whole have no probability; the gamma function then stands
        for the factorials in the binomial coefficient.
        """
        trials = np.ones_like(y) if weights is None else weights
        return -2.0 * binomial_saturated(trials * y, trials)

    def variance(self, mu: Array, extra: float = 0.0) -> Array:
        """``mu (1 - mu)``."""
        return mu * (1.0 - mu)

    def unit_deviance(self, y: Array, mu: Array, extra: float = 0.0) -> Array:
        """``2 (y log(y/mu) + (1-y) log((1-y)/(1-mu)))``."""
        return 2.0 * (poisson_deviance(y, mu) + poisson_deviance(1.0 - y, 1.0 - mu))

    def check_response(self, y: Array, weights: Array | None) -> None:
        """Proportions in [0, 1]; warns when successes are not whole numbers."""
        check_finite(y)
        refuse(
            (y < 0.0) | (y > 1.0),
            y,
            "A binomial response is a proportion between 0 and 1, or 0/1.",
            "For counts write cbind(successes, failures) on the left, or divide by"
            " the trials and pass them as weights=.",
        )
        successes = y if weights is None else y * weights
        warn_fractional(
            successes, "successes", "Pass the numbers of trials as weights=."
        )

    def start_mean(self, y: Array, weights: Array | None) -> Array:
        """``(w y + 1/2) / (w + 1)``."""
        trials = 1.0 if weights is None else weights
        return np.asarray((trials * y + 0.5) / (trials + 1.0))

    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """Proportions of successes; 0 where there are no trials.

        Raises
        ------
        DataError
            When numbers of trials are not whole.
        """
        if weights is None:
            return rng.binomial(1, mean).astype(np.float64)
        bad = not_whole(weights)
        if bad.any():
            raise DataError(
                f"A weight is {weights[bad][0]:g}.",
                "Weights of a binomial family are numbers of trials to draw from.",
                "Fit with whole weights to simulate from the model.",
            )
        trials = np.round(weights).astype(np.int64)
        return np.asarray(rng.binomial(trials, mean) / np.maximum(trials, 1))

    def mean(self, eta: Array) -> Array:
        """Mean strictly between 0 and 1, so that residuals at it are finite."""
        return np.clip(self.link.mean(eta), _SMALLEST, _LARGEST)

    def valid_mean(self, mu: Array) -> bool:
        """``0 <= mu <= 1``: means rounded to 0 or 1 are harmless in eta."""
        return bool(((mu >= 0.0) & (mu <= 1.0)).all())

    def valid_eta(self, eta: Array) -> bool:
        """Finite, and negative under the log link."""
        bound = -NEAREST if self.link.name == "log" else np.inf
        return bool((np.isfinite(eta) & (eta < bound)).all())


@dataclass(frozen=True, init=False)
class Bernoulli(Binomial):
    """Responses 0 and 1; weights count equal observations."""

    name = "bernoulli"

    def check_response(self, y: Array, weights: Array | None) -> None:
        """0 or 1."""
        check_finite(y)
        refuse(
            (y != 0.0) & (y != 1.0),
            y,
            "A Bernoulli response is 0 or 1.",
            "For proportions use family='binomial' with the trials as weights=.",
        )

    def draw(
        self,
        rng: np.random.Generator,
        mean: Array,
        weights: Array | None = None,
        extra: float = 0.0,
    ) -> Array:
        """0 or 1, whatever the weights."""
        return rng.binomial(1, mean).astype(np.float64)
