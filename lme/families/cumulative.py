"""Distribution functions of the families: a row of `DISTRIBUTIONS` each.

The closed forms are those of Johnson, Kotz & Balakrishnan (1994), Continuous Univariate
Distributions, 2nd ed., and of Johnson, Kemp & Kotz (2005), Univariate Discrete
Distributions, 3rd ed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from lme.errors import OptionError
from lme.families.base import Family, parameter
from lme.families.negative_binomial import NegativeBinomial

Array = NDArray[np.float64]
Function = Callable[[Family, Array, Array, Array, float], Array]


@dataclass(frozen=True)
class Distribution:
    """What is needed to find quantiles.

    Attributes
    ----------
    cumulative : callable
        ``P(Y <= y)`` of family, y, mean, weights (an array) and the extra parameter.
    support : {"counts", "proportions", "positive", "real"}
        Proportions are those of `weights` trials.
    """

    cumulative: Function
    support: str


def distribution(family: Family) -> Distribution:
    """The distribution of a family.

    Raises
    ------
    OptionError
        For a family that has no row in `DISTRIBUTIONS`.

    Examples
    --------
    >>> from lme.families import Poisson
    >>> one = np.ones(1)
    >>> distribution(Poisson()).cumulative(Poisson(), one, 2 * one, one, 0.0).round(4)
    array([0.406])
    """
    if family.name not in DISTRIBUTIONS:
        raise OptionError(
            f"The distribution function of the family {family.name!r} is not known.",
            f"It is for {', '.join(DISTRIBUTIONS)}.",
        )
    return DISTRIBUTIONS[family.name]


def _bernoulli(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    return np.where(y < 0.0, 0.0, np.where(y < 1.0, 1.0 - mean, 1.0))


def _binomial(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    # 1e-9 of a success: a proportion times the trials is a whole number but for that.
    successes = np.floor(y * weights + 1e-9)
    left = weights - successes
    inside = special.betainc(
        np.maximum(left, 0.5), np.maximum(successes, 0.0) + 1.0, 1.0 - mean
    )
    return np.where(successes < 0.0, 0.0, np.where(left > 0.0, inside, 1.0))


def _poisson(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    return np.where(y < 0.0, 0.0, special.pdtr(np.floor(np.maximum(y, 0.0)), mean))


def _negative_binomial(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    known = family.theta if isinstance(family, NegativeBinomial) else None
    theta = parameter(extra) if known is None else known
    share = theta / (theta + mean)
    inside = special.betainc(theta, np.floor(np.maximum(y, 0.0)) + 1.0, share)
    return np.where(y < 0.0, 0.0, inside)


def _gamma(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    shape = family.precision(weights, extra)
    return np.asarray(special.gammainc(shape, shape * np.maximum(y, 0.0) / mean))


def _inverse_gaussian(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    size = family.precision(weights, extra)
    y = np.maximum(y, np.finfo(float).tiny)
    root = np.sqrt(size / y)
    upper = special.ndtr(root * (y / mean - 1.0))
    # The exponential alone overflows where the other factor is next to nothing.
    tail = np.exp(2.0 * size / mean + special.log_ndtr(-root * (y / mean + 1.0)))
    return np.asarray(upper + tail)


def _gaussian(
    family: Family, y: Array, mean: Array, weights: Array, extra: float
) -> Array:
    return np.asarray(
        special.ndtr((y - mean) * np.sqrt(family.precision(weights, extra)))
    )


DISTRIBUTIONS: dict[str, Distribution] = {
    "bernoulli": Distribution(_bernoulli, "counts"),
    "binomial": Distribution(_binomial, "proportions"),
    "poisson": Distribution(_poisson, "counts"),
    "gamma": Distribution(_gamma, "positive"),
    "inverse_gaussian": Distribution(_inverse_gaussian, "positive"),
    "gaussian": Distribution(_gaussian, "real"),
    "negative_binomial": Distribution(_negative_binomial, "counts"),
}
"""Distributions by the name of the family."""
