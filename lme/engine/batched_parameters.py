"""Covariance parameters of many refits: starts, zeros, signs, and the user's units."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.engine import rows
from lme.engine.batched_search import Batch, Ends, Values
from lme.engine.lmm import Problem
from lme.engine.relcov import Slot, Template

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Flags = NDArray[np.bool_]

#: Relative variance that a search starts from where the estimate is zero.
_LEAST = 0.02


def diagonals(template: Template) -> Flags:
    """Parameters that are diagonal elements of a factor, (k,)."""
    out = np.zeros(template.size, dtype=bool)
    for slot in template.slots:
        p = slot.columns.stop - slot.columns.start
        out[slot.theta] = slot.structure.lower(p) == 0.0
    return out


def lifted(problem: Problem | rows.Problem, theta: Array) -> Array:
    """Starts (..., k) away from zero, where the criterion is stationary.

    A diagonal element near zero is raised to what the mean of one level could show.
    """
    template, n = problem.template, problem.y.size
    least = np.zeros(template.size)
    for slot in template.slots:
        size = np.sqrt(min(_LEAST, problem.factors[slot.factor].levels / n))
        least[slot.theta] = size
    low = diagonals(template) & (np.abs(theta) < 0.25 * least)
    out: Array = np.where(low, least, theta)
    return out


def settled(template: Template, batch: Batch, ends: Ends) -> tuple[Array, Values]:
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
            members = np.arange(template.size)[slot.theta][column == j]
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
        if p == 2 and len(part) == 3:
            out[:, slot.theta] = _pair(slot.basis, part).T
        elif slot.structure.basis == "triangular" and p > 1:
            out[:, slot.theta] = _triangles(slot, part)
        else:
            # Such a basis is diagonal, with one scale for equal variances.
            scale = np.abs(slot.basis.diagonal())[: len(part)]
            out[:, slot.theta] = np.abs(part.T) * scale
    return out


def _pair(basis: Array, theta: Array) -> Array:
    """Lower factors of two columns in the user's basis, as (3, R) parameters."""
    inner = np.zeros((2, 2, theta.shape[1]))
    inner[0, 0], inner[1, 0], inner[1, 1] = theta
    m = np.einsum("ab,bcr->acr", basis, inner)
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


def _triangles(slot: Slot, theta: Array) -> Array:
    """Lower factors of any number of columns in the user's basis, (R, k)."""
    p = slot.columns.stop - slot.columns.start
    structure = slot.structure
    J = structure.jacobian(structure.start(p), p)
    turned = slot.basis @ np.einsum("kab,kr->rab", J, theta)
    upper: Array = np.asarray(np.linalg.qr(turned.transpose(0, 2, 1), mode="r"))
    diagonal = np.einsum("rpp->rp", upper)
    sign = np.where(diagonal < 0.0, -1.0, 1.0)
    lower = upper.transpose(0, 2, 1) * sign[:, None, :]
    rows = [int(np.argwhere(part)[0, 0]) for part in J]
    cols = [int(np.argwhere(part)[0, 1]) for part in J]
    out = np.ascontiguousarray(lower[:, rows, cols])
    size = np.abs(turned).reshape(len(out), -1).max(axis=1)
    # Null columns must be exactly zero.
    for r in np.flatnonzero(np.abs(diagonal).min(axis=1) <= 1e-10 * size):
        out[r] = structure.pack(slot.outward(np.einsum("kab,k->ab", J, theta[:, r]))[0])
    return out
