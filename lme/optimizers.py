"""The table of optimizers: Newton, and derivative-free ones to compare it with."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from lme.errors import OptionError, near
from lme.search import (
    Control,
    Optimizer,
    Outcome,
    Point,
    at_once,
    newton,
    newton_step,
)

Array = NDArray[np.float64]


def _derivative_free(method: str) -> Optimizer:
    """A search by one of SciPy's methods, for comparison; the model judges its end."""

    def search(
        evaluate: Callable[[Array], Point],
        start: Array,
        control: Control,
        verbose: int = 0,
        even: NDArray[np.bool_] | None = None,
    ) -> Outcome:
        if not start.size:
            return at_once(evaluate(start))
        points: list[tuple[Array, float, float]] = []
        best: list[Point] = []

        def value(theta: Array) -> float:
            if len(points) >= control.max_evaluations:
                raise _CutShort
            point = evaluate(np.array(theta))
            points.append((point.theta, point.value, float("nan")))
            if not best or point.value < best[0].value:
                best[:] = [point]
            return point.value if np.isfinite(point.value) else 1e300

        options = {"maxiter": 100_000, **_TIGHT.get(method, {})}
        status = "converged"
        try:
            optimize.minimize(value, start, method=method, options=options)  # type: ignore[call-overload]
        except _CutShort:
            status = "max_evaluations"
        hessian = best[0].curvature()
        _, _, decrease = newton_step(best[0].gradient, hessian, np.inf)
        if decrease < 1e-7:
            status = "converged"
        elif status == "converged" and decrease > 1e-4:
            status = "stalled"
        return Outcome(best[0], hessian, hessian, decrease, status, tuple(points))

    return search


class _CutShort(Exception):
    """Raised inside a SciPy method to end it at the limit of evaluations."""


_TIGHT: dict[str, dict[str, float]] = {
    "Nelder-Mead": {"xatol": 1e-7, "fatol": 1e-9, "maxfev": 1e9},
    "Powell": {"xtol": 1e-8, "ftol": 1e-14, "maxfev": 1e9},
    "COBYLA": {"tol": 1e-9},
}

#: "auto" is Newton; the others are for comparison only (see `lme.allfit`).
OPTIMIZERS: dict[str, Optimizer] = {
    "auto": newton,
    "newton": newton,
    "nelder-mead": _derivative_free("Nelder-Mead"),
    "powell": _derivative_free("Powell"),
    "cobyla": _derivative_free("COBYLA"),
}


def find_optimizer(name: object) -> Optimizer:
    """The search of a name; raises OptionError with the near spellings."""
    if not isinstance(name, str) or name not in OPTIMIZERS:
        raise OptionError(
            f"Unknown optimizer {name!r}.",
            f"The optimizers are {', '.join(OPTIMIZERS)}.",
            near(str(name), OPTIMIZERS),
        )
    return OPTIMIZERS[name]
