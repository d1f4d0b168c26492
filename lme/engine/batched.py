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
from lme.engine.batched_parameters import external, lifted, settled
from lme.engine.batched_search import Batch, search
from lme.engine.lmm import Problem
from lme.engine.relcov import Template

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Flags = NDArray[np.bool_]

#: Numbers of one replicate, and random effects of several factors, above which a
#: search for each response is as fast.
_TOO_MANY, _DENSE_UP_TO = 40_000, 60
#: Where a search may start when nothing is known of the response.
_SCALES = (0.2, 0.7, 3.0)

#: How a refit can end.
REASONS = (
    "converged",
    "not converged",
    "the response is not finite",
    "the fixed effects explain the response exactly",
    "the refit failed",
    "the rows drawn do not determine all fixed effects",
)
CONVERGED, NOT_CONVERGED, NOT_FINITE, EXACT, FAILED, RANK = range(len(REASONS))


@dataclass(frozen=True)
class Refits:
    """Estimates of one model from many responses; NaN where there are none.

    Attributes
    ----------
    internal, theta : (R, r) and (R, k) arrays
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


def no_refits(count: int, template: Template, p: int, reason: int = FAILED) -> Refits:
    """Refits without estimates."""
    nan = np.full(count, np.nan)
    return Refits(
        np.full((count, template.size), np.nan),
        np.full((count, template.count), np.nan),
        np.full((count, p), np.nan),
        nan,
        nan.copy(),
        nan.copy(),
        np.full(count, reason, dtype=np.int8),
        np.zeros(count, dtype=np.intp),
    )


def constant_jacobians(template: Template) -> tuple[Array, ...] | None:
    """``d lambda / d theta`` of each factor; None where it depends on theta."""
    if not all(slot.structure.linear for slot in template.slots):
        return None
    k = template.size
    out = [np.zeros((k, p, p)) for p in template.widths]
    parts = template.jacobians(np.ones(k))
    for slot, part in zip(template.slots, parts, strict=True):
        out[slot.factor][slot.theta, slot.columns, slot.columns] = part
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
    cross = problem.cross
    if jacobians is None or cross.known:
        return None
    if len(cross.levels) == 1:
        p, px = cross.widths[0], problem.p
        if p * p * px * px * cross.levels[0] > 50 * _TOO_MANY:
            return None
        found = classes(problem, jacobians[0])
        return found if found.numbers <= _TOO_MANY else None
    if sum(cross.sizes) <= _DENSE_UP_TO:
        return dense_design(problem, jacobians)
    return None


def chunk_size(problem: Problem) -> int:
    """Responses that are best fitted together; 1 where they are not."""
    way = plan(problem)
    return 1 if way is None else way.together


def refit_batch(
    problem: Problem,
    reml: bool,
    start: Array | None,
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
    start : (k,) or (R, k) array, or None
        In the parameters of the search; None looks for one for each response.
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
    size = chunk_size(problem)
    starts = None
    if start is not None:
        starts = np.broadcast_to(start, (len(Y), problem.template.size))
    parts = [
        _refit_chunk(
            problem,
            way,
            reml,
            None if starts is None else starts[first : first + size],
            Y[first : first + size],
            max_evaluations,
        )
        for first in range(0, len(Y), size)
    ]
    return joined(parts or [no_refits(0, problem.template, problem.p)])


def least_squares(problem: Problem, Y: Array) -> tuple[Array, Array]:
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
    start: Array | None,
    Y: Array,
    max_evaluations: int,
) -> Refits:
    """Fit one chunk; responses that cannot be fitted are set aside first."""
    template = problem.template
    out = no_refits(len(Y), template, problem.p)
    finite = np.isfinite(Y).all(axis=1)
    out.reason[~finite] = NOT_FINITE
    usable = np.flatnonzero(finite)
    level, residual = least_squares(problem, Y[usable] if usable.size < len(Y) else Y)
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
    if start is None:
        begin = _guess(template, batch, usable.size)
    else:
        begin = np.ascontiguousarray(lifted(problem, start[usable]).T)
    ends = search(batch, begin, template.even(), max_evaluations)
    theta, values = settled(template, batch, ends)
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


def _guess(template: Template, batch: Batch, count: int) -> Array:
    """The best of a few multiples of the identity for each response, (k, R)."""
    identity = np.concatenate(
        [s.structure.start(s.columns.stop - s.columns.start) for s in template.slots]
    )
    scales = np.array(_SCALES)
    values = [
        batch.evaluate(np.repeat(identity[:, None] * scale, count, axis=1)).value
        for scale in scales
    ]
    best: Array = identity[:, None] * scales[np.argmin(values, axis=0)]
    return best
