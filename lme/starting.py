"""Where a search starts: moments, or what the user wishes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.engine import lmm, moments, rows
from lme.engine.crossproducts import CrossProducts
from lme.engine.laplace import Laplace
from lme.engine.pirls import Modes, Pirls
from lme.engine.relcov import Slot, Template
from lme.errors import OptionError, near
from lme.search import Point
from lme.wishes import Start

Array = NDArray[np.float64]

#: Levels below which a factor without a constant beside it asks for a second start.
_FEW_LEVELS = 6
#: Evaluations of a search that went straight to its optimum.
_SHORT = 10
#: Covariance parameters above which further starts would take too long.
_MOST_PARAMETERS = 25
#: Share of the standard deviations by moments below which an end is far from them.
_SMALLER = 0.3
#: Standard deviation of effects on the link scale above which groups are all alike.
_ALIKE = 6.0
#: Factor from there to the second start.
_FURTHER = 2.5
#: Nodes of a level in all dimensions.
_MOST_NODES = 1500


def linear_start(problem: lmm.Problem, start: Start | None) -> Array:
    """Start of the search in the internal basis, from the user's wishes or moments."""
    guess = moments.start(problem)
    if start is None:
        return guess
    template = problem.template
    scale = start.sigma
    if scale is None:
        scale = float(np.sqrt(moments.residual_variance(problem)))
    theta = start.elements(template.external(guess), template, scale)
    return template.internal(theta)


def other_starts(problem: lmm.Problem, given: Any, evaluations: int) -> list[Array]:
    """Further starts where one is not enough, as its number of evaluations may tell.

    A start of the user's is held against that from moments. Without a constant among
    the fixed effects, factors of few levels compete for the mean of the response, and
    the criterion has a minimum for each that wins: each gets a start. Three effects a
    level and few levels leave room for several minima: where the search was not short,
    variances of other sizes are further starts.
    """
    if given is not None:
        return [moments.start(problem)]
    if evaluations > _SHORT and _crowded(problem):
        return [scale * _identity(problem.template) for scale in (1.0, 0.3, 0.1)]
    levels = np.array([problem.cross.levels[s.factor] for s in problem.template.slots])
    few = np.flatnonzero(levels < _FEW_LEVELS)
    if few.size < 2:
        return []
    if problem.constant_outside <= 1e-8:
        return []
    first, out = moments.start(problem), []
    for winner in few:
        theta = first.copy()
        for number in few:
            slot = problem.template.slots[number]
            identity = slot.structure.start(slot.columns.stop - slot.columns.start)
            theta[slot.theta] = identity * (1.0 if number == winner else 0.1)
        out.append(theta)
    return out


def _crowded(problem: lmm.Problem) -> bool:
    """Whether some term has hardly more levels than (co)variances."""
    if problem.template.size > _MOST_PARAMETERS:
        return False
    for slot in problem.template.slots:
        p = slot.columns.stop - slot.columns.start
        k = slot.structure.size(p)
        if k > 2 * p - 1 and problem.cross.levels[slot.factor] <= 2 * k:
            return True
    return False


def correlated_starts(problem: lmm.Problem, theta: Array) -> list[Array]:
    """Starts with strong correlations, where a pattern of them ended beside zeros.

    Deviations that are searched by their logarithm reach zero only in the limit, and a
    pattern of correlations can hold them there although another one is better. The
    last start has variances of one for every term, which moments may all see in one.

    Parameters
    ----------
    problem : Problem
    theta : (k,) array
        The end of a search, internal basis.
    """
    template = problem.template
    if not template.idle(theta).any():
        return []
    first = moments.start(problem)
    beside, smaller = first.copy(), False
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        if not slot.structure.linear and p > 1:
            end, guess = (_deviations(slot, at) for at in (theta, first))
            # Small deviations have minima that larger ones lead past.
            level = float(np.sqrt(max(end.max(), 1e-8) * guess.max()))
            beside[slot.theta] = slot.structure.pack(level * np.eye(p))
            smaller |= bool(end.max() < _SMALLER * guess.max())
    correlated = [
        _neighbours(template, start, correlation)
        for start in ((first, beside) if smaller else (first,))
        for correlation in (0.9, -0.9)
    ]
    return [*correlated, _identity(template)]


def _deviations(slot: Slot, theta: Array) -> Array:
    """Relative standard deviations of a term, (p, 1)."""
    p = slot.columns.stop - slot.columns.start
    factor = slot.structure.factor(theta[slot.theta], p)
    return np.asarray(np.sqrt((factor**2).sum(axis=1, keepdims=True)))


def _neighbours(template: Template, theta: Array, correlation: float) -> Array:
    """A start with the correlation of neighbours in every pattern, (k,)."""
    start = theta.copy()
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        if slot.structure.linear or p == 1:
            continue
        lags = np.abs(np.subtract.outer(np.arange(p), np.arange(p)))
        root = np.linalg.cholesky(correlation**lags)
        start[slot.theta] = slot.structure.pack(_deviations(slot, theta) * root)
    return start


def generalized_moments(problem: rows.Problem) -> tuple[Array, Array]:
    """Coefficients without random effects, and theta by moments of the residuals."""
    template, solver = problem.template, Pirls(problem)
    zeros = [np.zeros((f.levels, f.values.shape[1])) for f in problem.factors]
    flat = [np.zeros((p, p)) for p in template.widths]
    gamma = _first_guess(problem)
    modes = solver.solve(gamma, flat, zeros, 0.0, joint=True)
    if modes is None:
        gamma = _first_guess(problem, level=True)
        modes = solver.solve(gamma, flat, zeros, 0.0, joint=True)
    if modes is None:
        return gamma, 0.1 * template.internal(_identity(template))
    cross = _working_products(modes)
    sigma2 = 1.0
    if problem.family.dispersion:
        sigma2 = max(float(cross.gram[-1, -1]) / problem.n, 1e-8)
    theta = moments.estimate(cross, template, problem.n, sigma2)
    return modes.gamma, theta * np.sqrt(sigma2)


def _first_guess(problem: rows.Problem, level: bool = False) -> Array:
    """Coefficients near the responses on the link scale, or near their mean alone.

    One mean for all rows is in the range of every link.
    """
    family, total = problem.family, np.zeros(problem.p)
    mean = weight = 0.0
    for block in problem.blocks() if level else ():
        mean += float(block.weights @ family.start_mean(block.y, block.weights))
        weight += float(block.weights.sum())
    for block in problem.blocks():
        start = family.start_mean(block.y, block.weights)
        if level:
            start = np.full(block.n, mean / weight)
        total += block.basis.T @ (family.link.link(start) - block.offset)
    return total / problem.n


def _working_products(modes: Modes) -> CrossProducts:
    """Cross-products of the working linear model, its X with orthonormal columns."""
    XWX, ZWX = modes.rows.fixed_products(observed=False)
    half = np.zeros((0, 0))
    if XWX.size:
        values, vectors = np.linalg.eigh(XWX)
        known = values > 1e-14 * values[-1]
        half = vectors[:, known] / np.sqrt(values[known])
    right = -0.5 * (half.T @ modes.rows.Xg)
    gram = np.eye(right.size + 1)
    gram[:-1, -1] = gram[-1, :-1] = right
    gram[-1, -1] = modes.rows.working
    dense = tuple(
        np.concatenate([D @ half, -0.5 * g[:, :, None]], axis=2)
        for D, g in zip(ZWX, modes.rows.Zg, strict=True)
    )
    return replace(modes.cross, dense=dense, gram=gram)


def _identity(template: Template) -> Array:
    return np.concatenate(
        [
            slot.structure.start(slot.columns.stop - slot.columns.start)
            for slot in template.slots
        ]
    )


def generalized_start(
    problem: rows.Problem, given: Start | None
) -> tuple[Array, Array]:
    """Start of coefficients (basis) and theta (internal) with the user's wishes.

    Parameters
    ----------
    problem : rows.Problem
    given : Start or None
    """
    gamma, theta = generalized_moments(problem)
    if given is None:
        return gamma, theta
    template = problem.template
    elements = given.elements(template.external(theta), template, 1.0)
    if given.beta is not None:
        old = np.linalg.solve(problem.R, gamma)
        gamma = problem.R @ np.where(np.isnan(given.beta), old, given.beta)
    return gamma, template.internal(elements)


def extra_start(problem: rows.Problem, given: Start | None) -> float:
    """Logarithm of the dispersion or of the theta of a negative binomial."""
    if given is not None and given.sigma is not None:
        return 2.0 * float(np.log(given.sigma))
    if given is not None and given.nb_theta is not None:
        return float(np.log(given.nb_theta))
    return float(problem.family.start_extra(*problem.response_sample()))


def feasible(criterion: Laplace, psi: Array, offset: int) -> Array:
    """The start with its random effects shrunk until the criterion is finite.

    Parameters
    ----------
    criterion : Laplace
    psi : (m,) array
        Parameters of the search.
    offset : int
        Where the covariance parameters begin.
    """
    part = slice(offset, offset + criterion.problem.template.size)
    for scale in (1.0, 0.3, 0.1, 0.01):
        trial = psi.copy()
        trial[part] *= scale
        if np.isfinite(criterion.evaluate(trial, gradient=False).value):
            return trial
    return psi


def further_start(problem: rows.Problem, at: Point, offset: int) -> Array | None:
    """A second start where the groups of a binary response are nearly all 0 or 1.

    Their modes are held by the prior alone, and the approximation can have another
    minimum, further out. None where effects are not as large as that.

    Parameters
    ----------
    problem : Problem
    at : Point
        The end of a search.
    offset : int
        Where the covariance parameters begin.
    """
    if problem.family.name not in ("bernoulli", "binomial"):
        return None
    stop = offset + problem.template.size
    largest = np.abs(at.theta[offset:stop]).max(initial=0.0)
    if not np.isfinite(at.value) or largest < _ALIKE:
        return None
    out = at.theta.copy()
    out[:stop] *= _FURTHER
    return out


def check_quadrature(nAGQ: Any, laplace: str, problem: rows.Problem) -> None:
    """Refuse impossible numbers of nodes and unknown kinds of the approximation."""
    if not isinstance(nAGQ, (int, np.integer)) or isinstance(nAGQ, bool) or nAGQ < 0:
        raise OptionError(
            f"nAGQ is {nAGQ!r}.",
            "A whole number of nodes was expected: 0, 1 or up to 100.",
        )
    if nAGQ > 100:
        raise OptionError(
            f"nAGQ is {nAGQ}.", "At most 100 nodes are possible.", "25 are plenty."
        )
    widths = problem.template.widths
    if nAGQ > 1 and (len(widths) != 1 or widths[0] > 3):
        raise OptionError(
            f"nAGQ is {nAGQ} in a model with {len(widths)} grouping factors and "
            f"{max(widths)} random effects a level.",
            "nAGQ > 1 is only available for a single grouping factor with at most 3 "
            "random effects a level.",
            "Use the Laplace approximation, nAGQ=1.",
        )
    if nAGQ > 1 and any(factor.known is not None for factor in problem.factors):
        raise OptionError(
            f"nAGQ is {nAGQ} in a model with a known covariance between levels.",
            "Quadrature takes the levels one by one, so they must be independent.",
            "Use the Laplace approximation, nAGQ=1.",
        )
    if nAGQ > 1 and nAGQ ** widths[0] > _MOST_NODES:
        most = int(_MOST_NODES ** (1.0 / widths[0]) + 1e-9)
        raise OptionError(
            f"nAGQ is {nAGQ} with {widths[0]} random effects a level: "
            f"{nAGQ ** widths[0]} nodes for each.",
            f"At most {_MOST_NODES} nodes are possible, nAGQ={most} here.",
        )
    if nAGQ > 1 and problem.n > problem.y.size:
        raise OptionError(
            f"nAGQ is {nAGQ} for data in partitions.",
            "Quadrature takes all rows of a level together.",
            "Use the Laplace approximation, nAGQ=1.",
        )
    kinds = ("auto", "expected", "observed")
    if laplace not in kinds:
        raise OptionError(
            f"laplace is {laplace!r}.",
            f"Expected one of {', '.join(kinds)}.",
            near(str(laplace), kinds),
        )
