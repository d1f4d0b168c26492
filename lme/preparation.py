"""Steps that every fit takes: from a design to arrays, and from a search to words."""

from __future__ import annotations

import warnings as _warnings
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lme.convergence import boundary_directions
from lme.covariance import STRUCTURES
from lme.engine import rows
from lme.engine.decompositions import find_dependent_columns
from lme.engine.pirls import Modes
from lme.engine.relcov import Template, Term, colour, lower_factor
from lme.errors import (
    DataError,
    DesignError,
    FitError,
    LMEWarning,
    OptionError,
    RankWarning,
)
from lme.formula.design import Design, RandomTerm
from lme.search import Outcome, Point, Trace, newton_step

Array = NDArray[np.float64]

#: Fitted probabilities this near 0 or 1 are no longer what data tell: 15 logits.
_SEPARATED = 3e-7


def engine_terms(design: Design) -> list[Term]:
    """The design's random terms as the engine takes them.

    Raises
    ------
    DesignError
        When no term has a column, as with ``(0 | g)`` alone.
    """
    groups: dict[str, int] = {}
    if not any(term.values.shape[1] for term in design.terms):
        raise DesignError(
            "No random-effects term has a column.",
            "At least one random effect was expected, such as (1 | g).",
            "Leave out the 0 on the left of the bar.",
        )
    terms = [term for term in design.terms if term.values.shape[1]]
    places = _places(terms)
    return [
        Term(
            term.codes,
            len(term.levels),
            term.values,
            term.held or STRUCTURES[term.structure],
            groups.setdefault(term.group, len(groups)),
            term.known,
            place,
        )
        for term, place in zip(terms, places, strict=True)
    ]


def _places(terms: Sequence[RandomTerm]) -> list[NDArray[np.intp] | None]:
    """Positions of the terms' parameters where terms share some; None: in order."""
    if not any(term.held for term in terms):
        return [None] * len(terms)
    numbers: dict[object, int] = {}
    out: list[NDArray[np.intp] | None] = []
    for k, term in enumerate(terms):
        keys: Sequence[object]
        if term.held:
            keys = term.held.keys
        else:
            size = STRUCTURES[term.structure].size(term.values.shape[1])
            keys = [(k, i) for i in range(size)]
        found = [numbers.setdefault(key, len(numbers)) for key in keys]
        out.append(np.array(found, dtype=np.intp))
    return out


_UNITS = ("Expected between 1e-60 and 1e60.", "Express it in other units.")


def _check_sizes(X: Array, names: Sequence[str]) -> None:
    """Refuse columns of which squares, and squares of squares, are not numbers."""
    if not X.size:
        return
    sizes = np.maximum(X.max(axis=0), -X.min(axis=0))
    for name, size in zip(names, sizes, strict=True):
        if size != 0.0 and not 1e-60 < size < 1e60:
            raise FitError(
                f"The column {name!r} has values as large as {size:.0e}.", *_UNITS
            )


def keep_columns(
    design: Design, rank: str
) -> tuple[Array, NDArray[np.intp], list[LMEWarning]]:
    """Columns kept, their indices, and the warning that names the others."""
    _check_sizes(design.X, design.column_names)
    for term in design.terms:
        _check_sizes(term.values, term.columns)
    if design.y.size and (size := np.abs(design.y).max()) >= 1e60:
        raise _scale_of_response(float(size))
    dependent = find_dependent_columns(design.X)
    every = np.arange(design.X.shape[1])
    n, p = design.nobs, every.size - dependent.size
    if p >= n:
        raise DesignError(
            f"The fixed effects take {p} independent columns, and there are {n} rows.",
            "Fewer columns than rows were expected.",
            "Leave out terms, or make a factor with a level for every row random.",
        )
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


class Evaluator(Protocol):
    """Anything that gives a point at parameters, such as a criterion."""

    def evaluate(self, theta: Array, gradient: bool = True) -> Point:
        """Value and gradient."""


def settle_zeros(
    criterion: Evaluator, outcome: Outcome, template: Template, offset: int = 0
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


def active_information(
    outcome: Outcome, template: Template, theta: Array, offset: int = 0
) -> Array:
    """Information of the parameters that still change the covariance.

    Parameters
    ----------
    outcome : Outcome
    template : Template
    theta : (k,) array
    offset : int
        Parameters of the search before the covariance parameters.
    """
    active = np.ones(len(outcome.information), dtype=bool)
    active[offset : offset + template.size] = ~template.idle(theta)
    return np.asarray(outcome.information[np.ix_(active, active)])


def trace_of(outcome: Outcome, template: Template, offset: int = 0) -> Trace:
    """Every evaluation of a search, theta in the user's units.

    Parameters
    ----------
    outcome : Outcome
    template : Template
    offset : int
        Parameters of the search before the covariance parameters.
    """
    part = slice(offset, offset + template.size)
    return Trace(
        np.array([value for _, value, _ in outcome.points]),
        np.array([norm for _, _, norm in outcome.points]),
        np.array([template.external(at[part]) for at, _, _ in outcome.points]),
    )


def by_terms(
    design: Design,
    template: Template,
    factors: Sequence[Array],
    spherical: Sequence[Array],
    modes: Sequence[Array],
) -> tuple[tuple[Array, ...], tuple[Array, ...], tuple[Array, ...]]:
    """Relative factors, spherical and original modes of each term, user's columns.

    Parameters
    ----------
    design : Design
    template : Template
    factors : sequence of (p, p) arrays
        ``lambda`` of each grouping factor in the internal basis.
    spherical, modes : sequences of (l, p) arrays
        Of each grouping factor in the internal basis.
    """
    lambdas, u, b = [], [], []
    slots = iter(template.slots)
    for term in design.terms:
        if not term.values.shape[1]:
            # A term such as (0 | g) has no columns, hence no parameters either.
            lambdas.append(np.zeros((0, 0)))
            u.append(np.zeros((len(term.levels), 0)))
            b.append(np.zeros((len(term.levels), 0)))
            continue
        slot = next(slots)
        part = slot.columns
        L, rotation = slot.outward(factors[slot.factor][part, part])
        lambdas.append(L)
        u.append(spherical[slot.factor][:, part] @ rotation.T)
        b.append(modes[slot.factor][:, part] @ slot.basis.T)
    return tuple(lambdas), tuple(u), tuple(b)


def modes_of(
    design: Design, u: Sequence[Array], lambdas: Sequence[Array]
) -> tuple[Array, ...]:
    """Modes of each term, ``b = (T (x) lambda) u``, from the spherical ones."""
    each = zip(design.terms, u, lambdas, strict=True)
    return tuple(colour(term.known, v) @ factor.T for term, v, factor in each)


def check_scale(left: float, size: float) -> None:
    """Refuse a response that the fixed effects explain exactly, or beyond all scale.

    Parameters
    ----------
    left : float
        Largest absolute value that least squares on the fixed effects leaves.
    size : float
        Largest absolute value of the response.

    Raises
    ------
    FitError
    """
    if left <= 1e-14 * size or size == 0.0:
        raise FitError(
            "The fixed effects explain the response exactly: nothing is left to vary.",
            "A residual variance above zero was expected.",
            "Look for the response, or what it was made from, among the predictors.",
        )
    if not 1e-60 < left < 1e60:
        raise _scale_of_response(left)


def _scale_of_response(size: float) -> FitError:
    return FitError(f"The response varies on the scale of {size:.0e}.", *_UNITS)


def check_sigma(sigma: Any) -> float | None:
    """A known residual standard deviation, checked.

    Raises
    ------
    OptionError
        Unless it is None or a positive, finite number.
    """
    if sigma is None:
        return None
    if isinstance(sigma, int | float | np.number) and not isinstance(sigma, bool):
        value = float(sigma)
        if 1e-60 < value < 1e60:
            return value
        if 0.0 < value < np.inf:
            raise OptionError(
                f"sigma={sigma!r} is beyond the scale of numbers that can be squared.",
                "A residual standard deviation between 1e-60 and 1e60 was expected.",
                "Express the response in other units.",
            )
    raise OptionError(
        f"sigma={sigma!r} is not a positive number.",
        "It is a known residual standard deviation; None estimates it.",
        "For known variances v of the rows give weights=1/v and sigma=1.",
    )


def second_opinion(
    criterion: Evaluator,
    outcome: Outcome,
    other: Array,
    even: NDArray[np.bool_],
    search: Callable[[Array], Outcome],
    always: bool = False,
) -> Outcome:
    """Search from `other` too where the start may have led astray.

    A start on zero stays on a local minimum there, and one that is far off can end in
    a flat tail: both look converged. The better end is kept, with its own trace.
    """
    astray = always or bool((np.abs(outcome.point.theta[even]) < 1e-3).any())
    if not astray:
        astray = criterion.evaluate(other, gradient=False).value < outcome.point.value
    if not astray:
        return outcome
    again = search(other)
    return again if again.point.value < outcome.point.value - 1e-9 else outcome


def polish(criterion: Evaluator, at: Point, hessian: Array) -> Point:
    """One more Newton step, without another gradient: the last digits of theta."""
    if not hessian.size or not np.isfinite(hessian).all():
        return at
    _, promise, full = newton_step(at.gradient, hessian, np.inf)
    if not 1e-12 < full < 1e-6 or promise != full:
        return at
    values = np.linalg.eigvalsh(hessian)
    if values[0] <= 1e-8 * values[-1]:
        return at
    step = -np.linalg.solve(hessian, at.gradient)
    trial = criterion.evaluate(
        np.where(at.theta == 0.0, 0.0, at.theta + step), gradient=False
    )
    noise = 1e-12 * (1.0 + abs(at.value))
    return trial if trial.value <= at.value + noise else at


def separation(problem: rows.Problem, modes: Modes | None) -> str:
    """A sentence when fitted probabilities run off to zero or one, else empty.

    A coefficient that is well determined can predict 0 or 1 far out; one that
    separates leaves its rows a standard error beyond their linear predictor.
    """
    binary = problem.family.name in ("bernoulli", "binomial")
    if modes is None or not (binary and problem.p):
        return ""
    values, vectors = np.linalg.eigh(modes.rows.fixed_products(observed=False)[0])
    count = 0
    for block in problem.blocks():
        fixed = block.basis @ modes.gamma
        mean = problem.family.mean(fixed + block.offset)
        extreme = (mean < _SEPARATED) | (mean > 1.0 - _SEPARATED)
        along = block.basis[extreme] @ vectors
        variances = (along**2 / np.maximum(values, 1e-14 * values[-1])).sum(axis=1)
        count += int((variances > fixed[extreme] ** 2).sum())
    if not count:
        return ""
    return (
        f"Complete or quasi-complete separation: {count} of {problem.n} rows have "
        "a fitted probability of 0 or 1 from the fixed effects alone, so that "
        "coefficients grow without bound. Estimates and standard errors of the "
        "separating predictors mean nothing; drop or merge them, or use a penalty."
    )


def warn_all(notes: Sequence[LMEWarning]) -> None:
    """Issue the warnings of a fit where the user called for it."""
    for note in notes:
        _warnings.warn(note, stacklevel=5)


def boundary_words(design: Design, template: Template, theta: Array) -> list[str]:
    """Every direction without variance, in words."""
    terms = [term for term in design.terms if term.values.shape[1]]
    out = []
    for slot, term in zip(template.slots, terms, strict=True):
        p = len(term.columns)
        out += boundary_directions(
            slot.outward(slot.structure.factor(theta[slot.theta], p))[0],
            lower_factor(slot.structure.factor(theta[slot.theta], p))[0],
            np.sqrt((slot.inverse**2).sum(axis=0)),
            term.columns,
            term.group,
        )
    return out
