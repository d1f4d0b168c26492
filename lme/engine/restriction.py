"""Restrictions under which a profile likelihood is minimised.

A restriction says how all parameters of a criterion follow from the free ones and from
the value at which one quantity is held. Everything is explicit and smooth, so that the
restricted criterion has an exact gradient and its search needs no multipliers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Restriction(Protocol):
    """All m parameters ``x`` from r free ones and the value held, ``at``.

    Attributes
    ----------
    even : (r,) bool array
        Free parameters in which the restricted criterion is even.
    """

    even: Flags

    def expand(self, free: Array, at: float) -> Array:
        """``x``, (m,)."""

    def collapse(self, x: Array, at: float) -> Array:
        """The free parameters of a point that obeys the restriction, (r,)."""

    def tangent(self, free: Array, at: float) -> tuple[Array, Array]:
        """``dx / dfree`` (m, r) and ``dx / dat`` (m,)."""

    def bend(self, free: Array, at: float, gradient: Array) -> Array | float:
        """``sum_i gradient_i d2x_i / dfree2``, (r, r); 0 where x is linear."""


class Affine:
    """``x = offset + A free + at * along``, or with ``log(at)`` for `at`.

    Parameters
    ----------
    A : (m, r) array
    along, offset : (m,) arrays
    even : (r,) bool array
    logarithm : bool
    """

    def __init__(
        self,
        A: Array,
        along: Array,
        offset: Array,
        even: Flags,
        logarithm: bool = False,
    ) -> None:
        self.A, self.along, self.offset, self.even = A, along, offset, even
        self.logarithm = logarithm
        self._inverse = np.linalg.pinv(A)

    def _origin(self, at: float) -> Array:
        held = np.log(at) if self.logarithm else at
        return np.asarray(self.offset + held * self.along)

    def expand(self, free: Array, at: float) -> Array:
        """See `Restriction`."""
        return np.asarray(self._origin(at) + self.A @ free)

    def collapse(self, x: Array, at: float) -> Array:
        """See `Restriction`."""
        return np.asarray(self._inverse @ (x - self._origin(at)))

    def tangent(self, free: Array, at: float) -> tuple[Array, Array]:
        """See `Restriction`."""
        return self.A, self.along / at if self.logarithm else self.along

    def bend(self, free: Array, at: float, gradient: Array) -> float:
        """See `Restriction`."""
        return 0.0


def pinned(even: Flags, index: int, factor: float = 1.0, offset: float = 0.0) -> Affine:
    """One parameter held: ``x_index = offset + factor * at``.

    Parameters
    ----------
    even : (m,) bool array
        Of all parameters.
    index : int
    factor, offset : float
    """
    along, shift = np.zeros(even.size), np.zeros(even.size)
    along[index], shift[index] = factor, offset
    rest = np.delete(np.arange(even.size), index)
    return Affine(np.eye(even.size)[:, rest], along, shift, even[rest])


def zeros(even: Flags, indices: Any) -> Affine:
    """Some parameters held at zero, whatever `at`."""
    rest = np.delete(np.arange(even.size), indices)
    nothing = np.zeros(even.size)
    return Affine(np.eye(even.size)[:, rest], nothing, nothing, even[rest])


@dataclass
class Deviation:
    """A standard deviation held while sigma is free: ``x_i = factor at / sigma``.

    Attributes
    ----------
    all_even : (m,) bool array
        Of all parameters.
    index : int
        Of the relative standard deviation.
    scale : int
        Of log sigma.
    factor : float
    """

    all_even: Flags
    index: int
    scale: int
    factor: float
    even: Flags = field(init=False)

    def __post_init__(self) -> None:
        m = self.all_even.size
        self._rest = np.delete(np.arange(m), self.index)
        self._select = np.eye(m)[:, self._rest]
        self._column = self.scale - int(self.scale > self.index)
        self.even = self.all_even[self._rest]

    def expand(self, free: Array, at: float) -> Array:
        """See `Restriction`."""
        x = self._select @ free
        x[self.index] = self.factor * at * np.exp(-x[self.scale])
        return np.asarray(x)

    def collapse(self, x: Array, at: float) -> Array:
        """See `Restriction`."""
        return x[self._rest]

    def tangent(self, free: Array, at: float) -> tuple[Array, Array]:
        """See `Restriction`."""
        relative = self.factor * float(np.exp(-free[self._column]))
        J = self._select.copy()
        J[self.index, self._column] = -relative * at
        along = np.zeros(len(J))
        along[self.index] = relative
        return J, along

    def bend(self, free: Array, at: float, gradient: Array) -> Array:
        """See `Restriction`."""
        out = np.zeros((free.size, free.size))
        relative = self.factor * at * float(np.exp(-free[self._column]))
        out[self._column, self._column] = gradient[self.index] * relative
        return out


@dataclass
class Correlation:
    """The second row of a factor held in its direction.

    ``(x_i, x_j) = t (sin at, cos at)`` with t free: the correlation of the first two
    effects is ``sin at`` where t and the first diagonal entry are positive.

    Attributes
    ----------
    all_even : (m,) bool array
        Of all parameters.
    first : int
        Of the first diagonal entry.
    across, own : int
        Of the entries i and j; t takes the place of i.
    """

    all_even: Flags
    first: int
    across: int
    own: int
    even: Flags = field(init=False)

    def __post_init__(self) -> None:
        m = self.all_even.size
        self._rest = np.delete(np.arange(m), self.own)
        self._select = np.eye(m)[:, self._rest]
        self._column = self.across - int(self.across > self.own)
        self.even = self.all_even[self._rest].copy()
        self.even[self._column] = False

    def feasible(self, free: Array) -> bool:
        """Whether the correlation is ``sin at``, and not minus that."""
        first = free[self.first - int(self.first > self.own)]
        return bool(first * free[self._column] >= 0.0)

    def expand(self, free: Array, at: float) -> Array:
        """See `Restriction`."""
        x = self._select @ free
        t = free[self._column]
        x[self.across], x[self.own] = t * np.sin(at), t * np.cos(at)
        return np.asarray(x)

    def collapse(self, x: Array, at: float) -> Array:
        """See `Restriction`."""
        free = x[self._rest]
        free[self._column] = np.hypot(x[self.across], x[self.own])
        return free

    def tangent(self, free: Array, at: float) -> tuple[Array, Array]:
        """See `Restriction`."""
        sine, cosine, t = float(np.sin(at)), float(np.cos(at)), free[self._column]
        J = self._select.copy()
        J[self.across, self._column], J[self.own, self._column] = sine, cosine
        along = np.zeros(len(J))
        along[self.across], along[self.own] = t * cosine, -t * sine
        return J, along

    def bend(self, free: Array, at: float, gradient: Array) -> float:
        """See `Restriction`."""
        return 0.0


@dataclass
class Implied:
    """One parameter that follows from the others and the value held.

    Attributes
    ----------
    all_even : (m,) bool array
    index : int
    solve : callable
        ``(x, at)`` to ``x_index``; it may not look at ``x_index`` itself.
    """

    all_even: Flags
    index: int
    solve: Callable[[Array, float], float]
    even: Flags = field(init=False)

    def __post_init__(self) -> None:
        m = self.all_even.size
        self._rest = np.delete(np.arange(m), self.index)
        self._select = np.eye(m)[:, self._rest]
        self.even = np.zeros(m - 1, dtype=bool)

    def expand(self, free: Array, at: float) -> Array:
        """See `Restriction`."""
        x = self._select @ free
        x[self.index] = self.solve(x, at)
        return np.asarray(x)

    def collapse(self, x: Array, at: float) -> Array:
        """See `Restriction`."""
        return x[self._rest]

    def tangent(self, free: Array, at: float) -> tuple[Array, Array]:
        """See `Restriction`; the derivatives of `solve` are central differences."""
        x, step = self._select @ free, 1e-6
        J = self._select.copy()
        for column, i in enumerate(self._rest):
            ends = []
            for sign in (1.0, -1.0):
                y = x.copy()
                y[i] += sign * step
                ends.append(self.solve(y, at))
            J[self.index, column] = (ends[0] - ends[1]) / (2.0 * step)
        along = np.zeros(len(J))
        along[self.index] = self.solve(x, at + step) - self.solve(x, at - step)
        return J, along / (2.0 * step)

    def bend(self, free: Array, at: float, gradient: Array) -> float:
        """See `Restriction`; left out."""
        return 0.0


class FullPoint(Protocol):
    """An evaluation in all parameters."""

    theta: Array
    value: float
    gradient: Array

    def curvature(self) -> Array:
        """Model of the Hessian, (m, m)."""


@dataclass
class HeldPoint:
    """A criterion under a restriction, at one point.

    Attributes
    ----------
    theta : (r,) array
        The free parameters.
    value : float
    gradient : (r,) array
    slope : float
        Derivative in the value held, the free parameters staying.
    full : FullPoint
        The evaluation in all parameters.
    """

    theta: Array
    value: float
    gradient: Array
    slope: float
    full: FullPoint
    restriction: Restriction
    at: float

    def curvature(self) -> Array:
        """Model of the Hessian in the free parameters, (r, r)."""
        J, _ = self.restriction.tangent(self.theta, self.at)
        bend = self.restriction.bend(self.theta, self.at, self.full.gradient)
        return np.asarray(J.T @ self.full.curvature() @ J + bend)

    def path(self) -> tuple[Array, Array, float]:
        """Hessian, how the optimum moves, and curvature of the profile.

        Returns
        -------
        hessian : (r, r) array
        motion : (r,) array
            ``dfree / dat`` along the constrained optimum.
        curve : float
            Second derivative of the profile in the value held.
        """
        J, along = self.restriction.tangent(self.theta, self.at)
        H = self.full.curvature()
        bend = self.restriction.bend(self.theta, self.at, self.full.gradient)
        hessian = np.asarray(J.T @ H @ J + bend)
        cross = J.T @ (H @ along)
        # A parameter on the boundary, or one without information, stays where it is.
        values, vectors = np.linalg.eigh(hessian)
        keep = values > 1e-9 * max(float(np.abs(values).max(initial=0.0)), 1e-300)
        part = vectors[:, keep].T @ cross
        motion = -vectors[:, keep] @ (part / values[keep])
        return hessian, motion, float(along @ H @ along + cross @ motion)


def held(
    evaluate: Callable[[Array], FullPoint], restriction: Restriction, at: float
) -> Callable[[Array], HeldPoint]:
    """The restricted criterion as a function of the free parameters."""

    def at_free(free: Array) -> HeldPoint:
        full = evaluate(restriction.expand(free, at))
        J, along = restriction.tangent(free, at)
        gradient = J.T @ full.gradient
        slope = float(along @ full.gradient)
        return HeldPoint(free, full.value, gradient, slope, full, restriction, at)

    return at_free
