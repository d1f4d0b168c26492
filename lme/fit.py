"""The hinge: from a design to the frozen record of an estimated model."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.convergence import Verdict, judge
from lme.engine import lmm
from lme.engine.choice import choose
from lme.engine.lmm import Criterion, Evaluation, Problem
from lme.engine.relcov import colour, gather
from lme.engine.threads import own
from lme.errors import (
    ConvergenceWarning,
    LMEWarning,
    PerformanceWarning,
)
from lme.fixing import hold
from lme.formula.design import Design
from lme.optimizers import find_optimizer
from lme.optimum import find_optimum
from lme.partitions.design import PartitionedDesign
from lme.partitions.sums import summed_problem
from lme.preparation import (
    active_information,
    boundary_words,
    by_terms,
    check_scale,
    check_sigma,
    engine_terms,
    keep_columns,
    modes_of,
    polish,
    settle_zeros,
    trace_of,
    warn_all,
)
from lme.search import Control, Trace, control_from
from lme.whitened import ResidualEstimate, estimate
from lme.wishes import read_start

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Fit:
    """A fitted linear mixed model.

    Attributes
    ----------
    design : Design
    problem : Problem
        Arrays and cross-products.
    reml : bool
    X : (n, p) array
        Fixed-effects columns that were kept.
    kept_columns : (p,) intp
        Their indices in ``design.column_names``.
    theta : (k,) array
        Relative covariance parameters, lme4's order; diagonals >= 0.
    lambdas : tuple of (p_k, p_k) arrays
        Relative covariance factor of each term.
    beta : (p,) array
    u, b : tuple of (l_k, p_k) arrays
        Spherical and original conditional modes of each term, ``b = lambda u``.
    sigma : float
        Residual standard deviation.
    objective : float
        ``-2 log-likelihood`` or the REML criterion.
    ldL2, ldRX2 : float
        ``log|M|`` and ``log|R_X|^2``.
    wrss, ussq, pwrss : float
        Weighted residual sum of squares, ``|u|^2``, and their sum.
    vcov_unscaled : (p, p) array
        Covariance of beta divided by ``sigma^2``.
    RX : (p, p) array
        Upper triangular, ``RX'RX = X'V^-1 X``.
    mu : (n,) array
        Fitted values, random effects included.
    convergence : Verdict
    trace : Trace
    warnings : tuple of Warning
    residual : ResidualEstimate or None
        Parameters of a residual structure; its variances are among ``design.weights``
        and its correlation is in ``problem.chain``.
    """

    design: Design
    problem: Problem
    reml: bool
    X: Array
    kept_columns: NDArray[np.intp]
    theta: Array
    lambdas: tuple[Array, ...]
    beta: Array
    u: tuple[Array, ...]
    b: tuple[Array, ...]
    sigma: float
    objective: float
    ldL2: float  # noqa: N815  (lme4's names)
    ldRX2: float  # noqa: N815
    wrss: float
    ussq: float
    pwrss: float
    vcov_unscaled: Array
    RX: Array
    mu: Array
    convergence: Verdict
    trace: Trace
    warnings: tuple[Warning, ...]
    options: Mapping[str, Any]
    residual: ResidualEstimate | None = None

    @property
    def criterion(self) -> Criterion:
        """The criterion with its kernel, made on demand for each thread."""
        return own(self, self._criterion)

    def _criterion(self) -> Criterion:
        kernel, _ = choose(self.problem.cross, self.convergence.kernel)
        return Criterion(self.problem, kernel, self.reml, self.known_sigma)

    @property
    def known_sigma(self) -> float | None:
        """The residual standard deviation, where it was given and not estimated."""
        sigma: float | None = self.options["sigma"]
        return sigma

    def __getstate__(self) -> dict[str, Any]:
        # A kernel holds factorizations that are cheap to make and large to keep.
        drop = {"_own"} if self.mu.size else {"_own", "b"}
        return {key: v for key, v in self.__dict__.items() if key not in drop}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # Without rows the modes are most of a fit, and b = lambda u.
        if "b" not in state:
            state["b"] = modes_of(state["design"], state["u"], state["lambdas"])
        self.__dict__.update(state)


def fit_lmm(
    design: Design,
    *,
    reml: bool = True,
    sigma: float | None = None,
    start: Any = None,
    fix: Any = None,
    kernel: str = "auto",
    optimizer: str = "auto",
    control: Mapping[str, Any] | Control | None = None,
    verbose: int = 0,
    rank: str = "drop",
) -> Fit:
    """Fit a linear mixed model.

    Parameters
    ----------
    design : Design
    reml : bool
        REML (default) or maximum likelihood.
    sigma : float, optional
        A known residual standard deviation; estimated by default.
    start : array of shape (k,) or {"theta": array}, optional
        Start of the search; by default from moments.
    fix : mapping, optional
        Elements of theta that are held; see `lme.fixing.hold`.
    kernel : {"auto", "blocked", "cholmod"}
    optimizer : str
        "auto" (trust-region Newton with the exact gradient) or a key of
        `lme.search.OPTIMIZERS`.
    control : mapping, optional
        Fields of `lme.search.Control`.
    verbose : int
        1 logs the evaluations to the logger ``lme``.
    rank : {"drop", "stop"}
        What to do with dependent columns of X.

    Raises
    ------
    OptionError
        For unknown options or a start of the wrong length.
    FitError
        When the criterion is not finite at the start.
    DataError
        For dependent columns with ``rank="stop"``.
    """
    options = {
        "sigma": check_sigma(sigma),
        "kernel": kernel,
        "optimizer": optimizer,
        "control": control,
        "verbose": verbose,
    }
    design = hold(design, fix)
    start = read_start(design, start, "sigma" if options["sigma"] is None else "")
    if isinstance(design, PartitionedDesign):
        summed, kept, notes = summed_problem(design, rank)
        return _fit_problem(design, summed, kept, reml, start, options, notes)
    X, kept, notes = keep_columns(design, rank)
    if design.residual is not None:
        return _fit_structured(design, X, kept, reml, start, options, notes)
    problem = lmm.build(
        design.y, X, engine_terms(design), weights=design.weights, offset=design.offset
    )
    return _fit_problem(design, problem, kept, reml, start, options, notes)


def refit(fit: Fit, y: Array) -> Fit:
    """The same model fitted to another response.

    Parameters
    ----------
    fit : Fit
    y : (n,) array
        For the rows that the model uses.
    """
    y = np.ascontiguousarray(y, dtype=float)
    design = replace(fit.design, y=y)
    if fit.residual is not None:
        return _fit_structured(
            design, fit.X, fit.kept_columns, fit.reml, None, fit.options, []
        )
    problem = lmm.with_response(fit.problem, y)
    # Moments of the new response are a better start than the old optimum.
    return _fit_problem(
        design, problem, fit.kept_columns, fit.reml, None, fit.options, []
    )


def _fit_structured(
    design: Design,
    X: Array,
    kept: NDArray[np.intp],
    reml: bool,
    start: Any,
    options: Mapping[str, Any],
    notes: list[LMEWarning],
) -> Fit:
    """Search for the residual structure too, and freeze."""
    found = estimate(design, X, reml=reml, start=start, options=options)
    notes = [*notes, *found.notes]
    warn_all(notes)
    fit = freeze(
        found.design,
        found.criterion,
        found.at,
        kept,
        found.verdict,
        found.trace,
        notes,
        options,
    )
    return replace(fit, residual=found.residual)


def _fit_problem(
    design: Design,
    problem: Problem,
    kept: NDArray[np.intp],
    reml: bool,
    start: Any,
    options: Mapping[str, Any],
    notes: list[LMEWarning],
) -> Fit:
    """Search, judge, and freeze."""
    began = time.perf_counter()
    control = control_from(options["control"])
    name = options["optimizer"]
    optimizer = find_optimizer(name)
    check_scale(problem.largest_residual, problem.largest_response)
    chosen, advice = choose(problem.cross, options["kernel"])
    if advice:
        notes = [*notes, PerformanceWarning(advice)]
    criterion = Criterion(problem, chosen, reml, options["sigma"])
    outcome = find_optimum(criterion, optimizer, start, control, options["verbose"])
    point = settle_zeros(criterion, outcome, problem.template)
    if not isinstance(point, Evaluation):
        raise TypeError("The search returned a point of another criterion.")
    seconds = time.perf_counter() - began
    verdict = judge(
        status=outcome.status,
        decrease=outcome.decrease,
        theta=point.theta,
        gradient=point.gradient,
        hessian=outcome.hessian,
        information=active_information(outcome, problem.template, point.theta),
        boundary=boundary_words(design, problem.template, point.theta),
        kernel=chosen.name,
        optimizer=name,
        evaluations=criterion.evaluations,
        seconds=seconds,
    )
    if not (verdict.converged and verdict.unique):
        notes = [*notes, ConvergenceWarning(verdict.message)]
    warn_all(notes)
    trace = trace_of(outcome, problem.template)
    final = polish(criterion, point, outcome.hessian)
    if not isinstance(final, Evaluation):
        raise TypeError("The search returned a point of another criterion.")
    return freeze(design, criterion, final, kept, verdict, trace, notes, options)


def freeze(
    design: Design,
    criterion: Criterion,
    at: Evaluation,
    kept: NDArray[np.intp],
    verdict: Verdict,
    trace: Trace,
    notes: list[LMEWarning],
    options: Mapping[str, Any],
) -> Fit:
    """Everything that the optimum implies, in the user's units."""
    problem, template = criterion.problem, criterion.problem.template
    theta = template.external(at.theta)
    known = [problem.cross.relation(f) for f in range(len(at.lambdas))]
    each = zip(known, criterion.scores(at), at.lambdas, strict=True)
    spherical = [gather(one, v @ lam) for one, v, lam in each]
    each = zip(known, spherical, at.lambdas, strict=True)
    modes = [colour(one, v) @ lam.T for one, v, lam in each]
    lambdas, u, b = by_terms(design, template, at.lambdas, spherical, modes)
    inner = problem.level + at.coefficients
    beta: Array = inner
    if problem.p:
        beta = np.asarray(np.linalg.solve(problem.R, inner), dtype=np.float64)
    RX = at.RX @ problem.R
    inverse = np.linalg.inv(RX) if problem.p else RX
    mu = problem.X @ beta
    if problem.offset is not None:
        mu = mu + problem.offset
    for term, modes_k in zip(design.terms, b, strict=True):
        if modes_k.shape[1] == 1:
            mu = mu + term.values[:, 0] * modes_k[term.codes, 0]
        else:
            mu = mu + np.einsum("np,np->n", term.values, modes_k[term.codes])
    ussq = float(sum(np.vdot(block, block) for block in u))
    ldRX2 = 2.0 * float(np.log(np.abs(RX.diagonal())).sum())
    return Fit(
        design=design,
        problem=problem,
        reml=criterion.reml,
        X=problem.X,
        kept_columns=kept,
        theta=theta,
        lambdas=lambdas,
        beta=beta,
        u=u,
        b=b,
        sigma=criterion.sigma or float(np.sqrt(at.r2 / criterion.df)),
        objective=at.value,
        ldL2=at.logdet,
        ldRX2=ldRX2,
        wrss=at.r2 - ussq,
        ussq=ussq,
        pwrss=at.r2,
        vcov_unscaled=inverse @ inverse.T,
        RX=RX,
        mu=mu,
        convergence=verdict,
        trace=trace,
        warnings=(*design.warnings, *notes),
        options=options,
    )


def objective_at(fit: Fit, theta: Array, reml: bool | None = None) -> float:
    """The criterion at another theta.

    Parameters
    ----------
    fit : Fit
    theta : (k,) array
        In the user's units, lme4's order.
    reml : bool, optional
        Which criterion; that of the fit by default.
    """
    criterion = Criterion(
        fit.problem,
        fit.criterion.borrow(),
        fit.reml if reml is None else reml,
        fit.known_sigma,
    )
    internal = fit.problem.template.internal(np.asarray(theta, float))
    return criterion.evaluate(internal, gradient=False).value
