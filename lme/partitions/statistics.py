"""Statistics of columns that add up over partitions.

References
----------
Chan, Golub and LeVeque (1983), Algorithms for computing the sample variance, Am. Stat.
37:242, doi:10.1080/00031305.1983.10483115.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.engine.accumulation import triangular

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Moments:
    """Count, mean, squares about the mean, total and range of a column.

    Attributes
    ----------
    count, missing : int
        Values that are there, and those that are not.
    mean, squares, total : float
    low, high : float
        Smallest and largest value; infinite without any.
    """

    count: int = 0
    missing: int = 0
    mean: float = 0.0
    squares: float = 0.0
    total: float = 0.0
    low: float = np.inf
    high: float = -np.inf

    def __add__(self, other: Moments) -> Moments:
        count = self.count + other.count
        absent = self.missing + other.missing
        if not other.count or not self.count:
            one = self if self.count else other
            return Moments(
                one.count, absent, one.mean, one.squares, one.total, one.low, one.high
            )
        gap = other.mean - self.mean
        share = other.count / count
        return Moments(
            count,
            absent,
            self.mean + gap * share,
            self.squares + other.squares + gap * gap * self.count * share,
            self.total + other.total,
            min(self.low, other.low),
            max(self.high, other.high),
        )


def moments_of(x: Array) -> Moments:
    """Moments of a vector, NaN counting as missing."""
    present = x[~np.isnan(x)]
    absent = x.size - present.size
    if not present.size:
        return Moments(missing=absent)
    with np.errstate(invalid="ignore", over="ignore"):
        total = float(present.sum())
        mean = total / present.size
        mean += float((present - mean).sum()) / present.size
        squares = float(((present - mean) ** 2).sum())
    low, high = float(present.min()), float(present.max())
    return Moments(present.size, absent, mean, squares, total, low, high)


def chebyshev_triangle(x: Array, low: float, high: float, degree: int) -> Array:
    """Triangular factor of the Chebyshev polynomials of degree 0 to `degree` at x."""
    t = (2.0 * x - (low + high)) / (high - low)
    values = np.polynomial.chebyshev.chebvander(t, degree)
    return triangular(np.asarray(values, dtype=np.float64))


def recurrence(R: Array, moments: Moments) -> dict[str, Any]:
    """The state of ``poly`` from a triangular factor of Chebyshev polynomials.

    Parameters
    ----------
    R : (d + 1, d + 1) array
        Of the polynomials on the range of the values.
    moments : Moments
        Of the values.

    Returns
    -------
    dict
        What `lme.formula.polynomials.evaluate` needs.

    Notes
    -----
    The orthonormal polynomials are ``T R^-1`` with T the Chebyshev ones, and x times a
    polynomial is a matrix M on the coefficients in T. So ``x Q = Q H`` with
    ``H = R M R^-1``: no row is needed.
    """
    degree = R.shape[0] - 1
    middle = 0.5 * (moments.low + moments.high) - moments.mean
    half = 0.5 * (moments.high - moments.low)
    M = np.zeros((degree + 1, degree))
    for k in range(degree):
        M[k, k] += middle
        # t T_0 = T_1, and t T_k = (T_{k-1} + T_{k+1}) / 2.
        share = half if k == 0 else 0.5 * half
        M[k + 1, k] += share
        if k:
            M[k - 1, k] += share
    inverse = np.linalg.inv(R[:degree, :degree]) if degree else np.zeros((0, 0))
    return {
        "center": moments.mean,
        "h": R @ M @ inverse,
        "first": 1.0 / np.sqrt(moments.count),
    }


def ordered_keys(x: Array) -> NDArray[np.uint64]:
    """Whole numbers in the order of floating-point numbers.

    Examples
    --------
    >>> keys = ordered_keys(np.array([-np.inf, -1.0, -0.0, 0.0, 1e-300, 2.0]))
    >>> bool((np.diff(keys.astype(object)) >= 0).all())
    True
    """
    # Adding zero makes the negative zero a positive one.
    bits = np.ascontiguousarray(x + 0.0).view(np.uint64)
    top = np.uint64(1) << np.uint64(63)
    return np.where(bits & top, ~bits, bits | top)


@dataclass(frozen=True, slots=True)
class Search:
    """Where an order statistic is known to be.

    Attributes
    ----------
    rank : int
        Number of values below it within the bounds.
    low, high : int
        Bounds of its key, both inclusive.
    count : int
        Values within the bounds.
    """

    rank: int
    low: int
    high: int
    count: int


class OrderStatistics:
    """Exact order statistics of a column, in a few passes over partitions.

    Parameters
    ----------
    ranks : sequence of int
        From 0, among the values within the bounds.
    low, high : float
        Values outside do not count.
    count : int
        Values within.

    Notes
    -----
    Each pass counts the values in 65,536 equal parts of what is left of the range of
    keys, until few are left; these are collected.
    """

    PARTS = 2**16
    FEW = 20_000

    def __init__(self, ranks: list[int], low: float, high: float, count: int) -> None:
        first, last = (int(k) for k in ordered_keys(np.array([low, high])))
        self.searches = [Search(rank, first, last, count) for rank in ranks]

    def _bounds(self) -> list[tuple[int, int, bool]]:
        """Distinct bounds, and whether the values between them are few."""
        found = {(s.low, s.high): s.count <= self.FEW for s in self.searches}
        return [(low, high, few) for (low, high), few in found.items()]

    @staticmethod
    def _width(low: int, high: int) -> int:
        return (high - low) // OrderStatistics.PARTS + 1

    def look(self, x: Array) -> list[NDArray[Any]]:
        """Counts, or the values where few are left, one array a pair of bounds."""
        keys = ordered_keys(x[~np.isnan(x)])
        out: list[NDArray[Any]] = []
        for low, high, few in self._bounds():
            # A value that is known already may occur any number of times.
            known = low == high
            inside = keys[(keys >= np.uint64(low)) & (keys <= np.uint64(high))]
            inside = inside[:0] if known else inside
            if few:
                out.append(inside)
                continue
            width = np.uint64(self._width(low, high))
            part = ((inside - np.uint64(low)) // width).astype(np.intp)
            out.append(np.bincount(part, minlength=self.PARTS))
        return out

    def merge(self, a: list[NDArray[Any]], b: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """What two sets of partitions show together."""
        return [
            np.concatenate([x, y]) if few else x + y
            for (_, _, few), x, y in zip(self._bounds(), a, b, strict=True)
        ]

    def narrow(self, seen: list[NDArray[Any]]) -> Array | None:
        """The order statistics, or None when another pass is needed."""
        known = {
            (low, high): found
            for (low, high, _), found in zip(self._bounds(), seen, strict=True)
        }
        if all(s.count <= self.FEW for s in self.searches):
            keys = [
                s.low if s.low == s.high else int(np.sort(known[s.low, s.high])[s.rank])
                for s in self.searches
            ]
            return _values_of(np.array(keys, dtype=np.uint64))
        nearer = []
        for s in self.searches:
            if s.count <= self.FEW:
                nearer.append(s)
                continue
            counts = known[s.low, s.high]
            ends = np.cumsum(counts)
            part = int(np.searchsorted(ends, s.rank, side="right"))
            width = self._width(s.low, s.high)
            low = s.low + part * width
            below = int(ends[part - 1]) if part else 0
            high = min(low + width - 1, s.high)
            count = 1 if low == high else int(counts[part])
            nearer.append(Search(s.rank - below, low, high, count))
        self.searches = nearer
        return None


def _values_of(keys: NDArray[np.uint64]) -> Array:
    top = np.uint64(1) << np.uint64(63)
    bits = np.where(keys & top, keys & ~top, ~keys)
    return bits.view(np.float64)
