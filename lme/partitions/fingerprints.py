"""Numbers by which rows are recognised, whatever partitions they are in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Hashes = NDArray[np.uint64]

#: Multiplier from row to row: odd, so that it has an inverse modulo 2^64.
_STEP = 0x9E3779B97F4A7C15
_MASK = 2**64 - 1


@dataclass(frozen=True)
class Fingerprint:
    """Of the responses and weights of some rows, in their order.

    Attributes
    ----------
    count : int
    response, weights : int
        Polynomials in a fixed number modulo 2^64, whose coefficients are hashes of the
        values; those of the weights 0 where all are 1, as without weights.
    total : float
        Sum of the responses.
    """

    count: int
    response: int
    weights: int
    total: float

    def __add__(self, other: Fingerprint) -> Fingerprint:
        shift = pow(_STEP, self.count, 2**64)
        return Fingerprint(
            self.count + other.count,
            (self.response + shift * other.response) & _MASK,
            (self.weights + shift * other.weights) & _MASK,
            self.total + other.total,
        )


def fingerprint(y: Array, weights: Array | None) -> Fingerprint:
    """The fingerprint of rows.

    Examples
    --------
    >>> y = np.arange(5.0)
    >>> both = fingerprint(y[:2], None) + fingerprint(y[2:], None)
    >>> both.response == fingerprint(y, None).response
    True
    """
    powers = np.ones(y.size, dtype=np.uint64)
    if y.size > 1:
        powers[1:] = np.uint64(_STEP)
        np.multiply.accumulate(powers, out=powers)
    own = 0
    if weights is not None:
        own = _polynomial(_hash(weights) - _hash(np.ones(1)), powers)
    return Fingerprint(y.size, _polynomial(_hash(y), powers), own, float(y.sum()))


def _polynomial(hashes: Hashes, powers: Hashes) -> int:
    return int((hashes * powers).sum(dtype=np.uint64))


def _hash(values: Array) -> Hashes:
    return mixed(np.ascontiguousarray(values + 0.0, dtype="<f8").view(np.uint64))


def mixed(x: Hashes) -> Hashes:
    """Numbers of 64 bits in which each bit depends on all bits of `x`.

    Notes
    -----
    The finalizer of splitmix64 (Steele, Lea and Flood 2014,
    doi:10.1145/2714064.2660195).
    """
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        x = (x ^ (x >> np.uint64(shift))) * np.uint64(factor)
    return x ^ (x >> np.uint64(31))
