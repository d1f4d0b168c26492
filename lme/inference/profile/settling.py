"""Constrained minima: Newton steps on a path, the search of the fit elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.engine.restriction import HeldPoint, Restriction
from lme.search import Control, newton

Array = NDArray[np.float64]

#: Predicted decrease of the deviance at which a minimum is good enough.
TOLERANCE = 1e-7
#: Newton steps on a path before the search with a trust region takes over.
_STEPS = 8
#: Evaluations of that search, and the decrease left with which it may end early.
_MOST, _LEFT = 100, 1e-4


def _step(gradient: Array, hessian: Array) -> tuple[Array, float] | None:
    """Newton step and the decrease that it promises; None if not downhill."""
    factor, info = lapack.dpotrf(hessian)
    if info != 0:
        return None
    step, _ = lapack.dpotrs(factor, gradient)
    return -step, 0.5 * float(step @ gradient)


def _updated(hessian: Array, step: Array, change: Array) -> Array:
    """BFGS update, damped so that the Hessian stays positive definite.

    References
    ----------
    Powell (1978), Lecture Notes in Mathematics 630:144, doi:10.1007/BFb0067703.
    """
    moved = hessian @ step
    size = float(step @ moved)
    product = float(step @ change)
    if product < 0.1 * size:
        share = 0.9 * size / (size - product)
        change = share * change + (1.0 - share) * moved
        product = float(step @ change)
    outer = moved[:, None] * moved / size
    return np.asarray(hessian - outer + change[:, None] * change / product)


def settle(
    evaluate: Callable[[Array], HeldPoint],
    restriction: Restriction,
    guess: Array,
    hessian: Array,
) -> tuple[HeldPoint, Array, float]:
    """The constrained minimum near a guess, the Hessian there, and the deviance.

    Newton steps with the Hessian of the point before, kept up by secants, as long as
    they do what they promise; otherwise the search of the fit. The deviance is what
    the last, quadratic model promises: closer by an order than that at the point.
    """
    point = evaluate(guess)
    if not guess.size:
        return point, hessian, point.value
    for _ in range(_STEPS):
        found = _step(point.gradient, hessian) if np.isfinite(point.value) else None
        if found is None:
            break
        step, promise = found
        if promise < TOLERANCE:
            return point, hessian, point.value - promise
        trial = evaluate(point.theta + step)
        if not point.value - trial.value > 0.2 * promise:
            break
        hessian = _updated(hessian, step, trial.gradient - point.gradient)
        point = trial
    start = point.theta if np.isfinite(point.value) else guess
    control = Control(max_evaluations=_MOST, tolerance=0.1 * TOLERANCE)
    outcome = newton(evaluate, start, control, even=restriction.even)
    best = outcome.point
    if not isinstance(best, HeldPoint):
        raise TypeError("The search returned a point of another criterion.")
    # Without a minimum there is no value: the path is to come nearer first.
    value = best.value if outcome.decrease < _LEFT else np.inf
    return best, outcome.hessian, value


def searched(
    evaluate: Callable[[Array], HeldPoint], restriction: Restriction, guess: Array
) -> tuple[HeldPoint, Array, float]:
    """The minimum by the search of the fit, from far away."""
    return settle(evaluate, restriction, guess, -np.eye(guess.size))
