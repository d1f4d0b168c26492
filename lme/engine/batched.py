"""Many responses of one design, fitted at once.

A response enters the criterion through ``Z'y``, ``X'y`` and ``y'y`` alone. These are
formed for a chunk of responses together, and the Newton search runs for the whole
chunk: arrays with an axis of replicates, which get shorter as replicates converge
(`numerics`, section 6).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from lme.engine.batched_dense import Design, dense_design, load_dense
from lme.engine.batched_levels import Classes, classes, load
from lme.engine.batched_search import Batch, Ends, Values, search
from lme.engine.lmm import Problem
from lme.engine.relcov import Slot, Template

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Flags = NDArray[np.bool_]

#: Numbers that the replicates of a chunk hold together: they should stay in the cache.
_NUMBERS = 40_000
#: Fewest and most replicates in a chunk.
_FEWEST, _MOST = 16, 1024
#: Numbers of one replicate, and random effects of several factors, above which a
#: search for each response is as fast.
_TOO_MANY, _DENSE_UP_TO = 40_000, 60
#: Standard deviations (relative) that a search starts from at least: zero is
#: stationary.
_LEAST = 0.2

#: How a refit can end.
REASONS = (
    "converged",
    "not converged",
    "the response is not finite",
    "the fixed effects explain the response exactly",
    "the refit failed",
)
CONVERGED, NOT_CONVERGED, NOT_FINITE, EXACT, FAILED = range(5)


@dataclass(frozen=True)
class Refits:
    """Estimates of one model from many responses; NaN where there are none.

    Attributes
    ----------
    internal, theta : (R, k) arrays
        In the parameters of the search, and in the user's.
    beta : (R, p) array
        Of the columns that were kept.
    sigma : (R,) array
    objective : (R,) array
        ``-2 log-likelihood`` or the REML criterion.
    ldL2 : (R,) array
        ``log|M|``.
    reason : (R,) int8
        Index in `REASONS`.
    evaluations : (R,) intp
    """

    internal: Array
    theta: Array
    beta: Array
    sigma: Array
    objective: Array
    ldL2: Array  # noqa: N815
    reason: NDArray[np.int8]
    evaluations: Index

    @property
    def converged(self) -> Flags:
        """Whether the optimum was reached, (R,)."""
        out: Flags = self.reason == CONVERGED
        return out

    def __len__(self) -> int:
        return int(self.sigma.size)


def joined(parts: Sequence[Refits]) -> Refits:
    """Refits one after the other."""
    return Refits(
        *(
            np.concatenate([getattr(part, f.name) for part in parts])
            for f in fields(Refits)
        )
    )


def no_refits(count: int, k: int, p: int, reason: int = FAILED) -> Refits:
    """Refits without estimates."""
    nan = np.full(count, np.nan)
    return Refits(
        np.full((count, k), np.nan),
        np.full((count, k), np.nan),
        np.full((count, p), np.nan),
        nan,
        nan.copy(),
        nan.copy(),
        np.full(count, reason, dtype=np.int8),
        np.zeros(count, dtype=np.intp),
    )


def constant_jacobians(template: Template) -> tuple[Array, ...] | None:
    """``d lambda / d theta`` of each factor; None where it depends on theta."""
    k = template.size
    probes = [np.linspace(0.5, 1.0, k), np.linspace(-2.0, 1.0, k)]
    out = []
    for f, p in enumerate(template.widths):
        stacks = []
        for theta in probes:
            J = np.zeros((k, p, p))
            parts = zip(template.slots, template.jacobians(theta), strict=True)
            for slot, part in parts:
                if slot.factor == f:
                    J[slot.theta, slot.columns, slot.columns] = part
            stacks.append(J)
        first, second = stacks
        here = np.einsum("kab,k->ab", first, probes[0])
        if not np.array_equal(first, second):
            return None
        if not np.allclose(here, template.lambdas(probes[0])[f], atol=1e-12):
            return None
        out.append(first)
    return tuple(out)


def plan(problem: Problem) -> Classes | Design | None:
    """How responses of this design can be fitted together; None where they cannot.

    Kept with the problem: it depends on the design alone.
    """
    if "batched" not in problem.shared:
        problem.shared["batched"] = _plan(problem)
    found = problem.shared["batched"]
    return found if isinstance(found, Classes | Design) else None


def _plan(problem: Problem) -> Classes | Design | None:
    jacobians = constant_jacobians(problem.template)
    if jacobians is None:
        return None
    cross = problem.cross
    if len(cross.levels) == 1:
        p, px = cross.widths[0], problem.p
        if p * p * px * px * cross.levels[0] > 50 * _TOO_MANY:
            return None
        found = classes(problem, jacobians[0])
        return found if found.numbers <= _TOO_MANY else None
    if sum(cross.sizes) <= _DENSE_UP_TO:
        return dense_design(problem, jacobians)
    return None


def chunk_size(way: Classes | Design) -> int:
    """Replicates that are fitted together."""
    return int(np.clip(_NUMBERS // max(way.numbers, 1), _FEWEST, _MOST))


def refit_batch(
    problem: Problem,
    reml: bool,
    start: Array,
    Y: Array,
    *,
    max_evaluations: int = 200,
) -> Refits:
    """Fit many responses of one design.

    Parameters
    ----------
    problem : Problem
        For which `plan` finds a way.
    reml : bool
    start : (k,) or (R, k) array
        In the parameters of the search.
    Y : (R, n) array
        A response a row.
    max_evaluations : int
        Of each replicate.

    Raises
    ------
    ValueError
        When there is no way to fit the responses of this design together.
    """
    way = plan(problem)
    if way is None:
        raise ValueError("The responses of this design are fitted one at a time.")
    size = chunk_size(way)
    starts = np.broadcast_to(start, (len(Y), problem.template.size))
    parts = [
        _refit_chunk(
            problem,
            way,
            reml,
            starts[first : first + size],
            Y[first : first + size],
            max_evaluations,
        )
        for first in range(0, len(Y), size)
    ]
    return joined(parts or [no_refits(0, problem.template.size, problem.p)])


def _residuals(problem: Problem, Y: Array) -> tuple[Array, Array]:
    """Least-squares coefficients (p, R) and residuals (n, R) of weighted responses."""
    Z = Y if problem.offset is None else Y - problem.offset
    if problem.sqrt_weights is not None:
        Z = Z * problem.sqrt_weights
    Z = np.ascontiguousarray(Z.T)
    if not problem.p:
        return np.zeros((0, len(Y))), Z
    level = problem.basis.T @ Z
    residual = Z - problem.basis @ level
    # A second pass removes what rounding left of a large mean.
    again = problem.basis.T @ residual
    return level + again, residual - problem.basis @ again


def _refit_chunk(
    problem: Problem,
    way: Classes | Design,
    reml: bool,
    start: Array,
    Y: Array,
    max_evaluations: int,
) -> Refits:
    """Fit one chunk; responses that cannot be fitted are set aside first."""
    template = problem.template
    out = no_refits(len(Y), template.size, problem.p)
    finite = np.isfinite(Y).all(axis=1)
    out.reason[~finite] = NOT_FINITE
    usable = np.flatnonzero(finite)
    level, residual = _residuals(problem, Y[usable] if usable.size < len(Y) else Y)
    left = np.abs(residual).max(axis=0, initial=0.0)
    size = np.abs(Y[usable]).max(axis=1, initial=0.0)
    exact = (left <= 1e-14 * size) | (left < 1e-60)
    if exact.any():
        out.reason[usable[exact]] = EXACT
        usable, level = usable[~exact], level[:, ~exact]
        residual = np.ascontiguousarray(residual[:, ~exact])
    if not usable.size:
        return out
    df = problem.n - problem.p if reml else problem.n
    constant = df * (1.0 + np.log(2.0 * np.pi) - np.log(df)) - problem.log_weights
    constant = float(constant + (problem.log_det_R if reml else 0.0))
    batch: Batch
    if isinstance(way, Classes):
        batch = load(way, problem, residual, reml, constant)
    else:
        batch = load_dense(way, problem, residual, reml, constant)
    begin = lifted(template, start[usable]).T
    ends = search(batch, np.ascontiguousarray(begin), template.even(), max_evaluations)
    theta, values = _settled(template, batch, ends)
    out.internal[usable] = theta.T
    out.theta[usable] = external(template, theta)
    inner = level + values.coefficients
    if problem.p:
        out.beta[usable] = np.linalg.solve(problem.R, inner).T
    out.sigma[usable] = np.sqrt(values.r2 / df)
    out.objective[usable] = values.value
    out.ldL2[usable] = values.logdet
    out.reason[usable] = np.where(ends.converged, CONVERGED, NOT_CONVERGED)
    out.evaluations[usable] = ends.evaluations
    return out


def diagonals(template: Template) -> Flags:
    """Parameters that are diagonal elements of a factor, (k,)."""
    out = np.zeros(template.size, dtype=bool)
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        out[slot.theta] = slot.structure.lower(p) == 0.0
    return out


def lifted(template: Template, theta: Array) -> Array:
    """Starts (R, k) away from zero, where the criterion is stationary."""
    least = np.where(diagonals(template), _LEAST, -np.inf)
    return np.maximum(theta, least)


def _settled(template: Template, batch: Batch, ends: Ends) -> tuple[Array, Values]:
    """The ends with non-negative diagonals and variances exactly zero."""
    values = ends.values
    diagonal = diagonals(template)
    theta = _with_signs(template, ends.theta)
    curve = np.abs(np.einsum("kkr->kr", values.hessian))
    bad = np.zeros(theta.shape[1], dtype=bool)
    small = diagonal[:, None] & (theta != 0.0) & (np.abs(theta) < 1e-3)
    small &= 0.5 * curve * theta**2 < 1e-8
    bad = (small | (diagonal[:, None] & (theta == 0.0))).any(axis=0)
    odd = np.flatnonzero(bad)
    if not odd.size:
        return theta, values
    moved = np.array(theta[:, odd])
    for i, r in enumerate(odd):
        moved[:, i] = _settle_one(template, theta[:, r], curve[:, r], diagonal)
    changed = (moved != theta[:, odd]).any(axis=0)
    if changed.any():
        odd, moved = odd[changed], moved[:, changed]
        trial = batch.take(odd).evaluate(moved)
        better = np.flatnonzero(trial.value <= values.value[odd] + 1e-8)
        theta[:, odd[better]] = moved[:, better]
        values.put(odd[better], trial.take(better))
    return theta, values


def _settle_one(
    template: Template, theta: Array, curvature: Array, diagonal: Flags
) -> Array:
    """Small diagonals set to zero, one after the other."""
    theta = template.canonical(theta)
    for _ in range(template.size):
        small = diagonal & (theta != 0.0) & (np.abs(theta) < 1e-3)
        small &= 0.5 * curvature * theta**2 < 1e-8
        if not small.any():
            break
        theta = template.canonical(np.where(small, 0.0, theta))
    return theta


def _with_signs(template: Template, theta: Array) -> Array:
    """Columns of every factor turned so that diagonals are not negative, (k, R)."""
    out = np.array(theta)
    for slot in template.slots:
        column = _columns(slot)
        for j in np.unique(column):
            members = slot.theta.start + np.flatnonzero(column == j)
            # The diagonal element comes first in its column.
            out[members] *= np.where(theta[members[0]] < 0.0, -1.0, 1.0)
    return out


def _columns(slot: Slot) -> Index:
    """Column of the factor in which each parameter of a term stands."""
    p = slot.columns.stop - slot.columns.start
    jacobian = slot.structure.jacobian(slot.structure.start(p), p)
    return np.array([int(np.argwhere(J)[0, 1]) for J in jacobian], dtype=np.intp)


def external(template: Template, theta: Array) -> Array:
    """Parameters in the user's basis, (R, k), from those of the search, (k, R)."""
    out = np.empty(theta.shape[::-1])
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        part = theta[slot.theta]
        if p == 1:
            out[:, slot.theta] = np.abs(slot.basis[0, 0] * part.T)
        elif slot.theta.stop - slot.theta.start == p:
            scale = np.abs(slot.basis.diagonal())
            out[:, slot.theta] = np.abs(part.T) * scale
        elif p == 2:
            out[:, slot.theta] = _pair(slot.basis, part).T
        else:
            out[:, slot.theta] = [
                slot.structure.pack(slot.outward(slot.structure.factor(one, p))[0])
                for one in part.T
            ]
    return out


def _pair(basis: Array, theta: Array) -> Array:
    """Lower factors of two columns in the user's basis, as (3, R) parameters."""
    m = np.einsum("ab,bcr->acr", basis, _lower_pair(theta))
    first = np.hypot(m[0, 0], m[0, 1])
    with np.errstate(invalid="ignore", divide="ignore"):
        c, s = m[0, 0] / first, m[0, 1] / first
        below = m[1, 0] * c + m[1, 1] * s
        last = np.abs(m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) / first
    none = first <= 1e-300
    last = np.where(none, np.hypot(m[1, 0], m[1, 1]), last)
    below = np.where(none, 0.0, below)
    size = np.maximum(first, np.maximum(np.abs(m[1, 0]), np.abs(m[1, 1])))
    return np.stack([first, below, np.where(last > 1e-10 * size, last, 0.0)])


def _lower_pair(theta: Array) -> Array:
    out = np.zeros((2, 2, theta.shape[1]))
    out[0, 0], out[1, 0], out[1, 1] = theta
    return out
