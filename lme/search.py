"""Search for the optimum: trust-region Newton with an exact gradient.

The criterion is even in each column of ``lambda``, so theta is free of bounds; the
signs are put right at the end. Each accepted point brings a model of the Hessian
(average information) that secant corrections sharpen from step to step.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lme.errors import OptionError, near

Array = NDArray[np.float64]

_LOG = logging.getLogger("lme")


class Point(Protocol):
    """What the search needs of an evaluation."""

    theta: Array
    value: float
    gradient: Array

    def curvature(self) -> Array:
        """Symmetric model of the Hessian, (k, k)."""


class Optimizer(Protocol):
    """A search; see `newton` for the arguments."""

    def __call__(
        self,
        evaluate: Callable[[Array], Point],
        start: Array,
        control: Control,
        verbose: int = 0,
        even: NDArray[np.bool_] | None = None,
    ) -> Outcome:
        """Minimise from `start`."""


@dataclass(frozen=True, slots=True)
class Control:
    """Limits and tolerances of the search.

    Attributes
    ----------
    max_evaluations : int
        Evaluations of criterion and gradient.
    tolerance : float
        Stop when the predicted decrease of the criterion is below it.
    """

    max_evaluations: int = 500
    tolerance: float = 1e-10


def control_from(control: Mapping[str, Any] | Control | None) -> Control:
    """Control record from the user's mapping; raises OptionError."""
    if control is None:
        return Control()
    if isinstance(control, Control):
        return control
    known = Control.__dataclass_fields__
    if not isinstance(control, Mapping):
        raise OptionError(
            f"control is {control!r}.",
            f"A mapping with the options {', '.join(known)} was expected.",
            "Write control={'max_evaluations': 1000}, say.",
        )
    for name in control:
        if name not in known:
            raise OptionError(
                f"Unknown control option {name!r}.",
                f"The options are {', '.join(known)}.",
                near(name, known),
            )
    out = Control(**control)
    whole = isinstance(out.max_evaluations, (int, np.integer))
    if not whole or out.max_evaluations < 1:
        raise OptionError(
            f"max_evaluations is {out.max_evaluations!r}.",
            "A whole number of at least 1 was expected.",
        )
    if not isinstance(out.tolerance, (int, float)) or not out.tolerance >= 0.0:
        raise OptionError(
            f"tolerance is {out.tolerance!r}.", "A number >= 0 was expected."
        )
    return out


@dataclass(frozen=True, slots=True)
class Trace:
    """Every evaluation in order.

    Attributes
    ----------
    objective : (m,) array
    gradient_norm : (m,) array
    theta : (m, k) array
        In lme4's order and the user's units.
    """

    objective: Array
    gradient_norm: Array
    theta: Array


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where the search ended.

    Attributes
    ----------
    point : Point
        The best evaluation.
    hessian : (k, k) array
        The last model of the Hessian there, with secant corrections.
    information : (k, k) array
        The same without them: singular where the parameters are not unique.
    decrease : float
        Decrease of the criterion still predicted.
    status : str
        "converged", "max_evaluations", "stalled" or "no start".
    points : tuple of (theta, value, gradient norm)
    """

    point: Point
    hessian: Array
    information: Array
    decrease: float
    status: str
    points: tuple[tuple[Array, float, float], ...]


def newton(
    evaluate: Callable[[Array], Point],
    start: Array,
    control: Control,
    verbose: int = 0,
    even: NDArray[np.bool_] | None = None,
) -> Outcome:
    """Minimise from `start` by trust-region Newton steps.

    Parameters
    ----------
    evaluate : callable
        theta (k,) to a `Point`.
    start : (k,) array
    control : Control
    verbose : int
        1 logs every evaluation at level INFO.
    even : (k,) bool array, optional
        Parameters in which the criterion is even, so that a minimum at zero can be
        stepped on.
    """
    if not start.size:
        return at_once(evaluate(start))
    level = logging.INFO if verbose else logging.DEBUG
    points: list[tuple[Array, float, float]] = []

    def visit(theta: Array) -> Point:
        point = evaluate(theta)
        norm = _length(point.gradient)
        points.append((theta, point.value, norm))
        _LOG.log(level, "%4d  %.10g  |g| %.3g", len(points), point.value, norm)
        return point

    point = visit(start)
    if not np.isfinite(point.value):
        point = visit(np.where(start == 0.0, 0.0, np.sign(start)))
    if not np.isfinite(point.value):
        nothing = np.full((start.size, start.size), np.nan)
        return Outcome(point, nothing, nothing, np.inf, "no start", tuple(points))
    hessian = fresh = point.curvature()
    if not np.isfinite(hessian).all():
        return Outcome(point, hessian, hessian, np.inf, "no start", tuple(points))
    correction = np.zeros_like(hessian)
    radius = max(0.5, 0.5 * _length(start))
    status = "max_evaluations"
    while True:
        step, decrease, promise = newton_step(point.gradient, hessian, radius)
        # Less than the rounding error of the criterion cannot be gained.
        least = max(control.tolerance, 1e-15 * (1.0 + abs(point.value)))
        if promise < least:
            status = "converged"
            break
        if len(points) >= control.max_evaluations:
            break
        jump = _zeros_ahead(point, hessian, even, radius)
        if jump.any():
            step, decrease = _onto_zero(point, hessian, jump, radius)
        trial = visit(point.theta + step)
        if jump.any() and np.isfinite(trial.value):
            saddle, back = _between(point, trial, step, jump)
            if saddle.any():
                even = even & ~saddle if even is not None else None
                step = back
                trial = visit(point.theta + step)
                decrease = abs(point.value - trial.value)
        length = _length(step)
        gain = point.value - trial.value
        # Below the rounding error of the criterion its change says nothing.
        noise = 1e-13 * abs(point.value) + 1e-13
        ratio = 1.0 if abs(gain) < noise and decrease < noise else gain / decrease
        change = trial.gradient - point.gradient
        if ratio > 1e-4 and np.isfinite(trial.value):
            fresh = trial.curvature()
            if not np.isfinite(fresh).all():
                status = "stalled"
                break
            correction = _secant(correction, fresh, step, change)
            point = trial
            if ratio > 0.7 and length > 0.8 * radius:
                radius *= 2.5
            elif ratio < 0.25:
                radius = 0.5 * length
        else:
            if np.isfinite(trial.value):
                correction = _secant(correction, fresh, step, change)
            radius = 0.25 * length
            if radius < 1e-11 * (1.0 + _length(point.theta)):
                # No smaller decrease can be seen through the rounding errors.
                status = "converged" if promise < 1e-7 else "stalled"
                break
        hessian = fresh + correction
    return Outcome(point, hessian, fresh, promise, status, tuple(points))


def at_once(point: Point) -> Outcome:
    """The outcome of a search without parameters."""
    status = "converged" if np.isfinite(point.value) else "no start"
    none = np.zeros((0, 0))
    return Outcome(point, none, none, 0.0, status, ((point.theta, point.value, 0.0),))


def _length(vector: Array) -> float:
    """Euclidean norm; three times as fast as the general one for short vectors."""
    return math.sqrt(float(vector @ vector))


def _slope(point: Point) -> Array:
    """``g / theta``, twice the derivative in ``theta^2``; 0 where theta is 0."""
    theta, g = point.theta, point.gradient
    return np.divide(g, theta, out=np.zeros_like(g), where=theta != 0.0)


def _zeros_ahead(
    point: Point, hessian: Array, even: NDArray[np.bool_] | None, radius: float
) -> NDArray[np.bool_]:
    """Even parameters whose minimum, as a function of ``theta^2``, is at zero.

    Notes
    -----
    For an even parameter ``f`` is smooth in ``tau = theta^2`` with ``f' = g / (2
    theta)`` and ``f'' = (H - g / theta) / (4 theta^2)``; its Newton step in tau ends at
    or below zero when ``H <= 3 g / theta``. Newton steps in theta itself only gain a
    constant factor each when ``f'`` at zero is small.
    """
    if even is None:
        return np.zeros(point.theta.size, dtype=bool)
    slope = _slope(point)
    near = np.abs(point.theta) <= radius
    return even & (slope > 0.0) & (hessian.diagonal() <= 3.0 * slope) & near


def _onto_zero(
    point: Point, hessian: Array, jump: NDArray[np.bool_], radius: float
) -> tuple[Array, float]:
    """Step that takes `jump` to zero and the rest by Newton; predicted decrease."""
    fixed = -point.theta[jump]
    slope = _slope(point)[jump]
    curve = hessian.diagonal()[jump] - slope
    gain = float(0.5 * slope @ fixed**2 - 0.125 * curve @ fixed**2)
    out = np.zeros(point.theta.size)
    out[jump] = fixed
    free = ~jump
    if free.any():
        gradient = point.gradient[free] + hessian[np.ix_(free, jump)] @ fixed
        part, more, _ = newton_step(gradient, hessian[np.ix_(free, free)], radius)
        out[free] = part
        gain += more
    return out, max(gain, 1e-300)


def _between(
    point: Point, trial: Point, step: Array, jump: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], Array]:
    """Where zero turned out to be a saddle, and another step for there.

    The derivatives in ``theta^2`` at zero (half the curvature there) and at the point
    have opposite signs then; the secant between them is the better guess.
    """
    at_zero = 0.5 * trial.curvature().diagonal()
    saddle = jump & (at_zero < 0.0)
    here = 0.5 * _slope(point)[saddle]
    fraction = at_zero[saddle] / (at_zero[saddle] - here)
    out = step.copy()
    out[saddle] = point.theta[saddle] * (np.sqrt(fraction) - 1.0)
    return saddle, out


def newton_step(
    gradient: Array, hessian: Array, radius: float
) -> tuple[Array, float, float]:
    """Trust-region step, its predicted decrease, and that of the free Newton step."""
    values, vectors = np.linalg.eigh(hessian)
    g = vectors.T @ gradient
    top = max(float(np.abs(values).max()), 1e-8)
    floor = 1e-10 * top
    safe = np.where(values > floor, values, floor)
    newton_decrease = 0.5 * float(g @ (g / np.maximum(np.abs(values), floor)))
    if values[0] < -1e-7 * top:
        # Negative curvature is a decrease that the gradient alone does not show.
        newton_decrease += 0.5 * float(-values[0]) * min(radius, 1e-3) ** 2
        if abs(g[0]) < 1e-8 * top:
            g[0] = -1e-8 * top if g[0] <= 0 else 1e-8 * top
    if values[0] > floor:
        step = -g / safe
        if _length(step) <= radius:
            return vectors @ step, newton_decrease, newton_decrease
    shift = _shift(values, g, radius)
    step = -g / (values + shift)
    decrease = -float(g @ step + 0.5 * step @ (values * step))
    return vectors @ step, max(decrease, 1e-300), newton_decrease


def _shift(values: Array, g: Array, radius: float) -> float:
    """The multiplier with which the step has length `radius` (bisection in logs)."""
    low = max(0.0, -float(values[0])) + 1e-14 * max(float(np.abs(values).max()), 1e-8)
    high = low + _length(g) / radius + 1e-12

    def length(shift: float) -> float:
        return _length(g / (values + shift))

    if length(low) <= radius:
        return low
    base = max(0.0, -float(values[0]))
    a, b = low - base, high - base
    for _ in range(60):
        middle = float(np.sqrt(a * b))
        if length(base + middle) > radius:
            a = middle
        else:
            b = middle
        if b < 1.01 * a:
            break
    return base + b


def _secant(correction: Array, model: Array, step: Array, change: Array) -> Array:
    """Least change of the correction so that the corrected model maps step to change.

    Notes
    -----
    The update of Dennis, Gay & Welsch (1981, ACM TOMS 7:348, eq. 2.6), which measures
    change in the metric of the Hessian, with their sizing of the old correction.
    """
    if not np.isfinite(change).all():
        return correction
    wanted = change - model @ step
    size = float(step @ correction @ step)
    if size != 0.0:
        correction = correction * min(1.0, abs(float(step @ wanted) / size))
    residual = wanted - correction @ step
    weight = change if float(change @ step) > 0.0 else step
    scale = float(weight @ step)
    if scale <= 1e-12 * _length(weight) * _length(step):
        return correction
    v = weight / scale
    outer = np.outer(residual, v)
    return correction + outer + outer.T - float(residual @ step) * np.outer(v, v)
