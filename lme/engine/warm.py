"""The first point of many searches from one factorization.

Responses that were drawn from a fitted model have their optima near its own. At that
theta the factorization is the same for all of them, and so is everything in the
gradient that is free of the response: what remains is one solve for each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.engine.crossproducts import by_rows, multiply
from lme.engine.lmm import Criterion, Problem
from lme.engine.relcov import spread

Array = NDArray[np.float64]

#: Responses that are solved for together.
TOGETHER = 16


@dataclass(slots=True)
class Known:
    """The criterion of one response at the estimates of another.

    Attributes
    ----------
    theta : (k,) array
    value : float
    gradient : (k,) array
    hessian : (k, k) array
        That of the other response.
    """

    theta: Array
    value: float
    gradient: Array
    hessian: Array

    def curvature(self) -> Array:
        """Model of the Hessian, (k, k)."""
        return self.hessian


def first_points(
    criterion: Criterion, theta: Array, hessian: Array, residuals: Array
) -> list[Known] | None:
    """The criteria of many responses at one theta; None where there is no value.

    Parameters
    ----------
    criterion : Criterion
        Of any response of the design.
    theta : (k,) array
        In the parameters of the search, away from zero.
    hessian : (k, k) array
        Model of the Hessian there, (nearly) the same for all responses.
    residuals : (n, R) array
        What least squares leaves of the (weighted) responses.

    Notes
    -----
    The gradient in ``Sigma = lambda lambda'`` is ``Q - s sum_l d_l d_l'`` with ``Q``
    free of the response, ``d = Z'V^-1 (y - X beta)`` and ``s = df / r2``.
    """
    at = criterion.evaluate(theta, gradient=False)
    if not (np.isfinite(at.value) and np.isfinite(hessian).all()):
        return None
    p = criterion.problem.p
    weights = np.zeros((p + 1, p + 1))
    if p and criterion.reml:
        half, _ = lapack.dtrtri(at.RX, lower=0)
        weights[:p, :p] = half @ half.T
    fixed = criterion.kernel.adjoint(weights)
    out: list[Known] = []
    for first in range(0, residuals.shape[1], TOGETHER):
        some = residuals[:, first : first + TOGETHER]
        scores, r2 = _scores(criterion, at.RX, some)
        gradient = _gradients(criterion, at.lambdas, theta, fixed, scores, r2)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = at.value + criterion.df * np.log(r2 / at.r2)
        out += [
            Known(theta, float(f), g, hessian)
            for f, g in zip(value, gradient.T, strict=True)
        ]
    return out


def _scores(
    criterion: Criterion, RX: Array, residuals: Array
) -> tuple[list[Array], Array]:
    """``Z'V^-1 (y - X beta)`` by factor, (l, p, R), and r2 (R,)."""
    problem: Problem = criterion.problem
    p = problem.p
    Zy = [factor.gather(residuals) for factor in problem.factors]
    ZX = [dense[:, :, :p] for dense in problem.cross.dense]
    solved = criterion.kernel.solve(Zy)
    r2 = np.einsum("nr,nr->r", residuals, residuals)
    r2 = r2 - sum(
        np.einsum("lpr,lpr->r", z, x) for z, x in zip(Zy, solved, strict=True)
    )
    rhs = Zy
    if p:
        Xy = -sum(by_rows(D).T @ by_rows(x) for D, x in zip(ZX, solved, strict=True))
        beta, _ = lapack.dpotrs(RX, Xy, lower=0)
        r2 = r2 - np.einsum("xr,xr->r", Xy, beta)
        rhs = [z - D @ beta for z, D in zip(Zy, ZX, strict=True)]
        moved = criterion.kernel.solve(ZX)
        solved = [x - D @ beta for x, D in zip(solved, moved, strict=True)]
    products, _ = multiply(problem.cross, solved)
    return [r - z for r, z in zip(rhs, products, strict=True)], r2


def _gradients(
    criterion: Criterion,
    lambdas: list[Array],
    theta: Array,
    fixed: list[Array],
    scores: list[Array],
    r2: Array,
) -> Array:
    """Gradients in theta, (k, R)."""
    template = criterion.problem.template
    out = np.zeros((template.size, r2.size))
    inner = []
    cross = criterion.problem.cross
    for f, (Q, d, lam) in enumerate(zip(fixed, scores, lambdas, strict=True)):
        outer = np.einsum("lar,lbr->abr", d, spread(cross.relation(f), d))
        inner.append(
            2.0
            * np.einsum("abr,bc->acr", Q[:, :, None] - criterion.df / r2 * outer, lam)
        )
    jacobians = template.jacobians(theta)
    for slot, J in zip(template.slots, jacobians, strict=True):
        block = inner[slot.factor][slot.columns, slot.columns]
        out[slot.theta] += np.einsum("kab,abr->kr", J, block)
    return out
