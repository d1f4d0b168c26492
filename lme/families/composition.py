"""Chain rules: from a family's natural scale to the linear predictor.

Families with a positive mean are simplest in ``s = log mu``, the Gaussian in
``s = mu``. What they know there is carried to ``eta`` by the derivatives of
``s(eta)``, which a link has in closed form; with ``D`` the deviance and ``I`` half of
its expected second derivative in ``s``,

    g    = D' s'                       W  = I s'^2
    W_o  = D''/2 s'^2 + D'/2 s''       dW = I' s'^3 + 2 I s' s''
    dW_o = D'''/2 s'^3 + 3 D''/2 s' s'' + D'/2 s'''.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.families.base import ExtraDerivatives, Pointwise
from lme.families.links import LIMIT, NEAREST, Link, Log, Power

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scale:
    """A natural scale ``s(eta)`` with three derivatives, each of shape (n,).

    Attributes
    ----------
    value : ndarray
        ``s``.
    first, second, third : ndarray or None
        Its derivatives; all None when ``s = eta``.
    invalid : ndarray of bool or None
        Where `eta` has no valid mean, and `value` is a stand-in; None for nowhere.
    """

    value: Array
    first: Array | None = None
    second: Array | None = None
    third: Array | None = None
    invalid: NDArray[np.bool_] | None = None


def log_mean(link: Link, eta: Array, limit: float = LIMIT, order: int = 2) -> Scale:
    """``s = log mu`` for families with a positive mean.

    Parameters
    ----------
    link : Link
        The log and power links in closed form, others by their derivatives.
    eta : ndarray, shape (n,)
        Linear predictor.
    limit : float
        Bound on ``|s|`` under the log link.
    order : int
        0 for the value alone.
    """
    if isinstance(link, Log):
        if eta.size and max(eta.max(), -eta.min()) > limit:
            return Scale(np.clip(eta, -limit, limit))
        return Scale(eta)
    if not isinstance(link, Power):
        return _log_of_any(link, eta, order)
    invalid = ~(eta > NEAREST)
    if invalid.any():
        eta = np.where(invalid, 1.0, eta)
    value = link.exponent * np.log(eta)
    outside = invalid if invalid.any() else None
    if order == 0:
        return Scale(value, invalid=outside)
    first = link.exponent / eta
    second = -first / eta
    return Scale(value, first, second, -2.0 * second / eta, outside)


def _log_of_any(link: Link, eta: Array, order: int) -> Scale:
    """`log_mean` by the derivatives of a link that a user has written."""
    invalid = ~link.valid_eta(eta)
    mean = link.mean(np.where(invalid, 1.0, eta))
    invalid |= ~(mean > 0)
    outside = invalid if invalid.any() else None
    if outside is not None:
        eta, mean = np.where(invalid, 1.0, eta), np.where(invalid, 1.0, mean)
    if order == 0:
        return Scale(np.log(mean), invalid=outside)
    r1, r2, r3 = (d(eta) / mean for d in (link.first, link.second, link.third))
    second = r2 - r1 * r1
    third = r3 - 3.0 * r1 * second - r1**3
    return Scale(np.log(mean), r1, second, third, outside)


def mean_scale(link: Link, eta: Array, limit: float = LIMIT, order: int = 2) -> Scale:
    """``s = mu``, for families whose mean may have any sign."""
    if isinstance(link, Power) and link.exponent == 1.0:
        return Scale(eta)
    valid = link.valid_eta(eta)
    outside = None if valid.all() else ~valid
    if outside is not None:
        eta = np.where(valid, eta, 1.0)
    if isinstance(link, Log):
        eta = np.clip(eta, -limit, limit)
    if order == 0:
        return Scale(link.mean(eta), invalid=outside)
    return Scale(
        link.mean(eta), link.first(eta), link.second(eta), link.third(eta), outside
    )


def through(
    scale: Scale, point: Pointwise, order: int, canonical: bool = False
) -> Pointwise:
    """Carry a `Pointwise` in ``s`` to one in ``eta``.

    With `canonical` observed weights are the expected ones, not equal to rounding.
    """
    deviance = point.deviance
    if scale.invalid is not None:
        deviance = np.where(scale.invalid, np.inf, deviance)
        point = Pointwise(deviance, point.g, point.W, point.dW, point.Wo, point.dWo)
    if order == 0:
        return Pointwise(deviance)
    s1, s2, s3 = scale.first, scale.second, scale.third
    if s1 is None or s2 is None or s3 is None:
        return point if order == 2 else Pointwise(deviance, point.g, point.W)
    square = s1 * s1
    g, W = point.g * s1, point.W * square
    if order == 1:
        return Pointwise(deviance, g, W)
    dW = (point.dW * square + 2.0 * point.W * s2) * s1
    if canonical:
        return Pointwise(deviance, g, W, dW, W, dW)
    Wo = point.Wo * square + 0.5 * point.g * s2
    dWo = (point.dWo * square + 3.0 * point.Wo * s2) * s1 + 0.5 * point.g * s3
    return Pointwise(deviance, g, W, dW, Wo, dWo)


def through_extra(scale: Scale, extra: ExtraDerivatives) -> ExtraDerivatives:
    """Carry `ExtraDerivatives` in ``s`` to those in ``eta``."""
    s1, s2 = scale.first, scale.second
    if s1 is None or s2 is None:
        return extra
    square = s1 * s1
    return ExtraDerivatives(
        extra.deviance,
        extra.g * s1,
        extra.W * square,
        extra.Wo * square + 0.5 * extra.g * s2,
        extra.constant,
    )
