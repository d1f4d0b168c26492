"""Many refits of one model: together where the design allows it, else one by one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lme.engine import batched, laplace, lmm
from lme.engine.batched import Refits, no_refits
from lme.engine.batched_parameters import lifted
from lme.engine.choice import choose
from lme.engine.lmm import Criterion, Evaluation
from lme.engine.threads import suited_threads
from lme.engine.warm import Known, first_points
from lme.errors import LMEError, LMEWarning
from lme.fit import Fit, refit
from lme.generalized import GLMMFit
from lme.inference.working import MixedFit
from lme.preparation import check_scale, polish, settle_zeros
from lme.search import Control, Point, control_from, newton
from lme.starting import feasible, generalized_start, linear_start

Array = NDArray[np.float64]
#: Called with the number of refits done since the last call.
Tick = Callable[[int], object]

#: Largest predicted decrease, and length of the step, at which a warm refit takes its
#: last step without a gradient.
_DECREASE, _STEP = 1e-7, 1e-5
#: What a refit may fail with.
FAILURES = (LMEError, np.linalg.LinAlgError, FloatingPointError)


class Interrupted(KeyboardInterrupt):
    """An interrupt amid refits that are done one by one.

    Attributes
    ----------
    done : tuple of Refits
        What was finished before it, in order, a refit each.
    """

    def __init__(self, done: Sequence[Refits]) -> None:
        super().__init__()
        self.done = tuple(done)

    def __reduce__(self) -> tuple[type[KeyboardInterrupt], tuple[()]]:
        """Between processes it is a plain interrupt."""
        return KeyboardInterrupt, ()


def _nothing(count: int) -> None:
    """No progress to report."""


def refit_many(
    fit: MixedFit, Y: Array, *, warm: bool = True, tick: Tick = _nothing
) -> Refits:
    """Fit the model of `fit` to many responses.

    Parameters
    ----------
    fit : Fit or GLMMFit
    Y : (R, n) array
        A response a row, for the rows that the model uses.
    warm : bool
        The responses were drawn from the fit, so that its estimates are a good start.
    tick : callable
        Told how many refits are done.

    Returns
    -------
    Refits
        A refit that fails is a row of NaN with its reason.
    """
    if isinstance(fit, GLMMFit):

        def one(_: int, y: Array) -> Refits:
            problem = replace(fit.problem, y=np.ascontiguousarray(y))
            return refit_generalized(replace(fit, problem=problem), warm=warm)

        return _each(fit, Y, one, tick)
    if fit.residual is not None:
        return _each(fit, Y, lambda _, y: _refit_structured(fit, y), tick)
    if batched.plan(fit.problem) is None:
        return _refit_linear(fit, Y, warm, tick)
    start = fit.problem.template.internal(fit.theta) if warm else None
    most = control_from(fit.options["control"]).max_evaluations
    size = batched.chunk_size(fit.problem)
    parts = []
    for first in range(0, len(Y), size):
        some = Y[first : first + size]
        parts.append(
            batched.refit_batch(
                fit.problem, fit.reml, start, some, max_evaluations=most
            )
        )
        tick(len(some))
    return batched.joined(parts)


def _each(
    fit: MixedFit, Y: Array, one: Callable[[int, Array], Refits], tick: Tick
) -> Refits:
    """One refit after the other; those that fail have no estimates."""
    template, p = fit.problem.template, fit.beta.size

    def refitted() -> Iterator[Refits]:
        for i, y in enumerate(Y):
            if not np.isfinite(y).all():
                yield no_refits(1, template, p, batched.NOT_FINITE)
                continue
            try:
                yield one(i, y)
            except FAILURES:
                yield no_refits(1, template, p)

    return in_turn(refitted(), tick) if len(Y) else no_refits(0, template, p)


def in_turn(refits: Iterable[Refits], tick: Tick) -> Refits:
    """Refits as they come, in one record.

    Parameters
    ----------
    refits : iterable of Refits
        At least one.
    tick : callable

    Raises
    ------
    Interrupted
        With those that were finished when the interrupt came.
    """
    parts: list[Refits] = []
    try:
        for one in refits:
            parts.append(one)
            tick(len(one))
    except KeyboardInterrupt as stop:
        if not parts:
            raise
        raise Interrupted(parts).with_traceback(stop.__traceback__) from None
    return batched.joined(parts)


def _refit_linear(fit: Fit, Y: Array, warm: bool, tick: Tick) -> Refits:
    """One search a response, with one symbolic analysis for all of them."""
    problem = fit.problem
    kernel, _ = choose(problem.cross, fit.convergence.kernel)
    template = problem.template
    control = control_from(fit.options["control"])
    known: list[Known] | None = None
    with suited_threads(problem.cross.sizes):
        if warm:
            control = replace(control, tolerance=_tolerance(fit, control))
            estimate = template.internal(fit.theta)
            start = lifted(problem, estimate)
            if np.array_equal(estimate, start):
                finite = np.where(np.isfinite(Y), Y, 0.0)
                _, residuals = batched.least_squares(problem, finite)
                criterion = Criterion(problem, kernel, fit.reml)
                hessian = fit.convergence.hessian
                known = first_points(criterion, estimate, hessian, residuals)

        def one(i: int, y: Array) -> Refits:
            again = lmm.with_response(problem, y)
            check_scale(again.largest_residual, again.largest_response)
            kernel.load(again.cross)
            criterion = Criterion(again, kernel, fit.reml)
            begin = start if warm else linear_start(again, None)
            return search_linear(criterion, begin, control, known[i] if known else None)

        return _each(fit, Y, one, tick)


def _refit_structured(fit: Fit, y: Array) -> Refits:
    """A whole fit, because the residual structure is estimated again."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LMEWarning)
        again = refit(fit, y)
    return one_refit(
        again.problem.template.internal(again.theta),
        again.theta,
        again.beta,
        again.sigma,
        again.objective,
        again.ldL2,
        again.convergence.converged,
        again.convergence.evaluations,
    )


def _tolerance(fit: Fit, control: Control) -> float:
    """Predicted decrease to stop at: larger where theta is known very precisely."""
    hessian = fit.convergence.hessian
    if not np.isfinite(hessian).all():
        return control.tolerance
    least = 0.5 * float(np.linalg.eigvalsh(hessian)[0]) * _STEP**2
    return max(control.tolerance, min(least, _DECREASE))


def search_linear(
    criterion: Criterion, start: Array, control: Control, known: Known | None = None
) -> Refits:
    """The optimum of one criterion, as a record of one refit.

    Parameters
    ----------
    criterion : Criterion
    start : (k,) array
    control : Control
    known : Known, optional
        The criterion at the start.
    """
    problem, template = criterion.problem, criterion.problem.template

    def evaluate(theta: Array) -> Point:
        if known is not None and theta is known.theta:
            return known
        return criterion.evaluate(theta)

    begin = start if known is None else known.theta
    outcome = newton(evaluate, begin, control, 0, template.even())
    if outcome.status == "no start":
        return no_refits(1, template, problem.p)
    point = settle_zeros(criterion, outcome, template)
    final = polish(criterion, point, outcome.hessian)
    if not isinstance(final, Evaluation):
        raise TypeError("The search returned a point of another criterion.")
    beta = problem.level + final.coefficients
    if problem.p:
        beta = np.asarray(np.linalg.solve(problem.R, beta), dtype=np.float64)
    return one_refit(
        final.theta,
        template.external(final.theta),
        beta,
        np.sqrt(final.r2 / criterion.df),
        final.value,
        final.logdet,
        outcome.status == "converged",
        criterion.evaluations,
    )


def one_refit(
    internal: Array,
    theta: Array,
    beta: Array,
    sigma: float,
    objective: float,
    logdet: float,
    converged: bool,
    evaluations: int,
) -> Refits:
    """A record of one refit."""
    reason = batched.CONVERGED if converged else batched.NOT_CONVERGED
    return Refits(
        internal[None, :],
        theta[None, :],
        beta[None, :],
        np.array([sigma]),
        np.array([objective]),
        np.array([logdet]),
        np.array([reason], dtype=np.int8),
        np.array([evaluations], dtype=np.intp),
    )


def refit_generalized(fit: GLMMFit, *, warm: bool = True) -> Refits:
    """Fit a generalized model; `fit` holds the response, and estimates to start from.

    Parameters
    ----------
    fit : GLMMFit
        With the response in ``fit.problem``.
    warm : bool
        Start from the estimates that the record holds, else from moments.
    """
    problem, template = fit.problem, fit.problem.template
    criterion = _fresh(fit)
    k, p = template.size, problem.p
    first = 0 if fit.nAGQ == 0 else p
    even = np.zeros(fit.point.size, dtype=bool)
    even[first : first + k] = template.even()
    control = control_from(fit.options["control"])
    if warm:
        psi = np.array(fit.point)
        gamma = problem.R @ fit.beta
        psi[first : first + k] = lifted(problem, psi[first : first + k])
    else:
        gamma, theta = generalized_start(problem, None)
        psi = np.concatenate([gamma[:first], theta])
        if problem.family.extra is not None:
            extra = problem.family.start_extra(problem.y, problem.weights)
            psi = np.append(psi, extra)
    criterion.gamma = gamma
    outcome = newton(criterion.evaluate, psi, control, 0, even)
    if outcome.status == "no start":
        outcome = newton(
            criterion.evaluate, feasible(criterion, psi, first), control, 0, even
        )
    point = outcome.point
    if np.isfinite(point.value):
        point = settle_zeros(criterion, outcome, template, first)
    if not isinstance(point, laplace.Evaluation) or point.modes is None:
        return no_refits(1, template, fit.beta.size)
    _, theta, extra = criterion.split(point.theta)
    beta = point.modes.gamma
    if p:
        beta = np.asarray(np.linalg.solve(problem.R, beta), dtype=np.float64)
    return one_refit(
        theta,
        template.external(theta),
        beta,
        float(np.exp(extra)) if problem.family.extra is not None else np.nan,
        point.value,
        point.modes.logdet,
        outcome.status == "converged",
        criterion.evaluations,
    )


def _fresh(fit: GLMMFit) -> laplace.Laplace:
    """A criterion of its own, so that that of the fit keeps its state."""
    return replace(fit).criterion
