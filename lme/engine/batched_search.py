"""Trust-region Newton for many criteria at once, the replicates along the last axis.

The steps are those of `lme.search.newton`, with the exact Hessian in place of a model
of it: free of bounds, with jumps onto zero where a variance wants to vanish. A
replicate that has converged leaves the arrays.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from lme.engine.batched_algebra import cholesky, inner, solve_lower

if TYPE_CHECKING:
    from typing import Self  # from Python 3.11 on

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Flags = NDArray[np.bool_]

#: Smallest share of an eigenvalue or pivot in the largest that counts as curvature.
_FLOOR = 1e-10
#: Share of finished replicates at which the arrays are made smaller.
_SHED = 0.15


@dataclass(frozen=True)
class Values:
    """The criterion at a theta for each replicate.

    Attributes
    ----------
    value : (R,) array
        inf where it cannot be had.
    gradient : (k, R) array
    hessian : (k, k, R) array
        Exact.
    coefficients : (px, R) array
        On the orthonormal basis of X.
    r2, logdet, log_RX : (R,) arrays
        Penalized residual sum of squares, ``log|M|``, ``log|R_X|^2`` in that basis.
    """

    value: Array
    gradient: Array
    hessian: Array
    coefficients: Array
    r2: Array
    logdet: Array
    log_RX: Array  # noqa: N815

    def take(self, kept: Index) -> Values:
        """Those of some of the replicates."""
        return Values(*(getattr(self, f.name)[..., kept] for f in fields(self)))

    def where(self, chosen: Flags, other: Values) -> Values:
        """`self` where `chosen`, else `other`."""
        if chosen.all():
            return self
        return Values(
            *(
                np.where(chosen, getattr(self, f.name), getattr(other, f.name))
                for f in fields(self)
            )
        )

    def put(self, place: Index, part: Values) -> None:
        """Store `part` at the replicates `place`."""
        for f in fields(self):
            getattr(self, f.name)[..., place] = getattr(part, f.name)


class Batch(Protocol):
    """The criteria of many responses."""

    def take(self, kept: Index) -> Self:
        """Those of some of the responses."""

    def evaluate(self, theta: Array) -> Values:
        """At theta (k, R)."""


@dataclass(frozen=True)
class Ends:
    """Where the searches ended.

    Attributes
    ----------
    theta : (k, R) array
    values : Values
    converged : (R,) bool array
    evaluations : (R,) intp
    """

    theta: Array
    values: Values
    converged: Flags
    evaluations: Index


def search(
    batch: Batch,
    start: Array,
    even: Flags,
    max_evaluations: int = 200,
    tolerance: float = 1e-12,
) -> Ends:
    """Minimise every criterion from its start.

    Parameters
    ----------
    batch : Batch
    start : (k, R) array
    even : (k,) bool array
        Parameters in which the criterion is even.
    max_evaluations : int
    tolerance : float
        Stop when the predicted decrease of the criterion is below it.
    """
    k, replicates = start.shape
    theta = np.array(start)
    at = batch.evaluate(theta)
    ends = Ends(
        np.array(theta),
        at.take(np.arange(replicates)),
        np.zeros(replicates, dtype=bool),
        np.ones(replicates, dtype=np.intp),
    )
    place = np.arange(replicates)
    radius = np.maximum(0.5, 0.5 * np.sqrt(inner(theta, theta)))
    jumpable = np.repeat(even[:, None], replicates, axis=1)
    pending = np.zeros((k, replicates))
    live = np.isfinite(at.value)
    for count in range(2, max_evaluations + 2):
        step, decrease, promise = newton_steps(at.gradient, at.hessian, radius)
        done = live & (promise < np.maximum(tolerance, 1e-15 * np.abs(at.value)))
        stuck = live & ~done & (radius < 1e-11 * (1.0 + np.sqrt(inner(theta, theta))))
        ended = done | stuck
        if ended.any():
            where = np.flatnonzero(ended)
            ends.theta[:, place[where]] = theta[:, where]
            ends.values.put(place[where], at.take(where))
            ends.converged[place[where]] = done[where] | (promise[where] < 1e-7)
            ends.evaluations[place[where]] = count - 1
            live = live & ~ended
        if not live.any() or count > max_evaluations:
            break
        if live.mean() < 1.0 - _SHED:
            kept = np.flatnonzero(live)
            batch, at, place = batch.take(kept), at.take(kept), place[kept]
            theta, step, pending = theta[:, kept], step[:, kept], pending[:, kept]
            jumpable, radius = jumpable[:, kept], radius[kept]
            decrease, live = decrease[kept], live[kept]
        jump = _zeros_ahead(theta, at, jumpable, radius)
        step, decrease = _onto_zero(theta, at, jump, radius, step, decrease)
        forced = pending.any(axis=0)
        step = np.where(forced, pending, step)
        jump &= ~forced
        trial_theta = theta + step
        trial = batch.evaluate(trial_theta)
        saddle, back = _between(theta, at, trial, step, jump)
        jumpable &= ~saddle
        pending = np.where(saddle.any(axis=0), back, 0.0)
        gain = at.value - trial.value
        noise = 1e-13 * np.abs(at.value) + 1e-13
        small = (np.abs(gain) < noise) & (decrease < noise)
        decrease = np.where(forced, np.abs(gain), decrease)
        with np.errstate(invalid="ignore"):
            ratio = np.where(small, 1.0, gain / np.maximum(decrease, 1e-300))
        length = np.sqrt(inner(step, step))
        accepted = (ratio > 1e-4) & np.isfinite(trial.value) & ~saddle.any(axis=0)
        wider = accepted & (ratio > 0.7) & (length > 0.8 * radius)
        narrower = accepted & (ratio < 0.25)
        shrunk = np.where(narrower, 0.5 * length, np.where(wider, 2.5, 1.0) * radius)
        failed = ~accepted & ~saddle.any(axis=0)
        radius = np.where(failed, 0.25 * length, shrunk)
        theta = np.where(accepted, trial_theta, theta)
        at = trial.where(accepted, at)
    where = np.flatnonzero(live)
    ends.theta[:, place[where]] = theta[:, where]
    ends.values.put(place[where], at.take(where))
    ends.evaluations[place[where]] = max_evaluations
    return ends


def newton_steps(
    gradient: Array, hessian: Array, radius: Array
) -> tuple[Array, Array, Array]:
    """Trust-region steps (k, R), predicted decreases, and those of free Newton steps.

    A Cholesky factorization is enough where the Hessian is positive definite and its
    step short enough; eigenvalues are for the others.
    """
    L = cholesky(hessian)
    diagonal = np.stack([L[i, i] for i in range(len(L))])
    with np.errstate(invalid="ignore", over="ignore"):
        step = -solve_lower(L, gradient)
        lengths = np.sqrt(inner(step, step))
        safe = (diagonal.min(axis=0) ** 2 > _FLOOR * diagonal.max(axis=0) ** 2) & (
            lengths <= radius
        )
    promise = -0.5 * inner(gradient, step)
    decrease = np.array(promise)
    rest = np.flatnonzero(~safe & np.isfinite(gradient).all(axis=0))
    if rest.size:
        found = _bounded_steps(gradient[:, rest], hessian[..., rest], radius[rest])
        step[:, rest], decrease[rest], promise[rest] = found
    return step, decrease, promise


def _bounded_steps(
    gradient: Array, hessian: Array, radius: Array
) -> tuple[Array, Array, Array]:
    """Steps by eigenvalues, as `lme.search.newton_step` takes them."""
    values, vectors = np.linalg.eigh(hessian.transpose(2, 0, 1))
    g = np.einsum("rij,ir->rj", vectors, gradient)
    top = np.maximum(np.abs(values).max(axis=1), 1e-8)
    floor = (_FLOOR * top)[:, None]
    promise = 0.5 * (g * g / np.maximum(np.abs(values), floor)).sum(axis=1)
    lowest = values[:, 0]
    concave = lowest < -1e-7 * top
    # Negative curvature is a decrease that the gradient alone does not show.
    hidden = 0.5 * -lowest * np.minimum(radius, 1e-3) ** 2
    promise = promise + np.where(concave, hidden, 0.0)
    stationary = concave & (np.abs(g[:, 0]) < 1e-8 * top)
    push = np.where(g[:, 0] <= 0, -1e-8, 1e-8) * top
    g[:, 0] = np.where(stationary, push, g[:, 0])
    free = -g / np.where(values > floor, values, floor)
    direct = (lowest > floor[:, 0]) & (np.linalg.norm(free, axis=1) <= radius)
    shift = _shifts(values, g, radius, top)
    step = np.where(direct[:, None], free, -g / (values + shift[:, None]))
    decrease = -(g * step + 0.5 * step * values * step).sum(axis=1)
    decrease = np.where(direct, promise, np.maximum(decrease, 1e-300))
    return np.einsum("rij,rj->ir", vectors, step), decrease, promise


def _shifts(values: Array, g: Array, radius: Array, top: Array) -> Array:
    """Multipliers with which the steps have length `radius` (bisection in logs)."""
    base = np.maximum(0.0, -values[:, 0])
    low = 1e-14 * top
    high = low + np.linalg.norm(g, axis=1) / radius + 1e-12
    short = np.linalg.norm(g / (values + (base + low)[:, None]), axis=1) <= radius
    lower = np.array(low)
    for _ in range(40):
        middle = np.sqrt(low * high)
        lengths = np.linalg.norm(g / (values + (base + middle)[:, None]), axis=1)
        low = np.where(lengths > radius, middle, low)
        high = np.where(lengths > radius, high, middle)
        if (high < 1.01 * low).all():
            break
    return base + np.where(short, lower, high)


def _slopes(theta: Array, gradient: Array) -> Array:
    """``g / theta``, twice the derivative in ``theta^2``; 0 where theta is 0."""
    out = np.zeros_like(theta)
    return np.divide(gradient, theta, out=out, where=theta != 0.0)


def _zeros_ahead(theta: Array, at: Values, even: Flags, radius: Array) -> Flags:
    """Even parameters whose minimum, as a function of ``theta^2``, is at zero."""
    slope = _slopes(theta, at.gradient)
    curve = np.einsum("kkr->kr", at.hessian)
    near = np.abs(theta) <= radius
    out: Flags = even & (slope > 0.0) & (curve <= 3.0 * slope) & near
    return out


def _onto_zero(
    theta: Array,
    at: Values,
    jump: Flags,
    radius: Array,
    step: Array,
    decrease: Array,
) -> tuple[Array, Array]:
    """Steps that take `jump` to zero and the rest by Newton; predicted decreases."""
    some = np.flatnonzero(jump.any(axis=0))
    if not some.size:
        return step, decrease
    jumping = jump[:, some]
    hessian = at.hessian[..., some]
    fixed = np.where(jumping, -theta[:, some], 0.0)
    slope = _slopes(theta[:, some], at.gradient[:, some])
    curve = np.einsum("kkr->kr", hessian) - slope
    part = 0.5 * slope * fixed**2 - 0.125 * curve * fixed**2
    gain = np.where(jumping, part, 0.0).sum(axis=0)
    gradient = at.gradient[:, some] + np.einsum("ijr,jr->ir", hessian, fixed)
    apart = jumping[:, None] | jumping[None, :]
    held = np.where(apart, 0.0, hessian)
    index = np.arange(len(theta))
    size = np.abs(np.einsum("kkr->kr", hessian)).max(axis=0)
    held[index, index] += np.where(jumping, np.maximum(size, 1e-8), 0.0)
    free, more, _ = newton_steps(np.where(jumping, 0.0, gradient), held, radius[some])
    step, decrease = np.array(step), np.array(decrease)
    step[:, some] = np.where(jumping, fixed, free)
    decrease[some] = np.maximum(gain + more, 1e-300)
    return step, decrease


def _between(
    theta: Array, at: Values, trial: Values, step: Array, jump: Flags
) -> tuple[Flags, Array]:
    """Where zero turned out to be a saddle, and the steps to take instead.

    The derivatives in ``theta^2`` at zero (half the curvature there) and at the point
    have opposite signs then; the secant between them is the better guess.
    """
    at_zero = 0.5 * np.einsum("kkr->kr", trial.hessian)
    saddle = jump & (at_zero < 0.0) & np.isfinite(trial.value)
    if not saddle.any():
        return saddle, step
    here = 0.5 * _slopes(theta, at.gradient)
    with np.errstate(invalid="ignore", divide="ignore"):
        fraction = np.where(saddle, at_zero / (at_zero - here), 0.0)
    return saddle, np.where(saddle, theta * (np.sqrt(fraction) - 1.0), step)
