"""From the criterion of a linear model to its optimum: a search, and what checks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.engine.lmm import Criterion
from lme.engine.pivoting import pivoted, translate
from lme.engine.threads import suited_threads
from lme.errors import FitError
from lme.preparation import second_opinion, settle_zeros
from lme.search import Control, Optimizer, Outcome, Point
from lme.starting import correlated_starts, linear_start, other_starts

Array = NDArray[np.float64]
Search = Callable[[Callable[[Array], Point], Array, NDArray[np.bool_]], Outcome]

#: Orders tried, as a search can move the small pivots again.
_ROUNDS = 3


def find_optimum(
    criterion: Criterion,
    optimizer: Optimizer,
    start: Any,
    control: Control,
    verbose: int = 0,
) -> Outcome:
    """Search for the optimum, from elsewhere too where one search is not enough.

    Parameters
    ----------
    criterion : Criterion
    optimizer : Optimizer
    start : array, mapping or None
        The user's; None: moments.
    control : Control
    verbose : int

    Raises
    ------
    FitError
        When the criterion is not finite at the start.
    """
    problem = criterion.problem
    even = problem.template.even()

    def onward(
        evaluate: Callable[[Array], Point], theta: Array, even: NDArray[np.bool_]
    ) -> Outcome:
        return optimizer(evaluate, theta, control, verbose, even)

    def search(theta: Array) -> Outcome:
        return onward(criterion.evaluate, theta, even)

    with suited_threads(problem.cross.sizes):
        outcome = search(linear_start(problem, start))
        if outcome.status == "no start":
            raise FitError(
                "The criterion is not a finite number at the start of the search.",
                "Data and start of moderate size were expected.",
                "Rescale columns beyond 1e150, or give another start.",
            )
        if outcome.status == "max_evaluations":
            return outcome
        for other in other_starts(problem, start, len(outcome.points)):
            outcome = second_opinion(
                criterion, outcome, other, even, search, always=start is None
            )
        for other in correlated_starts(problem, outcome.point.theta):
            outcome = second_opinion(
                criterion, outcome, other, even, search, always=True
            )
        return search_pivoted(criterion, outcome, onward)


def search_pivoted(criterion: Criterion, outcome: Outcome, search: Search) -> Outcome:
    """Search on from an end beside a singular covariance, in a regular order.

    Parameters
    ----------
    criterion : Criterion
    outcome : Outcome
    search : callable
        From ``(evaluate, start, even)`` to an outcome.

    Returns
    -------
    Outcome
        In the parameters of `criterion`, with the information in those of the regular
        order: it tells whether the covariance is unique. `outcome` itself where its
        order is regular.
    """
    home, now = criterion.problem.template, outcome
    template = home
    trace = list(outcome.points)
    for _ in range(_ROUNDS):
        found = pivoted(template, now.point.theta)
        if found is None:
            break
        template, start = found
        problem = replace(criterion.problem, template=template)
        kernel = criterion.borrow()
        turned = Criterion(problem, kernel, criterion.reml, criterion.sigma)
        now = search(turned.evaluate, start, template.even())
        now = replace(now, point=settle_zeros(turned, now, template))
        criterion.evaluations += turned.evaluations
        trace += [(translate(t, template, home), v, g) for t, v, g in now.points]
    if template is home:
        return outcome
    point = criterion.evaluate(translate(now.point.theta, template, home))
    if not point.value <= outcome.point.value + 1e-9:
        return outcome
    return replace(now, point=point, hessian=point.curvature(), points=tuple(trace))
