"""The hinge for generalized models: from a design to the record of a fitted GLMM."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.convergence import Verdict, judge
from lme.engine import rows
from lme.engine.laplace import Evaluation, Laplace, differenced_hessian
from lme.engine.quadrature import criterion_of
from lme.engine.rows import RowSums, modes_by_factor
from lme.engine.threads import own, suited_threads
from lme.errors import ConvergenceWarning, FitError, LMEWarning, PerformanceWarning
from lme.families.base import Family
from lme.fixing import hold
from lme.formula.design import Design
from lme.optimizers import find_optimizer
from lme.partitions.design import PartitionedDesign
from lme.partitions.store import piecewise_problem
from lme.preparation import (
    active_information,
    boundary_words,
    by_terms,
    engine_terms,
    keep_columns,
    modes_of,
    second_opinion,
    separation,
    settle_zeros,
    trace_of,
    warn_all,
)
from lme.search import Control, Outcome, Trace, control_from
from lme.starting import (
    check_quadrature,
    extra_start,
    feasible,
    further_start,
    generalized_start,
)
from lme.wishes import Start, read_start

Array = NDArray[np.float64]


@dataclass(frozen=True)
class GLMMFit:
    """A fitted generalized linear mixed model.

    Attributes
    ----------
    problem : rows.Problem
    family : Family
    nAGQ : int
        0 for coefficients from PIRLS, 1 Laplace, more for quadrature.
    laplace : str
        "expected" or "observed" information in the determinant.
    X, kept_columns, design, trace, warnings : as in `lme.fit.Fit`
    theta : (k,) array
        Covariance parameters on the link scale (never multiplied by a scale).
    lambdas : tuple of (p_k, p_k) arrays
    beta : (p,) array
    u, b : tuple of (l_k, p_k) arrays
        Spherical and original conditional modes of each term, link scale.
    sigma : float
        Always 1: the covariance of the random effects is ``lambda lambda'``.
    extra : float
        Dispersion or negative binomial theta (natural scale); nan without one.
    objective : float
        ``-2 log-likelihood``, absolute for every nAGQ.
    deviance : float
        Conditional deviance at the modes.
    ldL2, ldRX2 : float
        ``log|H|`` and ``log|R_X|^2`` of the working model.
    ussq, pwrss : float
        ``|u|^2``, and with the working residuals' sum of squares.
    vcov_rx : (p, p) array
        Covariance of beta from the working model.
    RX : (p, p) array
    eta, mu : (n,) arrays
        Linear predictor and mean, random effects included.
    convergence : Verdict
    """

    design: Design
    problem: rows.Problem
    family: Family
    nAGQ: int  # noqa: N815  (lme4's name)
    laplace: str
    X: Array
    kept_columns: NDArray[np.intp]
    theta: Array
    lambdas: tuple[Array, ...]
    beta: Array
    u: tuple[Array, ...]
    b: tuple[Array, ...]
    sigma: float
    extra: float
    objective: float
    deviance: float
    ldL2: float  # noqa: N815
    ldRX2: float  # noqa: N815
    ussq: float
    pwrss: float
    vcov_rx: Array
    RX: Array
    eta: Array
    mu: Array
    convergence: Verdict
    trace: Trace
    warnings: tuple[Warning, ...]
    options: Mapping[str, Any]

    @property
    def reml(self) -> bool:
        """False: a GLMM has no REML criterion here."""
        return False

    @property
    def criterion(self) -> Laplace:
        """The criterion, made on demand for each thread."""
        observed = self.laplace == "observed"
        return own(self, lambda: criterion_of(self.problem, self.nAGQ, observed))

    @cached_property
    def point(self) -> Array:
        """The optimum in the parameters of the search."""
        theta = self.problem.template.internal(self.theta)
        parts = [theta] if self.nAGQ == 0 else [self.problem.R @ self.beta, theta]
        if self.family.extra is not None:
            parts.append(np.array([np.log(self.extra)]))
        return np.concatenate(parts)

    @property
    def rows(self) -> RowSums:
        """The rows at the modes, with derivatives of all orders."""
        problem = self.problem
        extra = float(np.log(self.extra)) if self.family.extra is not None else 0.0
        if self.eta.size:
            return problem.at_predictor(self.eta, extra, 2)
        b = modes_by_factor(problem.template, self.b)
        return problem.at(problem.R @ self.beta, b, extra, 2)

    @cached_property
    def hessian(self) -> Array:
        """Hessian of the objective by differences of the exact gradient, (m, m).

        In the parameters of the search. For ``nAGQ = 0`` coefficients are included by
        the Laplace criterion at the same point.
        """
        criterion, point = self.criterion, self.point
        if self.nAGQ == 0:
            criterion = Laplace(self.problem, observed=self.laplace == "observed")
            point = np.concatenate([self.problem.R @ self.beta, point])
        return differenced_hessian(criterion, point)

    @cached_property
    def vcov_hessian(self) -> Array | None:
        """Covariance of beta from the Hessian, (p, p); None if it is not positive."""
        p = self.problem.p
        H = self.hessian
        # Parameters on the boundary have no curvature to invert with.
        free = np.ones(len(H), dtype=bool)
        inner = self.problem.template.internal(self.theta)
        free[p : p + inner.size] = inner != 0.0
        try:
            np.linalg.cholesky(H[np.ix_(free, free)])
        except np.linalg.LinAlgError:
            return None
        block = 2.0 * np.linalg.inv(H[np.ix_(free, free)])[:p, :p]
        half = np.linalg.solve(self.problem.R, block)
        return np.linalg.solve(self.problem.R, half.T)

    def __getstate__(self) -> dict[str, Any]:
        # As in `lme.fit.Fit`: what is cheap to make again is not kept.
        drop = {"_own"} if self.mu.size else {"_own", "b"}
        return {key: v for key, v in self.__dict__.items() if key not in drop}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Without rows the modes are most of a fit, and b = lambda u.
        if "b" not in state:
            state["b"] = modes_of(state["design"], state["u"], state["lambdas"])
        self.__dict__.update(state)


def fit_glmm(
    design: Design,
    family: Family,
    *,
    nAGQ: int = 1,
    laplace: str = "auto",
    start: Any = None,
    fix: Any = None,
    optimizer: str = "auto",
    control: Mapping[str, Any] | Control | None = None,
    verbose: int = 0,
    rank: str = "drop",
) -> GLMMFit:
    """Fit a generalized linear mixed model.

    Parameters
    ----------
    design : Design
    family : Family
    nAGQ : int
        0, 1 (Laplace) or the number of quadrature nodes per level, at most 100.
    laplace : {"auto", "expected", "observed"}
        Information in ``log|H|``; "auto" is the expected one (as lme4) but for
        families with a dispersion.
    start : mapping with "theta" and "beta", or theta, optional
    fix : mapping, optional
        Elements of theta that are held; see `lme.fixing.hold`.
    optimizer, control, verbose, rank
        As for `lme.fit.fit_lmm`.

    Raises
    ------
    OptionError
        For impossible options.
    FitError
        When no finite point can be found.
    """
    design = hold(design, fix)
    problem, kept, notes = _problem(design, family, rank)
    scale = {"theta": "nb_theta", None: ""}.get(family.extra, "sigma")
    columns = [design.column_names[i] for i in kept]
    start = read_start(design, start, scale, columns)
    check_quadrature(nAGQ, laplace, problem)
    observed = laplace == "observed" or (laplace == "auto" and family.dispersion)
    options = {"optimizer": optimizer, "control": control, "verbose": verbose}
    options["laplace"] = laplace
    find_optimizer(optimizer)
    return _fit(design, problem, kept, nAGQ, observed, start, options, notes)


def _problem(
    design: Design, family: Family, rank: str
) -> tuple[rows.Problem, NDArray[np.intp], list[LMEWarning]]:
    if isinstance(design, PartitionedDesign):
        return piecewise_problem(design, family, rank)
    X, kept, notes = keep_columns(design, rank)
    terms, more = engine_terms(design), (design.weights, design.offset)
    return rows.build(design.y, X, terms, family, *more), kept, notes


def refit(fit: GLMMFit, y: Array) -> GLMMFit:
    """The same model fitted to another response (n,)."""
    y = np.ascontiguousarray(y, dtype=float)
    problem = replace(fit.problem, y=y)
    design = replace(fit.design, y=y)
    return _fit(
        design,
        problem,
        fit.kept_columns,
        fit.nAGQ,
        fit.laplace == "observed",
        None,
        fit.options,
        [],
    )


def _fit(
    design: Design,
    problem: rows.Problem,
    kept: NDArray[np.intp],
    nAGQ: int,
    observed: bool,
    given: Start | None,
    options: Mapping[str, Any],
    notes: list[LMEWarning],
) -> GLMMFit:
    """Search, judge, and freeze."""
    began = time.perf_counter()
    criterion = criterion_of(problem, nAGQ, observed)
    gamma, theta = generalized_start(problem, given)
    criterion.gamma = gamma
    psi = theta if nAGQ == 0 else np.concatenate([gamma, theta])
    offset = 0 if nAGQ == 0 else problem.p
    even = np.concatenate([np.zeros(offset, dtype=bool), problem.template.even()])
    if problem.family.extra is not None:
        psi = np.append(psi, extra_start(problem, given))
        even = np.append(even, False)
    sizes = [f.levels * f.values.shape[1] for f in problem.factors]
    optimizer = find_optimizer(options["optimizer"])
    control, verbose = control_from(options["control"]), options["verbose"]

    def search(start: Array) -> Outcome:
        return optimizer(criterion.evaluate, start, control, verbose, even)

    with suited_threads(sizes):
        outcome = search(psi)
        if outcome.status == "no start":
            outcome = search(feasible(criterion, psi, offset))
        other = further_start(problem, outcome.point, offset)
        if other is not None and outcome.status != "max_evaluations":
            outcome = second_opinion(
                criterion, outcome, other, even, search, always=True
            )
    point = outcome.point
    if np.isfinite(point.value):
        point = settle_zeros(criterion, outcome, problem.template, offset)
    kernel = criterion.pirls.kernel
    if not isinstance(point, Evaluation) or point.modes is None or kernel is None:
        raise FitError(
            "PIRLS found no finite deviance at the start of the search.",
            "Responses and predictors that the family and link can fit were expected.",
            "Check the scale of the predictors, look for groups that predict the "
            "response perfectly, or give another start.",
        )
    _, theta, _ = criterion.split(point.theta)
    verdict = judge(
        status=outcome.status,
        decrease=outcome.decrease,
        theta=point.theta,
        gradient=point.gradient,
        hessian=outcome.hessian,
        information=active_information(outcome, problem.template, theta, offset),
        boundary=boundary_words(design, problem.template, theta),
        kernel=kernel.name,
        optimizer=options["optimizer"],
        evaluations=criterion.evaluations,
        seconds=time.perf_counter() - began,
    )
    if criterion.pirls.advice:
        notes = [*notes, PerformanceWarning(criterion.pirls.advice)]
    separated = separation(problem, point.modes)
    if separated:
        notes = [*notes, ConvergenceWarning(separated)]
    elif not (verdict.converged and verdict.unique):
        notes = [*notes, ConvergenceWarning(verdict.message)]
    warn_all(notes)
    trace = trace_of(outcome, problem.template, offset)
    return freeze(design, criterion, point, kept, nAGQ, verdict, trace, notes, options)


def freeze(
    design: Design,
    criterion: Laplace,
    at: Evaluation,
    kept: NDArray[np.intp],
    nAGQ: int,
    verdict: Verdict,
    trace: Trace,
    notes: list[LMEWarning],
    options: Mapping[str, Any],
) -> GLMMFit:
    """Everything that the optimum implies, in the user's units."""
    problem, template, modes = criterion.problem, criterion.problem.template, at.modes
    if modes is None:
        raise FitError("The search ended at a point without modes.")
    gamma, theta_in, extra = criterion.split(at.theta)
    theta = template.external(theta_in)
    lambdas, u, b = by_terms(design, template, at.lambdas, modes.u, modes.b)
    gamma = modes.gamma
    beta = np.asarray(np.linalg.solve(problem.R, gamma) if problem.p else gamma)
    XVX = criterion.fixed_information(at)
    RX = np.linalg.cholesky(XVX).T @ problem.R if problem.p else XVX
    inverse = np.linalg.inv(RX) if problem.p else RX
    ussq = float(sum(np.vdot(v, v) for v in modes.u))
    family = problem.family
    phi = float(np.exp(extra)) if family.dispersion else 1.0
    return GLMMFit(
        design=design,
        problem=problem,
        family=family,
        nAGQ=nAGQ,
        laplace="observed" if criterion.observed else "expected",
        X=problem.X,
        kept_columns=kept,
        theta=theta,
        lambdas=lambdas,
        beta=beta,
        u=u,
        b=b,
        sigma=1.0,
        extra=float(np.exp(extra)) if family.extra is not None else float("nan"),
        objective=at.value,
        deviance=modes.rows.deviance * phi,
        ldL2=modes.logdet,
        ldRX2=2.0 * float(np.log(np.abs(RX.diagonal())).sum()),
        ussq=ussq,
        pwrss=ussq + modes.rows.working,
        vcov_rx=inverse @ inverse.T,
        RX=RX,
        eta=modes.eta,
        mu=family.mean(modes.eta),
        convergence=verdict,
        trace=trace,
        warnings=(*design.warnings, *notes),
        options=options,
    )
