"""Link functions ``eta = link(mu)`` with the derivatives of their inverses.

A link maps the mean ``mu`` of a response to the linear predictor ``eta``. The
likelihood and its gradient need the inverse and three of its derivatives; all are
written so that nothing overflows and nothing is NaN for any finite ``eta``.

References
----------
.. [1] McCullagh, P. & Nelder, J. A. (1989). Generalized Linear Models, 2nd ed.,
   sections 2.2.4 and 4.3.1. Chapman & Hall. doi:10.1007/978-1-4899-3242-6
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

#: exp of at most this many stays finite when multiplied by weights and responses.
LIMIT = 600.0
#: Linear predictors nearer to a pole than this count as being on it, so that the
#: third derivative of a power does not overflow.
NEAREST = 1e-50

_PHI0 = 1.0 / np.sqrt(2.0 * np.pi)


@dataclass(frozen=True)
class Link:
    """Contract of a link; ``eta`` and ``mu`` are float64 arrays of any shape."""

    name: str

    def __str__(self) -> str:
        return self.name

    def link(self, mu: Array) -> Array:
        """The linear predictor at the mean `mu`; infinite at a boundary."""
        raise NotImplementedError

    def mean(self, eta: Array) -> Array:
        """The mean at the linear predictor `eta`, inverse of `link`."""
        raise NotImplementedError

    def first(self, eta: Array) -> Array:
        """``d mu / d eta``."""
        raise NotImplementedError

    def second(self, eta: Array) -> Array:
        """``d^2 mu / d eta^2``."""
        raise NotImplementedError

    def third(self, eta: Array) -> Array:
        """``d^3 mu / d eta^3``."""
        raise NotImplementedError

    def valid_eta(self, eta: Array) -> Flags:
        """Where `eta` is in the domain of the inverse."""
        return np.isfinite(eta)

    def valid_mean(self, mu: Array) -> Flags:
        """Where `mu` is strictly inside the range of the inverse."""
        return np.isfinite(mu)


def _open_unit(mu: Array) -> Flags:
    return (mu > 0.0) & (mu < 1.0)


@dataclass(frozen=True)
class Logit(Link):
    """``eta = log(mu / (1 - mu))``.

    Examples
    --------
    >>> LINKS["logit"].mean(np.array([-700.0, 0.0, 700.0]))
    array([9.85967654e-305, 5.00000000e-001, 1.00000000e+000])
    """

    name: str = "logit"

    def link(self, mu: Array) -> Array:
        """Log odds."""
        return np.asarray(special.logit(mu))

    def mean(self, eta: Array) -> Array:
        """``1 / (1 + exp(-eta))``."""
        return np.asarray(special.expit(eta))

    def first(self, eta: Array) -> Array:
        """``mu (1 - mu)``, from ``exp(-|eta|)`` alone."""
        e = np.exp(-np.abs(eta))
        return np.asarray(e / (1.0 + e) ** 2)

    def second(self, eta: Array) -> Array:
        """``mu' (1 - 2 mu)``."""
        return -self.first(eta) * np.tanh(0.5 * eta)

    def third(self, eta: Array) -> Array:
        """``mu' (1 - 6 mu')``."""
        first = self.first(eta)
        return first * (1.0 - 6.0 * first)

    def valid_mean(self, mu: Array) -> Flags:
        """``0 < mu < 1``."""
        return _open_unit(mu)


@dataclass(frozen=True)
class Probit(Link):
    """``eta = Phi^-1(mu)``, the standard normal quantile."""

    name: str = "probit"

    def link(self, mu: Array) -> Array:
        """Normal quantile."""
        return np.asarray(special.ndtri(mu))

    def mean(self, eta: Array) -> Array:
        """Normal distribution function."""
        return np.asarray(special.ndtr(eta))

    def first(self, eta: Array) -> Array:
        """Normal density."""
        return np.asarray(_PHI0 * np.exp(-0.5 * eta * eta))

    def second(self, eta: Array) -> Array:
        """``-eta mu'``."""
        return -eta * self.first(eta)

    def third(self, eta: Array) -> Array:
        """``(eta^2 - 1) mu'``."""
        return (eta * eta - 1.0) * self.first(eta)

    def valid_mean(self, mu: Array) -> Flags:
        """``0 < mu < 1``."""
        return _open_unit(mu)


@dataclass(frozen=True)
class CLogLog(Link):
    """``eta = log(-log(1 - mu))``, the complementary log-log."""

    name: str = "cloglog"

    def link(self, mu: Array) -> Array:
        """Log of the cumulative hazard."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(-np.log1p(-mu)))

    def mean(self, eta: Array) -> Array:
        """``1 - exp(-exp(eta))``."""
        return np.asarray(-np.expm1(-self._hazard(eta)))

    def first(self, eta: Array) -> Array:
        """``x exp(-x)`` with ``x = exp(eta)``."""
        x = self._hazard(eta)
        return x * np.exp(-x)

    def second(self, eta: Array) -> Array:
        """``mu' (1 - x)``."""
        x = self._hazard(eta)
        return x * np.exp(-x) * (1.0 - x)

    def third(self, eta: Array) -> Array:
        """``mu' (1 - 3 x + x^2)``."""
        x = self._hazard(eta)
        return x * np.exp(-x) * (1.0 - 3.0 * x + x * x)

    def valid_mean(self, mu: Array) -> Flags:
        """``0 < mu < 1``."""
        return _open_unit(mu)

    @staticmethod
    def _hazard(eta: Array) -> Array:
        # exp(-x) is 0 long before x reaches exp(7), and x * x must stay finite.
        return np.asarray(np.exp(np.clip(eta, -LIMIT, 7.0)))


@dataclass(frozen=True)
class Cauchit(Link):
    """``eta = tan(pi (mu - 1/2))``, the Cauchy quantile."""

    name: str = "cauchit"

    def link(self, mu: Array) -> Array:
        """Cauchy quantile."""
        # tan(pi (mu - 1/2)) would lose the digits of a small mu.
        with np.errstate(divide="ignore"):
            return np.asarray(-1.0 / np.tan(np.pi * np.asarray(mu)))

    def mean(self, eta: Array) -> Array:
        """Cauchy distribution function."""
        return np.asarray(np.arctan2(1.0, -eta) / np.pi)

    def first(self, eta: Array) -> Array:
        """Cauchy density."""
        return np.asarray(1.0 / (np.pi * (1.0 + eta * eta)))

    def second(self, eta: Array) -> Array:
        """``-2 eta mu' / (1 + eta^2)``."""
        t = 1.0 / (1.0 + eta * eta)
        return -2.0 / np.pi * eta * t * t

    def third(self, eta: Array) -> Array:
        """``(6 eta^2 - 2) mu' / (1 + eta^2)^2``."""
        t = 1.0 / (1.0 + eta * eta)
        return (6.0 - 8.0 * t) * t * t / np.pi

    def valid_mean(self, mu: Array) -> Flags:
        """``0 < mu < 1``."""
        return _open_unit(mu)


@dataclass(frozen=True)
class Log(Link):
    """``eta = log(mu)``; the inverse is flat beyond ``|eta| = 600``."""

    name: str = "log"

    def link(self, mu: Array) -> Array:
        """Logarithm."""
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(mu))

    def mean(self, eta: Array) -> Array:
        """Exponential."""
        return np.asarray(np.exp(np.clip(eta, -LIMIT, LIMIT)))

    def first(self, eta: Array) -> Array:
        """Equal to the mean."""
        return self.mean(eta)

    def second(self, eta: Array) -> Array:
        """Equal to the mean."""
        return self.mean(eta)

    def third(self, eta: Array) -> Array:
        """Equal to the mean."""
        return self.mean(eta)

    def valid_mean(self, mu: Array) -> Flags:
        """``mu > 0``."""
        return mu > 0.0


@dataclass(frozen=True)
class Power(Link):
    """``mu = eta^c``: identity, inverse, square root and inverse square.

    Parameters
    ----------
    name : str
        Name of the link.
    exponent : float
        ``c``, the exponent of the inverse.

    Notes
    -----
    The inverse is defined for all `eta` when ``c = 1``, for ``eta != 0`` when
    ``c = -1`` and for ``eta > 0`` otherwise, where it is one-to-one.

    Examples
    --------
    >>> LINKS["sqrt"].mean(np.array([1.0, 3.0]))
    array([1., 9.])
    """

    exponent: float

    def link(self, mu: Array) -> Array:
        """``mu^(1 / c)``."""
        if self.exponent == 1.0:
            return np.array(mu, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.power(np.asarray(mu, float), 1.0 / self.exponent))

    def mean(self, eta: Array) -> Array:
        """``eta^c``; NaN outside the domain."""
        return self._derivative(eta, 1.0, self.exponent)

    def first(self, eta: Array) -> Array:
        """``c eta^(c-1)``."""
        c = self.exponent
        return self._derivative(eta, c, c - 1.0)

    def second(self, eta: Array) -> Array:
        """``c (c-1) eta^(c-2)``."""
        c = self.exponent
        return self._derivative(eta, c * (c - 1.0), c - 2.0)

    def third(self, eta: Array) -> Array:
        """``c (c-1) (c-2) eta^(c-3)``."""
        c = self.exponent
        return self._derivative(eta, c * (c - 1.0) * (c - 2.0), c - 3.0)

    def valid_eta(self, eta: Array) -> Flags:
        """All, ``eta != 0`` or ``eta > 0``."""
        if self.exponent == 1.0:
            return np.isfinite(eta)
        if self.exponent == -1.0:
            return np.isfinite(eta) & (np.abs(eta) > NEAREST)
        return np.isfinite(eta) & (eta > NEAREST)

    def valid_mean(self, mu: Array) -> Flags:
        """All, ``mu != 0`` or ``mu > 0``."""
        if self.exponent == 1.0:
            return np.isfinite(mu)
        return mu != 0.0 if self.exponent == -1.0 else mu > 0.0

    def _derivative(self, eta: Array, factor: float, power: float) -> Array:
        if factor == 0.0:
            return np.zeros_like(eta, dtype=np.float64)
        if power == 0.0:
            return np.full_like(eta, factor, dtype=np.float64)
        if power == 1.0:
            return factor * eta
        domain = self.valid_eta(eta)
        safe = np.where(domain, eta, 1.0)
        return np.where(domain, factor * np.power(safe, power), np.nan)


LINKS: dict[str, Link] = {
    "logit": Logit(),
    "probit": Probit(),
    "cloglog": CLogLog(),
    "cauchit": Cauchit(),
    "log": Log(),
    "identity": Power("identity", 1.0),
    "inverse": Power("inverse", -1.0),
    "sqrt": Power("sqrt", 2.0),
    "inverse_squared": Power("inverse_squared", -0.5),
}
