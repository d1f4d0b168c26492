"""The hinge: from a design to the frozen record of an estimated model."""

from __future__ import annotations

import time
import warnings as _warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.linalg import spsolve_triangular

from lme.convergence import Verdict, boundary_directions, judge
from lme.covariance import STRUCTURES
from lme.engine import lmm, moments
from lme.engine.choice import choose
from lme.engine.decompositions import cholesky_lower, find_dependent_columns
from lme.engine.kernel import Kernel
from lme.engine.lmm import Criterion, Evaluation, Problem
from lme.engine.relcov import Template, Term
from lme.errors import (
    ConvergenceWarning,
    DataError,
    FitError,
    LMEWarning,
    OptionError,
    PerformanceWarning,
    RankWarning,
    near,
)
from lme.formula.design import Design
from lme.search import OPTIMIZERS, Control, Outcome, Point, Trace, control_from

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
    warnings : tuple of LMEWarning
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
    warnings: tuple[LMEWarning, ...]
    options: Mapping[str, Any]

    @cached_property
    def criterion(self) -> Criterion:
        """The criterion with its kernel, made again on demand."""
        kernel, _ = choose(self.problem.cross, self.convergence.kernel)
        return Criterion(self.problem, kernel, self.reml)

    def __getstate__(self) -> dict[str, Any]:
        # A kernel holds factorizations that are cheap to make and large to keep.
        return {key: v for key, v in self.__dict__.items() if key != "criterion"}


def engine_terms(design: Design) -> list[Term]:
    """The design's random terms as the engine takes them."""
    groups: dict[str, int] = {}
    return [
        Term(
            term.codes,
            len(term.levels),
            term.values,
            STRUCTURES[term.structure],
            groups.setdefault(term.group, len(groups)),
        )
        for term in design.terms
        if term.values.shape[1]
    ]


def keep_columns(
    design: Design, rank: str
) -> tuple[Array, NDArray[np.intp], list[LMEWarning]]:
    """Columns kept, their indices, and the warning that names the others."""
    dependent = find_dependent_columns(design.X)
    every = np.arange(design.X.shape[1])
    if not dependent.size:
        return design.X, every, []
    names = ", ".join(design.column_names[j] for j in dependent)
    many = dependent.size > 1
    found = (
        "The fixed-effects matrix is rank deficient: "
        f"{names} {'are' if many else 'is'} a linear combination of earlier columns."
    )
    if rank == "stop":
        raise DataError(
            found, "Linearly independent columns were expected.", "Leave them out."
        )
    kept = np.delete(every, dependent)
    action = f"Dropped {dependent.size} column{'s' if many else ''}."
    notes: list[LMEWarning] = [RankWarning(f"{found} {action}")]
    return np.ascontiguousarray(design.X[:, kept]), kept, notes


def _start(problem: Problem, start: Any) -> Array:
    """Start of the search in the internal basis, from the user's theta or moments."""
    if start is None:
        return moments.start(problem)
    if isinstance(start, Mapping):
        unknown = [key for key in start if key != "theta"]
        if unknown:
            raise OptionError(
                f"Unknown start value {unknown[0]!r}.",
                "A linear mixed model starts from 'theta' alone; the fixed effects "
                "are profiled out.",
                near(unknown[0], ["theta"]),
            )
        start = start["theta"]
    try:
        theta = np.atleast_1d(np.asarray(start, dtype=float))
    except (TypeError, ValueError):
        theta = np.array([np.nan])
    k = problem.template.size
    if theta.shape != (k,) or not np.isfinite(theta).all():
        raise OptionError(
            f"start has {theta.size} value{'s' if theta.size != 1 else ''} "
            "or values that are not finite numbers.",
            f"This model has {k} covariance parameters (theta).",
            "Give a finite number for each, in the order of result.theta.",
        )
    return problem.template.internal(theta)


class _Evaluator(Protocol):
    """Anything that gives a point at parameters, such as a criterion."""

    def evaluate(self, theta: Array, gradient: bool = True) -> Point:
        """Value and gradient."""


def settle_zeros(
    criterion: _Evaluator, outcome: Outcome, template: Template, offset: int = 0
) -> Point:
    """The optimum with non-negative diagonals and variances exactly zero.

    Parameters
    ----------
    criterion : object with ``evaluate``
    outcome : Outcome
    template : Template
    offset : int
        Parameters of the search before the covariance parameters.
    """
    point = outcome.point
    part = slice(offset, offset + template.size)
    theta = template.canonical(point.theta[part])
    diagonal = np.zeros(template.size, dtype=bool)
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        diagonal[slot.theta] = slot.structure.lower(p) == 0.0
    curvature = np.abs(outcome.hessian.diagonal()[part])
    # A zero can uncover another: the entries below it move to the next column.
    for _ in range(template.size):
        small = diagonal & (theta != 0.0) & (np.abs(theta) < 1e-3)
        small &= 0.5 * curvature * theta**2 < 1e-8
        if not small.any():
            break
        theta = template.canonical(np.where(small, 0.0, theta))
    if np.array_equal(theta, point.theta[part]):
        return point
    settled = point.theta.copy()
    settled[part] = theta
    trial = criterion.evaluate(settled)
    return trial if trial.value <= point.value + 1e-8 else point


def warn_all(notes: Sequence[LMEWarning]) -> None:
    """Issue the warnings of a fit where the user called for it."""
    for note in notes:
        _warnings.warn(note, stacklevel=5)


def boundary_words(design: Design, template: Template, theta: Array) -> list[str]:
    """Every direction without variance, in words."""
    terms = [term for term in design.terms if term.values.shape[1]]
    external = template.external(theta)
    out = []
    for slot, term in zip(template.slots, terms, strict=True):
        p = len(term.columns)
        out += boundary_directions(
            slot.structure.factor(external[slot.theta], p),
            slot.structure.factor(theta[slot.theta], p),
            term.columns,
            term.group,
        )
    return out


def fit_lmm(
    design: Design,
    *,
    reml: bool = True,
    start: Any = None,
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
    start : array of shape (k,) or {"theta": array}, optional
        Start of the search; by default from moments.
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
    X, kept, notes = keep_columns(design, rank)
    problem = lmm.build(
        design.y, X, engine_terms(design), weights=design.weights, offset=design.offset
    )
    options = {
        "kernel": kernel,
        "optimizer": optimizer,
        "control": control,
        "verbose": verbose,
    }
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
    problem = lmm.with_response(fit.problem, y)
    design = replace(fit.design, y=y)
    # Moments of the new response are a better start than the old optimum.
    return _fit_problem(
        design, problem, fit.kept_columns, fit.reml, None, fit.options, []
    )


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
    if name not in OPTIMIZERS:
        raise OptionError(
            f"Unknown optimizer {name!r}.",
            f"The optimizers are {', '.join(OPTIMIZERS)}.",
            near(str(name), OPTIMIZERS),
        )
    chosen, advice = choose(problem.cross, options["kernel"])
    if advice:
        notes = [*notes, PerformanceWarning(advice)]
    criterion = Criterion(problem, chosen, reml)
    outcome = OPTIMIZERS[name](
        criterion.evaluate,
        _start(problem, start),
        control,
        options["verbose"],
        problem.template.even(),
    )
    if outcome.status == "no start":
        raise FitError(
            "The criterion is not a finite number at the start of the search.",
            "Data and start of moderate size were expected.",
            "Rescale columns beyond 1e150, or give another start.",
        )
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
        information=outcome.information,
        boundary=boundary_words(design, problem.template, point.theta),
        kernel=chosen.name,
        optimizer=name,
        evaluations=criterion.evaluations,
        seconds=seconds,
    )
    if not (verdict.converged and verdict.unique):
        notes = [*notes, ConvergenceWarning(verdict.message)]
    warn_all(notes)
    trace = Trace(
        np.array([value for _, value, _ in outcome.points]),
        np.array([norm for _, _, norm in outcome.points]),
        np.array([problem.template.external(theta) for theta, _, _ in outcome.points]),
    )
    return _freeze(design, criterion, point, kept, verdict, trace, notes, options)


def _freeze(
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
    d = criterion.scores(at)
    modes = [(v @ lam) @ lam.T for v, lam in zip(d, at.lambdas, strict=True)]
    lambdas, u, b = [], [], []
    slots = iter(template.slots)
    for term in design.terms:
        p = term.values.shape[1]
        if not p:
            # A term such as (0 | g) has no columns, hence no parameters either.
            lambdas.append(np.zeros((0, 0)))
            u.append(np.zeros((len(term.levels), 0)))
            b.append(np.zeros((len(term.levels), 0)))
            continue
        slot = next(slots)
        lam = at.lambdas[slot.factor][slot.columns, slot.columns]
        lambdas.append(slot.structure.factor(theta[slot.theta], p))
        u.append(d[slot.factor][:, slot.columns] @ lam)
        b.append(modes[slot.factor][:, slot.columns] @ slot.basis.T)
    inner = problem.level + at.coefficients
    beta = np.linalg.solve(problem.R, inner) if problem.p else inner
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
        lambdas=tuple(lambdas),
        beta=beta,
        u=tuple(u),
        b=tuple(b),
        sigma=float(np.sqrt(at.r2 / criterion.df)),
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
        fit.problem, fit.criterion.kernel, fit.reml if reml is None else reml
    )
    internal = fit.problem.template.internal(np.asarray(theta, float))
    return criterion.evaluate(internal, gradient=False).value


def conditional_covariance(fit: Fit) -> tuple[Array, ...]:
    """``sigma^2 Lambda M^-1 Lambda'`` by level, per term (l, p, p).

    The covariance of the random effects given the data, theta and beta (lme4's
    ``condVar``), on the squared scale of the effects.
    """
    template = fit.problem.template
    kernel: Kernel = fit.criterion.kernel
    internal = template.internal(fit.theta)
    kernel.factor(template.lambdas(internal))
    blocks = kernel.blocks()
    out = []
    slots = iter(template.slots)
    for term in fit.design.terms:
        if not term.values.shape[1]:
            out.append(np.zeros((len(term.levels), 0, 0)))
            continue
        slot = next(slots)
        inner = blocks[slot.factor][:, slot.columns, slot.columns]
        out.append(fit.sigma**2 * (slot.basis @ inner @ slot.basis.T))
    return tuple(out)


def internals(fit: Fit) -> dict[str, Any]:
    """Sparse matrices of the fitted model in the user's units.

    Returns
    -------
    dict
        ``Zt`` (q, n), ``Lambdat`` (q, q), ``L`` (q, q) lower triangular with
        ``L L' = Lambda' Z' W Z Lambda + I`` (no permutation), ``RZX`` (q, p), ``A``
        (q, q) ``= Lambda' Z' W Z Lambda`` and ``u``, ``b`` (q,) in the same order.
    """
    Zt = fit.design.Zt.tocsr()
    Lambda = sparse.block_diag(
        [
            sparse.kron(sparse.eye_array(len(term.levels)), lam)
            for term, lam in zip(fit.design.terms, fit.lambdas, strict=True)
        ],
        format="csr",
    )
    weights = fit.problem.sqrt_weights
    half = Lambda.T @ Zt
    X = fit.X
    if weights is not None:
        half = half @ sparse.diags_array(weights)
        X = X * weights[:, None]
    A = (half @ half.T).tocsc()
    L = cholesky_lower(A + sparse.eye_array(A.shape[0], format="csc"))
    RZX = spsolve_triangular(L.tocsr(), half @ X, lower=True)
    return {
        "Zt": Zt,
        "Lambdat": Lambda.T.tocsr(),
        "L": L,
        "RZX": RZX,
        "A": A,
        "u": np.concatenate([block.ravel() for block in fit.u]),
        "b": np.concatenate([block.ravel() for block in fit.b]),
    }
