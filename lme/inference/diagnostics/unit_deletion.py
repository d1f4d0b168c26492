"""Estimates without some rows, again and again: warm-started refits.

A linear model is fitted again from cross-products with the rows' share subtracted, on
the kernel of the whole; a generalized one from the rows that stay, starting at the
estimates of all rows.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lme.engine.choice import choose
from lme.engine.crossproducts import Pattern, pattern
from lme.engine.downdating import full_rank, rows_of, without_rows
from lme.engine.kernel import Kernel
from lme.engine.laplace import Evaluation as GeneralizedPoint
from lme.engine.lmm import Criterion, Evaluation, Problem
from lme.engine.threads import suited_threads
from lme.errors import FitError
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.diagnostics.leverage import held_at, working_problem
from lme.inference.processes import in_order
from lme.inference.working import MixedFit
from lme.preparation import polish, settle_zeros
from lme.search import Control, newton

Array = NDArray[np.float64]
Rows = NDArray[np.intp]

#: Units that a worker takes at a time: enough to pay for sending them.
_BATCH = 32


class Estimates(NamedTuple):
    """What a fit without some rows gives.

    Attributes
    ----------
    beta : (p,) array
    covariance : (p, p) array
    sigma : float
        Residual standard deviation, or the root of the dispersion.
    theta : (k,) array
        In the user's basis; after one Newton step where it was held for the rest, NaN
        where it was not moved.
    sigma_there : float
        Residual standard deviation at that theta.
    note : str
        Why there are no numbers, or what they lack; empty as a rule.
    """

    beta: Array
    covariance: Array
    sigma: float
    theta: Array
    sigma_there: float
    note: str = ""


def nothing(fit: MixedFit, note: str) -> Estimates:
    """NaN for everything, with the reason."""
    p = fit.beta.size
    theta = np.full(fit.theta.size, np.nan)
    none = np.full((p, p), np.nan)
    return Estimates(np.full(p, np.nan), none, np.nan, theta, np.nan, note)


@dataclass
class LinearRefits:
    """Refits of a linear mixed model; keeps the kernel from unit to unit.

    Parameters
    ----------
    fit : Fit
    one_step : bool
        Hold theta for the fixed effects, and move it by a single Newton step.
    """

    fit: Fit
    one_step: bool
    _ready: tuple[Pattern, Kernel, Array] | None = field(default=None, repr=False)

    def _prepared(self) -> tuple[Pattern, Kernel, Array]:
        if self._ready is None:
            problem = self.fit.problem
            kernel, _ = choose(problem.cross, self.fit.convergence.kernel)
            theta = problem.template.internal(self.fit.theta)
            self._ready = pattern(problem.factors), kernel, theta
        return self._ready

    def without(self, rows: Rows) -> Estimates:
        """Estimates from the other rows."""
        where, kernel, theta = self._prepared()
        whole = self.fit.problem
        problem = without_rows(whole, where, rows)
        note = _hindrance(self.fit, rows, problem.basis, problem.cross.gram)
        if note:
            return nothing(self.fit, note)
        kernel.load(problem.cross)
        criterion = Criterion(problem, kernel, self.fit.reml, self.fit.known_sigma)
        if self.one_step:
            at = criterion.evaluate(theta)
            if not np.isfinite(at.value):
                return nothing(self.fit, "the criterion is not finite")
            moved = one_newton_step(at.gradient, at.curvature(), theta)
            there = criterion.evaluate(moved, gradient=False)
            return self._estimates(criterion, at, there, "")
        outcome = newton(
            criterion.evaluate, theta, Control(), even=problem.template.even()
        )
        if not np.isfinite(outcome.point.value):
            return nothing(self.fit, "the criterion is not finite")
        point = settle_zeros(criterion, outcome, problem.template)
        final = polish(criterion, point, outcome.hessian)
        if not isinstance(final, Evaluation):
            raise TypeError("The search returned a point of another criterion.")
        note = "" if outcome.status == "converged" else "not converged"
        return self._estimates(criterion, final, final, note)

    def _estimates(
        self, criterion: Criterion, at: Evaluation, there: Evaluation, note: str
    ) -> Estimates:
        problem = criterion.problem
        sigma = criterion.sigma or float(np.sqrt(at.r2 / criterion.df))
        inner = problem.level + at.coefficients
        beta = np.asarray(np.linalg.solve(problem.R, inner), dtype=float)
        inverse = np.linalg.inv(at.RX @ problem.R)
        template = problem.template
        return Estimates(
            beta,
            sigma**2 * inverse @ inverse.T,
            sigma,
            template.external(template.canonical(there.theta)),
            criterion.sigma or float(np.sqrt(there.r2 / criterion.df)),
            note,
        )


@dataclass
class WorkingSteps:
    """Fixed effects without a unit in the working model of a generalized one.

    Theta and the weights are held, so each unit takes one factorization.
    """

    fit: GLMMFit
    _ready: tuple[Problem, Pattern, Kernel, Array, Array] | None = field(
        default=None, repr=False
    )

    def _prepared(self) -> tuple[Problem, Pattern, Kernel, Array, Array]:
        if self._ready is None:
            problem = working_problem(self.fit)
            kernel, _ = choose(problem.cross)
            theta = problem.template.internal(self.fit.theta)
            where = pattern(problem.factors)
            start = held_at(problem, where, kernel, theta).gamma
            self._ready = problem, where, kernel, theta, start
        return self._ready

    def without(self, rows: Rows) -> Estimates:
        """Estimates from the other rows."""
        whole, where, kernel, theta, start = self._prepared()
        problem = without_rows(whole, where, rows)
        note = _hindrance(self.fit, rows, problem.basis, problem.cross.gram)
        if note:
            return nothing(self.fit, note)
        kernel.load(problem.cross)
        at = held_at(problem, where, kernel, theta)
        change = np.asarray(np.linalg.solve(problem.R, at.gamma - start))
        inverse = np.linalg.inv(at.RX @ problem.R)
        sigma = float(np.sqrt(self.fit.extra)) if self.fit.family.dispersion else 1.0
        unknown = np.full(self.fit.theta.size, np.nan)
        beta = self.fit.beta + change
        return Estimates(beta, inverse @ inverse.T, sigma, unknown, np.nan)


@dataclass
class GeneralizedRefits:
    """Refits of a generalized model to the rows that stay."""

    fit: GLMMFit

    def without(self, rows: Rows) -> Estimates:
        """Estimates from the other rows."""
        fit, whole = self.fit, self.fit.problem
        stay = np.delete(np.arange(whole.y.size), rows)
        problem = replace(
            whole,
            y=whole.y[stay],
            weights=whole.weights[stay],
            offset=whole.offset[stay],
            X=whole.X[stay],
            basis=whole.basis[stay],
            factors=rows_of(whole.factors, stay),
        )
        basis = problem.basis / np.sqrt(whole.y.size)
        note = _hindrance(fit, rows, basis, basis.T @ basis)
        if note:
            return nothing(fit, note)
        criterion = replace(fit, problem=problem).criterion
        criterion.gamma = problem.R @ fit.beta
        p = 0 if fit.nAGQ == 0 else problem.p
        even = np.zeros(fit.point.size, dtype=bool)
        even[p : p + problem.template.size] = problem.template.even()
        outcome = newton(criterion.evaluate, fit.point, Control(), even=even)
        if not np.isfinite(outcome.point.value):
            return nothing(fit, "the likelihood is not finite")
        point = settle_zeros(criterion, outcome, problem.template, p)
        if not isinstance(point, GeneralizedPoint) or point.modes is None:
            raise TypeError("The search returned a point of another criterion.")
        _, theta, extra = criterion.split(point.theta)
        beta = np.asarray(np.linalg.solve(problem.R, point.modes.gamma), dtype=float)
        RX = np.linalg.cholesky(criterion.fixed_information(point)).T @ problem.R
        inverse = np.linalg.inv(RX)
        sigma = float(np.exp(0.5 * extra)) if fit.family.dispersion else 1.0
        return Estimates(
            beta,
            inverse @ inverse.T,
            sigma,
            problem.template.external(problem.template.canonical(theta)),
            sigma,
            "" if outcome.status == "converged" else "not converged",
        )


Refits = LinearRefits | WorkingSteps | GeneralizedRefits


def one_newton_step(gradient: Array, hessian: Array, theta: Array) -> Array:
    """Where one Newton step from theta leads, for gradients (k,) or (m, k).

    Curvatures count by their size, a step is at most half as long as theta is (or
    0.5), and one across zero ends there.
    """
    values, vectors = np.linalg.eigh(hessian)
    size = np.abs(values)
    size = np.maximum(size, 1e-8 * max(float(size.max(initial=0.0)), 1e-8))
    step = -((gradient @ vectors) / size) @ vectors.T
    radius = max(0.5, 0.5 * float(np.linalg.norm(theta)))
    length = np.linalg.norm(step, axis=-1, keepdims=True)
    moved = theta + step * np.minimum(1.0, radius / np.maximum(length, 1e-300))
    return np.where((theta > 0.0) & (moved < 0.0), 0.0, moved)


def refits_of(fit: MixedFit, one_step: bool) -> Refits:
    """What fits the model without some rows."""
    if not isinstance(fit, GLMMFit):
        return LinearRefits(fit, one_step)
    return WorkingSteps(fit) if one_step else GeneralizedRefits(fit)


def delete_units(
    refits: Refits, units: Sequence[Rows], *, n_jobs: int = 1, progress: bool = False
) -> list[Estimates]:
    """Estimates without each of the units.

    Parameters
    ----------
    refits : Refits
    units : sequence of (m,) intp
        Rows of each unit.
    n_jobs : int
        Processes, as in joblib: -1 for one a core.
    progress : bool
        Show a bar.
    """
    found: Generator[Estimates]
    if n_jobs == 1:
        found = (_safely(refits, rows) for rows in units)
    else:
        found = _in_parallel(refits, units, n_jobs)
    wrapped: Iterable[Estimates] = found
    if progress:
        from tqdm.auto import tqdm

        wrapped = tqdm(found, total=len(units), desc="deletion", unit="fit")
    problem = refits.fit.problem
    with (
        closing(found),
        suited_threads([f.levels * f.values.shape[1] for f in problem.factors]),
    ):
        return list(wrapped)


def _in_parallel(
    refits: Refits, units: Sequence[Rows], n_jobs: int
) -> Generator[Estimates]:
    step = max(1, min(_BATCH, -(-len(units) // (4 * abs(n_jobs)))))
    cuts = range(0, len(units), step)
    tasks = ((refits, units[first : first + step]) for first in cuts)
    with closing(in_order(_batch, tasks, n_jobs)) as batches:
        for batch in batches:
            yield from batch


def _batch(refits: Refits, units: Sequence[Rows]) -> list[Estimates]:
    return [_safely(refits, rows) for rows in units]


def _safely(refits: Refits, rows: Rows) -> Estimates:
    """Estimates, or NaN with the reason: one unit must not stop the others."""
    try:
        return refits.without(rows)
    except (FitError, np.linalg.LinAlgError) as error:
        reason = error.found if isinstance(error, FitError) else str(error)
        return nothing(refits.fit, reason)


def _hindrance(fit: MixedFit, rows: Rows, basis: Array, gram: Array) -> str:
    """Why a model cannot be fitted to the other rows; empty when it can."""
    n, p = basis.shape
    if n <= p:
        return f"{n} rows are left for {p} fixed effects"
    if not full_rank(basis, gram[:p, :p]):
        return "the fixed effects lose full rank"
    for group, factor in fit.design.flist.items():
        if len(factor.levels) > 1:
            left = np.bincount(factor.codes, minlength=len(factor.levels))
            left = left - np.bincount(factor.codes[rows], minlength=left.size)
            if np.count_nonzero(left) < 2:
                return f"one level of {group} is left"
    return ""
