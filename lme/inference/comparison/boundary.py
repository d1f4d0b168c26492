"""Likelihood ratios where variances are tested on the edge of their range.

With true variances of zero the statistic tends to the squared length of the projection
of a normal vector on a cone: to ``chi2(f)``, f the number of parameters that are free
to move both ways, plus a mixture of chi-square distributions for those that are not
(Self & Liang 1987, J. Am. Stat. Assoc. 82:605, doi:10.1080/01621459.1987.10478472;
Stram & Lee 1994, Biometrics 50:1171, doi:10.2307/2533455).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc

from lme.engine.choice import choose
from lme.engine.lmm import Criterion
from lme.engine.relcov import lower_factor
from lme.inference.comparison.candidates import Candidate, Component
from lme.inference.comparison.nesting import (
    LINEAR,
    Nesting,
    covariance_space,
    in_basis,
    space,
)
from lme.inference.diagnostics.leverage import working_problem
from lme.inference.hypotheses import kenward_roger
from lme.inference.working import MixedFit

Array = NDArray[np.float64]

#: Share of the largest variance below which a direction of S has none.
_NULL = 1e-6
#: Directions that stand for the normal distribution where weights have no formula.
DRAWS = 10_000
_ITERATIONS = 200


@dataclass(frozen=True)
class Cone:
    """Covariances of effects that the smaller model has not: semidefinite matrices.

    Attributes
    ----------
    component : int
        Of the larger model.
    null : (p, r) array
        Directions without variance in the smaller model, basis of the search.
    basis : (d, r, r) array
        Matrices whose combinations are the covariances along these directions; none
        for a structure whose covariances are not all combinations of some.
    """

    component: int
    null: Array
    basis: Array

    @property
    def size(self) -> int:
        """Number of parameters."""
        return len(self.basis)


@dataclass(frozen=True)
class Mixture:
    """A mixture of chi-square distributions.

    Attributes
    ----------
    first : int
        Degrees of freedom of the first component; those of the others follow one by
        one.
    weights : (d + 1,) array
        Empty where only `shares` are known.
    shares : array
        Random squared cosines between a normal vector of ``first + d`` dimensions and
        its projection on the cone.
    dimension : int
        ``first + d``.
    unknown : str
        Why the distribution is not known; empty where it is.
    """

    first: int
    weights: Array
    shares: Array
    dimension: int
    unknown: str = ""

    def p_value(self, statistic: float) -> float:
        """Probability of a statistic at least as large."""
        if self.unknown:
            return math.nan
        if statistic <= 0.0:
            return 1.0
        if self.weights.size:
            dfs = self.first + np.arange(len(self.weights))
            tails = [0.0 if df == 0 else float(chdtrc(df, statistic)) for df in dfs]
            return float(self.weights @ tails)
        # Length and direction of a normal vector are independent.
        with np.errstate(divide="ignore"):
            return float(np.mean(chdtrc(self.dimension, statistic / self.shares)))

    def __str__(self) -> str:
        if self.unknown:
            return f"not known, {self.unknown}"
        if not self.weights.size:
            return (
                f"mixture of chi2({self.first}) to chi2({self.dimension}), with "
                f"weights from {len(self.shares)} simulated projections"
            )
        parts = [
            f"{weight:.3g} chi2({self.first + i})"
            for i, weight in enumerate(self.weights)
        ]
        return " + ".join(parts)


def mixture(small: Candidate, large: Candidate, nested: Nesting) -> Mixture | None:
    """The distribution of the statistic when `small` is true.

    Returns
    -------
    Mixture or None
        None where no variance is tested on its boundary.

    Notes
    -----
    One new variance has the weights one half and one half. Several variances that may
    not covary have closed forms for two and three (Shapiro 1985, Biometrika 72:133,
    doi:10.1093/biomet/72.1.133); otherwise the projection is simulated. All of these
    need the information of the variances, which is taken at the smaller model: the
    expected one of a linear model, and of the working model of a generalized one.
    """
    found = cones(large, nested)
    size = sum(cone.size for cone in found)
    free = large.npar - small.npar - size
    if any(not cone.size for cone in found):
        return _unknown("as correlations mean nothing where variances are zero")
    if not size:
        return None
    if free < 0:
        return _unknown("as the larger model has parameters that it does not need")
    if size == 1:
        return Mixture(free, np.array([0.5, 0.5]), np.empty(0), free + 1)
    covariance = _covariance(large, nested, found)
    if covariance is None:
        return _unknown("as a covariance is not linear in its parameters")
    if len(found) == size <= 3:
        return Mixture(free, orthant_weights(covariance), np.empty(0), free + size)
    shares = projection_shares(found, covariance, free)
    return Mixture(free, np.empty(0), shares, free + size)


def _unknown(reason: str) -> Mixture:
    return Mixture(0, np.empty(0), np.empty(0), 0, reason)


def cones(large: Candidate, nested: Nesting) -> list[Cone]:
    """The cones of a test, one a set of effects that may covary."""
    found = []
    known = [inner for inner in nested.interior if inner is not None]
    # Rounding leaves traces of variances that are zero.
    bound = _NULL * max((float(inner.trace()) for inner in known), default=0.0)
    for i, (component, inner) in enumerate(
        zip(large.components, nested.interior, strict=True)
    ):
        if inner is None:
            continue
        values, vectors = np.linalg.eigh(inner)
        null = vectors[:, values <= bound]
        if not null.shape[1]:
            continue
        if component.structure == "us":
            found.append(Cone(i, null, space("us", null.shape[1])))
        elif component.structure == "diag":
            axes = np.eye(len(inner))[:, inner.diagonal() <= bound]
            found += [Cone(i, axis[:, None], np.ones((1, 1, 1))) for axis in axes.T]
        else:
            found.append(Cone(i, null, _half_line(component, null)))
    return found


def _half_line(component: Component, null: Array) -> Array:
    """The one matrix that a structure allows along `null`; none if there are more."""
    none = np.empty((0, null.shape[1], null.shape[1]))
    if component.structure not in LINEAR:
        return none
    images = np.array([null.T @ B @ null for B in covariance_space(component)])
    _, values, rows = np.linalg.svd(images.reshape(len(images), -1))
    if (values[1:] > 1e-8 * values[0]).any():
        return none
    found = rows[0].reshape(null.shape[1], -1)
    found = found * np.sign(found.trace())
    definite = np.linalg.eigvalsh(found)[0] > -1e-8
    return np.asarray(found[None]) if definite else none


# --- information ----------------------------------------------------------------------


def _covariance(
    large: Candidate, nested: Nesting, found: Sequence[Cone]
) -> Array | None:
    """Asymptotic covariance of the coordinates on the cones, up to a factor.

    None where a structure is not linear in its parameters.
    """
    fit = large.fit
    assert fit is not None
    if not all(slot.structure.linear for slot in fit.problem.template.slots):
        return None
    criterion, theta = _at_smaller(fit, nested)
    template = criterion.problem.template
    at = criterion.evaluate(theta, gradient=False)
    directions = kenward_roger.directions(at)
    information = kenward_roger.trace_products(at, directions, large.n)
    scale = np.sqrt(np.maximum(information.diagonal(), np.finfo(float).tiny))
    outer = np.outer(scale, scale)
    inverse = np.linalg.pinv(information / outer, rcond=1e-12, hermitian=True) / outer
    rows = []
    for cone in found:
        slot, own = template.slots[cone.component], large.components[cone.component]
        # A working model has a basis of its own: b (there) = turn @ b (here).
        turn = slot.inverse @ own.basis
        null = np.linalg.solve(turn.T, cone.null)
        images = np.zeros((cone.size, len(directions) + 1))
        for k, direction in enumerate(directions):
            if direction.factor == slot.factor:
                change = direction.change[slot.columns, slot.columns]
                images[:, k] = in_basis(cone.basis, null.T @ change @ null)
        rows.append(images)
    L = np.vstack(rows)
    return np.asarray(L @ inverse @ L.T, dtype=np.float64)


def _at_smaller(fit: MixedFit, nested: Nesting) -> tuple[Criterion, Array]:
    """A linear criterion of the larger model, and theta of the smaller one."""
    template = fit.problem.template
    theta = np.zeros(template.size)
    for slot, covariance in zip(template.slots, nested.estimated, strict=True):
        values, vectors = np.linalg.eigh(covariance)
        factor, _ = lower_factor(vectors * np.sqrt(np.maximum(values, 0.0)))
        theta[slot.theta] = slot.structure.pack(factor)
    problem = working_problem(fit)
    if problem is not fit.problem:
        theta = problem.template.internal(template.external(theta))
    kernel, _ = choose(problem.cross)
    return Criterion(problem, kernel, reml=False), theta


# --- weights --------------------------------------------------------------------------


def orthant_weights(covariance: Array) -> Array:
    """Weights of chi2(0) to chi2(m) for variances that may not covary, (m + 1,).

    Parameters
    ----------
    covariance : (m, m) array
        Of the unconstrained estimates of two or three.
    """
    top = _positive(covariance)
    none = _positive(np.asarray(np.linalg.inv(covariance), dtype=np.float64))
    if len(covariance) == 2:
        return np.array([none, 0.5, top])
    # Even and odd ones sum to one half each.
    return np.array([none, 0.5 - top, 0.5 - none, top])


def _positive(covariance: Array) -> float:
    """Probability that all of two or three centred normal variables are positive."""
    sd = np.sqrt(covariance.diagonal())
    corr = np.clip(covariance / np.outer(sd, sd), -1.0, 1.0)
    angles = np.arcsin(corr[np.triu_indices(len(corr), 1)])
    if len(corr) == 2:
        return 0.25 + float(angles[0]) / (2.0 * math.pi)
    return 0.125 + float(angles.sum()) / (4.0 * math.pi)


def projection_shares(
    found: Sequence[Cone], covariance: Array, free: int, draws: int = DRAWS
) -> Array:
    """Squared cosines between normal vectors and their projections on the cones.

    Notes
    -----
    The projection of z minimizes ``(x - z)'J(x - z)``, J the inverse of `covariance`,
    over x in the cones: alternating directions (Boyd et al. 2011, Found. Trends Mach.
    Learn. 3:1, doi:10.1561/2200000016), for all draws at once.
    """
    rng = np.random.default_rng(1987)
    sizes = [cone.size for cone in found]
    starts = np.cumsum([0, *sizes])
    # Matrices of unit norm, so that the nearest semidefinite matrix is the nearest
    # point; and a common scale, so that one step length suits all coordinates.
    units = [_unit(cone) for cone in found]
    norms = np.concatenate([_norms(cone.basis) for cone in found])
    covariance = covariance * np.outer(norms, norms)
    scale = np.concatenate(
        [
            np.full(size, math.sqrt(covariance.diagonal()[a : a + size].mean()))
            for a, size in zip(starts, sizes, strict=False)
        ]
    )
    J = np.linalg.inv(covariance / np.outer(scale, scale))
    values, vectors = np.linalg.eigh(J)
    z = rng.standard_normal((draws, len(J))) / np.sqrt(values) @ vectors.T
    rho = math.sqrt(float(values[0] * values[-1]))
    step = np.linalg.inv(J + rho * np.eye(len(J)))
    target = z @ J
    x, dual = np.zeros_like(z), np.zeros_like(z)
    for _ in range(_ITERATIONS):
        y = (target + rho * (x - dual)) @ step
        new = _project(y + dual, units, starts)
        dual += y - new
        moved = float(np.abs(new - x).max())
        x = new
        if moved < 1e-6 and float(np.abs(y - x).max()) < 1e-6:
            break
    loose = (rng.standard_normal((draws, free)) ** 2).sum(axis=1)
    projected = np.einsum("di,ij,dj->d", x, J, x)
    total = np.einsum("di,ij,dj->d", z, J, z)
    share = (loose + projected) / (loose + total)
    return np.asarray(np.clip(share, 0.0, 1.0))


def _norms(basis: Array) -> Array:
    """Length of each matrix (m, r, r)."""
    return np.asarray(np.sqrt((basis**2).sum(axis=(1, 2))))


def _unit(cone: Cone) -> Cone:
    """The cone by matrices of length one."""
    return replace(cone, basis=cone.basis / _norms(cone.basis)[:, None, None])


def _project(points: Array, found: Sequence[Cone], starts: NDArray[np.intp]) -> Array:
    """The nearest points of the cones, for coordinates in their bases (draws, d)."""
    out = np.empty_like(points)
    for cone, start in zip(found, starts, strict=False):
        part = slice(start, start + cone.size)
        if cone.size == 1:
            out[:, part] = np.maximum(points[:, part], 0.0)
            continue
        matrices = np.einsum("dm,mab->dab", points[:, part], cone.basis)
        values, vectors = np.linalg.eigh(matrices)
        half = vectors * np.sqrt(np.maximum(values, 0.0))[:, None, :]
        nearest = half @ half.transpose(0, 2, 1)
        out[:, part] = np.einsum("dab,mab->dm", nearest, cone.basis)
    return out
