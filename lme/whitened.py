"""Models whose residuals have a structure: one search for all covariance parameters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.convergence import Verdict, judge
from lme.engine import lmm
from lme.engine.lmm import Criterion, Evaluation, Problem
from lme.engine.structured import StructuredCriterion, StructuredEvaluation
from lme.engine.threads import suited_threads
from lme.errors import (
    ConvergenceWarning,
    DesignError,
    FitError,
    LMEWarning,
    PerformanceWarning,
)
from lme.formula.design import Design
from lme.optimizers import find_optimizer
from lme.preparation import (
    boundary_words,
    check_scale,
    engine_terms,
    polish,
    settle_zeros,
)
from lme.residual import RESIDUALS, Composition, Rows, compose
from lme.search import Outcome, Trace, control_from
from lme.starting import linear_start

Array = NDArray[np.float64]


@dataclass(frozen=True)
class ResidualEstimate:
    """Estimated parameters of a residual structure.

    Attributes
    ----------
    text : str
        The structure as R would write it.
    phi : (m,) array
        Parameters of the search, unconstrained.
    values : (m,) array
        What they stand for: correlations, ratios of standard deviations, powers.
    names : tuple of (str, str)
        Term and parameter of each.
    """

    text: str
    phi: Array
    values: Array
    names: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Whitened:
    """Where the search of a model with a residual structure ended.

    Attributes
    ----------
    design : Design
        With the estimated variances among its weights.
    criterion : Criterion
        Of the whitened problem.
    at : Evaluation
    residual : ResidualEstimate
    verdict : Verdict
        Its gradient and Hessian are of phi, then theta.
    trace : Trace
    notes : list of LMEWarning
    """

    design: Design
    criterion: Criterion
    at: Evaluation
    residual: ResidualEstimate
    verdict: Verdict
    trace: Trace
    notes: list[LMEWarning]


def composition(design: Design) -> Composition:
    """The residual structure of a design, with its rows.

    Raises
    ------
    DesignError
        If groups of the correlation are not nested in those of the random effects.
    """
    if design.residual is None:
        raise TypeError("The design has no residual structure.")
    terms = [
        (RESIDUALS[term.name], Rows(term.text, term.values, term.codes, term.labels))
        for term in design.residual.terms
    ]
    found = compose(terms, design.nobs)
    if found.link is not None:
        _check_nested(design, found)
    return found


def _check_nested(design: Design, structure: Composition) -> None:
    """Whitening mixes rows of one group: their random effects must be the same."""
    link = structure.link
    if link is None:
        return
    after = link.order[link.linked]
    before = link.order[np.flatnonzero(link.linked) - 1]
    for term in design.terms:
        crossed = term.codes[after] != term.codes[before]
        if crossed.any() and term.values.shape[1]:
            label = link.rows.labels[link.rows.codes[after[crossed][0]]]
            raise DesignError(
                f"Rows of the group {label} of {link.rows.text} belong to several "
                f"levels of {term.group}.",
                "The groups of a residual correlation must be nested in those of the "
                "random effects, as nlme's must.",
                f"Correlate within finer groups, such as {term.group}, or leave the "
                f"random effects of {term.group} out.",
            )


def estimate(
    design: Design,
    X: Array,
    *,
    reml: bool,
    start: Any,
    options: Mapping[str, Any],
) -> Whitened:
    """Search for phi and theta, and judge the end.

    Parameters
    ----------
    design : Design
        With a residual structure.
    X : (n, p) array
        Fixed-effects columns that are kept.
    reml : bool
    start : array or mapping, optional
        Start of theta; by default from moments.
    options : mapping
        Those of `lme.fit.fit_lmm`.
    """
    if design.residual is None:
        raise TypeError("The design has no residual structure.")
    began = time.perf_counter()
    structure = composition(design)
    base = _base(design, X)
    check_scale(base.largest_residual, base.largest_response)
    criterion = StructuredCriterion(
        base, structure, options["kernel"], reml, options["sigma"]
    )
    notes: list[LMEWarning] = []
    if criterion.advice:
        notes.append(PerformanceWarning(criterion.advice))
    outcome = _search(criterion, start, options)
    point = settle_zeros(criterion, outcome, base.template, criterion.size)
    verdict = _judge(design, criterion, outcome, point, options, began)
    if not (verdict.converged and verdict.unique):
        notes.append(ConvergenceWarning(verdict.message))
    final = polish(criterion, point, outcome.hessian)
    problem = criterion.final_problem(final.theta[: criterion.size])
    criterion.kernel.load(problem.cross)
    inner = Criterion(problem, criterion.kernel, reml, options["sigma"])
    at = inner.evaluate(criterion.final_theta(final.theta))
    return Whitened(
        _weighted(design, structure, problem),
        inner,
        at,
        _estimated(design.residual.text, structure, final.theta),
        verdict,
        _trace(criterion, outcome),
        notes,
    )


def _weighted(design: Design, structure: Composition, problem: Problem) -> Design:
    """The design with the variances of a whitened problem among its weights."""
    if structure.variances and problem.sqrt_weights is not None:
        return replace(design, weights=problem.sqrt_weights**2)
    return design


def whitened_at(
    design: Design, X: Array, phi: Array
) -> tuple[Design, Problem, ResidualEstimate]:
    """Design, whitened problem and structure at known residual parameters.

    Parameters
    ----------
    design : Design
        With a residual structure.
    X : (n, p) array
        Fixed-effects columns that are kept.
    phi : (m,) array

    Raises
    ------
    ValueError
        If phi is out of reach.
    """
    if design.residual is None:
        raise TypeError("The design has no residual structure.")
    structure = composition(design)
    base = _base(design, X)
    # The kernel and the criterion do not matter here.
    criterion = StructuredCriterion(base, structure, "auto", reml=False)
    problem = criterion.final_problem(phi)
    estimated = _estimated(design.residual.text, structure, phi)
    return _weighted(design, structure, problem), problem, estimated


def _base(design: Design, X: Array) -> Problem:
    """The problem without the structure, by the prior weights."""
    if design.residual is None:
        raise TypeError("The design has no residual structure.")
    weights, terms = design.residual.weights, engine_terms(design)
    return lmm.build(design.y, X, terms, weights=weights, offset=design.offset)


def _search(
    criterion: StructuredCriterion, start: Any, options: Mapping[str, Any]
) -> Outcome:
    """The best of the searches from all starts."""
    control = control_from(options["control"])
    optimizer = find_optimizer(options["optimizer"])
    structure, template = criterion.structure, criterion.base.template
    even = np.append(np.zeros(criterion.size, dtype=bool), template.even())
    best: Outcome | None = None
    with suited_threads(criterion.base.cross.sizes):
        for phi in structure.starts():
            problem = criterion.problem_at(phi)
            if problem is None:
                continue
            psi = np.concatenate([phi, linear_start(problem, start)])
            found = optimizer(
                criterion.evaluate, psi, control, options["verbose"], even
            )
            if found.status == "no start":
                continue
            if best is None or found.point.value < best.point.value - 1e-9:
                best = found
    if best is None:
        raise FitError(
            "The criterion is not a finite number at the start of the search.",
            "Data and start of moderate size were expected.",
            "Rescale columns beyond 1e150, or give another start.",
        )
    return best


def _judge(
    design: Design,
    criterion: StructuredCriterion,
    outcome: Outcome,
    point: Any,
    options: Mapping[str, Any],
    began: float,
) -> Verdict:
    """The verdict; parameters at the end of their range count as boundary."""
    m, template = criterion.size, criterion.base.template
    structure = criterion.structure
    if not isinstance(point, StructuredEvaluation):
        raise TypeError("The search returned a point of another criterion.")
    phi, theta = point.theta[:m], point.theta[m:]
    active = ~np.concatenate([structure.bound(phi), template.idle(theta)])
    words = [*boundary_words(design, template, theta), *structure.boundary(phi)]
    return judge(
        status=outcome.status,
        decrease=outcome.decrease,
        theta=point.theta,
        gradient=point.gradient,
        hessian=outcome.hessian,
        information=outcome.information[np.ix_(active, active)],
        boundary=words,
        kernel=criterion.kernel.name,
        optimizer=options["optimizer"],
        evaluations=criterion.evaluations,
        seconds=time.perf_counter() - began,
    )


def _estimated(text: str, structure: Composition, psi: Array) -> ResidualEstimate:
    phi = psi[: structure.size].copy()
    return ResidualEstimate(text, phi, structure.natural(phi), tuple(structure.names()))


def _trace(criterion: StructuredCriterion, outcome: Outcome) -> Trace:
    """Every evaluation of the search, theta in the user's units."""
    template = criterion.base.template
    return Trace(
        np.array([value for _, value, _ in outcome.points]),
        np.array([norm for _, _, norm in outcome.points]),
        np.array(
            [
                template.external(criterion.final_theta(psi))
                for psi, _, _ in outcome.points
            ]
        ),
    )
