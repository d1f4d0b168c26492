"""Log-probabilities of success and failure, with three derivatives, for each link.

With ``A = log mu`` and ``B = log(1 - mu)`` the deviance of a binomial proportion is
``-2 w (y A + (1 - y) B)`` up to a constant, and

    g = -2 w (y A' + (1-y) B'),  W_o = -w (y A'' + (1-y) B''),  W = -w A' B',

so that stable ``A`` and ``B`` are all that a link has to provide: neither a mean
rounded to 0 or 1 nor a variance of 0 ever appears.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lme.families.base import Pointwise, absent
from lme.families.links import LIMIT, NEAREST

Array = NDArray[np.float64]

_SQRT_HALF = np.sqrt(0.5)
_SQRT_2_OVER_PI = np.sqrt(2.0 / np.pi)
#: Where 1 + A'' of the probit has lost nine digits to cancellation.
_FAR = 25.0


@dataclass(frozen=True, slots=True)
class LogProbabilities:
    """``A = log mu``, ``B = log(1 - mu)`` and derivatives in eta, each (n,).

    `invalid` marks rows without a valid mean; their other entries are stand-ins.
    """

    a: Array
    b: Array
    a1: Array = field(default_factory=absent)
    b1: Array = field(default_factory=absent)
    a2: Array = field(default_factory=absent)
    b2: Array = field(default_factory=absent)
    a3: Array = field(default_factory=absent)
    b3: Array = field(default_factory=absent)
    invalid: NDArray[np.bool_] | None = None


def probit(eta: Array, order: int) -> LogProbabilities:
    """Normal distribution function; one scaled error function serves both tails."""
    t = np.abs(eta)
    negative = eta < 0.0
    scaled = special.erfcx(_SQRT_HALF * t)
    bell = np.exp(-0.5 * t * t)
    below = np.log(0.5 * scaled) - 0.5 * t * t
    above = np.log1p(-0.5 * scaled * bell)
    a, b = np.where(negative, below, above), np.where(negative, above, below)
    if order == 0:
        return LogProbabilities(a, b)
    # Hazards phi / Phi at -t and at t.
    low = _SQRT_2_OVER_PI / scaled
    high = 0.5 * _SQRT_2_OVER_PI * bell / (1.0 - 0.5 * scaled * bell)
    a1, b1 = np.where(negative, low, high), -np.where(negative, high, low)
    if order == 1:
        return LogProbabilities(a, b, a1, b1)
    low2, high2 = -low * (low - t), -high * (high + t)
    low3 = -low2 * (low - t) - low * (1.0 + low2)
    high3 = -high2 * (high + t) - high * (1.0 + high2)
    if t.size and t.max() > _FAR:
        low2, low3 = _far_probit(t, low2, low3)
    return LogProbabilities(
        *(a, b, a1, b1),
        *(np.where(negative, low2, high2), np.where(negative, high2, low2)),
        *(np.where(negative, low3, high3), -np.where(negative, high3, low3)),
    )


def _far_probit(t: Array, second: Array, third: Array) -> tuple[Array, Array]:
    """Asymptotic derivatives of log Phi at ``-t``, where differences lose all digits.

    From ``phi(t) / Phi(-t) - t = 1/t - 2/t^3 + 10/t^5 - 74/t^7 + 706/t^9 - 8162/t^11``.
    """
    far = t > _FAR
    r = 1.0 / np.where(far, t, _FAR)
    s = r * r
    series2 = s * (-1.0 + s * (6.0 + s * (-50.0 + s * (518.0 - s * 6354.0))))
    series3 = r * s * (2.0 + s * (-24.0 + s * (300.0 + s * (-4144.0 + s * 63540.0))))
    return np.where(far, -1.0 - series2, second), np.where(far, series3, third)


def cloglog(eta: Array, order: int) -> LogProbabilities:
    """``mu = 1 - exp(-x)`` with the hazard ``x = exp(eta)``."""
    x = np.exp(np.clip(eta, -LIMIT, LIMIT))
    decay = np.exp(-x)
    risen = -np.expm1(-x)
    a, b = np.log(risen), -x
    if order == 0:
        return LogProbabilities(a, b)
    a1 = x * decay / risen
    if order == 1:
        return LogProbabilities(a, b, a1, b)
    # 1 - x - x/(e^x - 1), by its Bernoulli series where it would cancel.
    s = np.minimum(x, 0.1)
    series = s * (
        -1 / 2 + s * (-1 / 12 + s**2 * (1 / 720 + s**2 * (-1 / 30240 + s**2 / 1209600)))
    )
    rest = np.where(x < 0.1, series, 1.0 - x - a1)
    a2 = a1 * rest
    return LogProbabilities(a, b, a1, b, a2, b, a2 * rest - a1 * (x + a2), b)


def cauchit(eta: Array, order: int) -> LogProbabilities:
    """Cauchy distribution function; ``arctan2`` keeps the digits of both tails."""
    mu = np.arctan2(1.0, -eta) / np.pi
    nu = np.arctan2(1.0, eta) / np.pi
    a, b = np.log(mu), np.log(nu)
    if order == 0:
        return LogProbabilities(a, b)
    t = 1.0 / (1.0 + eta * eta)
    first = t / np.pi
    a1, b1 = first / mu, -first / nu
    if order == 1:
        return LogProbabilities(a, b, a1, b1)
    second = -2.0 * eta * t
    third = (6.0 - 8.0 * t) * t
    a2, b2 = a1 * (second - a1), b1 * (second - b1)
    a3 = a1 * (third - 3.0 * a2 - a1 * a1)
    b3 = b1 * (third - 3.0 * b2 - b1 * b1)
    return LogProbabilities(a, b, a1, b1, a2, b2, a3, b3)


def log(eta: Array, order: int) -> LogProbabilities:
    """``mu = exp(eta)``, valid for ``eta < 0``."""
    invalid = ~(eta < -NEAREST)
    eta = np.where(invalid, -1.0, np.maximum(eta, -LIMIT))
    odds = 1.0 / np.expm1(-eta)
    one, zero = np.ones_like(eta), np.zeros_like(eta)
    b2 = -odds * (1.0 + odds)
    b3 = b2 * (1.0 + 2.0 * odds)
    return LogProbabilities(
        *(eta, np.log(-np.expm1(eta)), one, -odds, zero, b2, zero, b3), invalid
    )


#: The logit is not here: it has its own, faster path (`logit_pointwise`).
LOG_PROBABILITIES: dict[str, Callable[[Array, int], LogProbabilities]] = {
    "probit": probit,
    "cloglog": cloglog,
    "cauchit": cauchit,
    "log": log,
}


def logit_pointwise(
    y: Array, weights: Array | None, eta: Array, order: int, data_term: Array | float
) -> Pointwise:
    """Deviance and derivatives under the canonical link, from one exponential.

    ``D = 2 w (log(1 + exp(-|eta|)) + max(eta, 0) - y eta)`` plus the data term.
    """
    e = np.abs(eta)
    np.negative(e, out=e)
    np.exp(e, out=e)
    deviance = np.log1p(e)
    deviance += np.maximum(eta, 0.0)
    deviance -= y * eta
    deviance *= 2.0 if weights is None else 2.0 * weights
    if not isinstance(data_term, float) or data_term != 0.0:
        deviance += data_term
    if order == 0:
        return Pointwise(deviance)
    far = 1.0 / (1.0 + e)
    e *= far
    W = far * e
    mu = np.where(eta < 0.0, e, far)
    g = mu - y
    g *= 2.0
    if weights is not None:
        g *= weights
        W *= weights
    if order == 1:
        return Pointwise(deviance, g, W)
    dW = -2.0 * mu
    dW += 1.0
    dW *= W
    return Pointwise(deviance, g, W, dW, W, dW)


def binomial_pointwise(
    name: str,
    y: Array,
    weights: Array | None,
    eta: Array,
    order: int,
    data_term: Array | float,
) -> Pointwise:
    """Deviance and derivatives under the link called `name`."""
    if name == "logit":
        return logit_pointwise(y, weights, eta, order, data_term)
    p = LOG_PROBABILITIES[name](eta, order)
    w: Array | float = 1.0 if weights is None else weights
    wy = w * y
    wn = w - wy
    deviance = -2.0 * (wy * p.a + wn * p.b) + data_term
    if p.invalid is not None:
        deviance = np.where(p.invalid, np.inf, deviance)
    if order == 0:
        return Pointwise(deviance)
    g = -2.0 * (wy * p.a1 + wn * p.b1)
    W = -w * p.a1 * p.b1
    if order == 1:
        return Pointwise(deviance, g, W)
    dW = -w * (p.a2 * p.b1 + p.a1 * p.b2)
    Wo = -(wy * p.a2 + wn * p.b2)
    dWo = -(wy * p.a3 + wn * p.b3)
    return Pointwise(deviance, g, W, dW, Wo, dWo)
