"""Moment estimates of the variance components: where the search starts.

Nothing here affects the answer, only the number of evaluations: a start within a
factor of two of the optimum saves about half of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import CrossProducts, by_rows, multiply
from lme.engine.lmm import Problem
from lme.engine.relcov import Template

Array = NDArray[np.float64]

#: Shrinkage of the group sums: the optimum is 1 / (variance ratio), here 1 / 0.5^2.
_SHRINK = 4.0


@dataclass(frozen=True, slots=True)
class Equations:
    """What the moment equations take from the design; the response is not in it.

    Attributes
    ----------
    weights : list of (l, p, p) arrays
        ``W_f = (Z_f'Z_f + c I)^-1``.
    noise : list of (p, p) arrays
        ``sum_j W_j A_j W_j``.
    products : (K, K) array
        ``|W_f Z_f' N Z_g|^2``, Frobenius norms.
    own : (K,) array
        ``|W_f Z_f' N|^2``.
    """

    weights: list[Array]
    noise: list[Array]
    products: Array
    own: Array


def start(problem: Problem) -> Array:
    """Moment estimates of theta of a linear model in the internal basis, (k,).

    The residual variance comes from sweeping out the group means of one factor after
    the other.
    """
    found = problem.shared.get("moments")
    known = found if isinstance(found, Equations) else equations(problem.cross)
    problem.shared["moments"] = known
    sigma2 = residual_variance(problem)
    return estimate(problem.cross, problem.template, problem.n, sigma2, known)


def equations(cross: CrossProducts) -> Equations:
    """Coefficients of the moment equations of a design."""
    weights: list[Array] = [
        np.asarray(np.linalg.inv(A + _SHRINK * np.eye(A.shape[1])), dtype=np.float64)
        for A in cross.diagonal
    ]
    noise: list[Array] = [
        (W @ A @ W).sum(axis=0) for W, A in zip(weights, cross.diagonal, strict=True)
    ]
    products, own = _projected_products(cross, weights, noise)
    return Equations(weights, noise, products, own)


def estimate(
    cross: CrossProducts,
    template: Template,
    n: int,
    sigma2: float,
    known: Equations | None = None,
) -> Array:
    """Moment estimates of theta at a given residual variance, (k,).

    Parameters
    ----------
    cross : CrossProducts
        With an orthonormal basis of X and the least-squares residual.
    template : Template
    n : int
        Number of rows.
    sigma2 : float
    known : Equations, optional
        Those of the design, when they are at hand.

    Notes
    -----
    With N the projection orthogonal to X, ``Z_f`` the columns of factor f and ``W_f``
    the weights, which shrink as modes are, ``r_f = W_f Z_f'N y`` has ``E |r_f|^2 =
    sum_g t_g |W_f Z_f' N Z_g|^2 + sigma^2 |W_f Z_f' N|^2`` where ``t_g`` is the mean
    variance of factor g: K linear equations (a MINQUE; Rao 1971,
    doi:10.1016/0047-259X(71)90019-4). Each estimate is kept away from zero, where the
    criterion is stationary in theta.
    """
    known = known or equations(cross)
    products, noise = known.products, known.noise
    sums = [
        W @ dense[:, :, -1:]
        for W, dense in zip(known.weights, cross.dense, strict=True)
    ]
    moments = np.array([float(np.vdot(r, r)) for r in sums])
    variances = _nonnegative(products, moments - sigma2 * known.own) / sigma2
    theta = np.empty(template.size)
    for slot in template.slots:
        f = slot.factor
        p = len(noise[f])
        r = sums[f][:, :, 0]
        rest = moments[f] / sigma2 - products[f, f] * variances[f]
        shape = noise[f] / max(float(np.trace(noise[f])), 1e-300)
        S = (r.T @ r / sigma2 - rest * shape) * p / products[f, f]
        S = S[slot.columns, slot.columns]
        values, vectors = np.linalg.eigh(S)
        # What one standard error of a level's mean would look like, at most.
        least = min(0.02, cross.levels[f] / n)
        floor = max(0.05 * float(values[-1]), 0.05 * variances[f], least)
        S = (vectors * np.clip(values, floor, 1e6)) @ vectors.T
        if slot.structure.independent:
            factor = np.diag(np.sqrt(S.diagonal()))
        else:
            factor = np.linalg.cholesky(S)
        relation = cross.relation(f)
        if relation is not None:
            if _unrepeated(cross, f, n):
                factor = np.eye(len(factor))
            factor = factor / np.sqrt(max(relation.scale, 1e-300))
        theta[slot.theta] = slot.structure.pack(factor)
    return theta


def residual_variance(problem: Problem) -> float:
    """Residual variance after removing each factor's groupwise regressions in turn.

    From the cross-products alone: what cancels is far above the smallest share of the
    variance that is returned.
    """
    cross = problem.cross
    total = float(cross.gram[-1, -1])
    swept: list[Array] = [np.zeros((len(A), A.shape[1], 1)) for A in cross.diagonal]
    left = [D[:, :, -1:] for D in cross.dense]
    lost = problem.p
    least, part = 1e-4, 1.0
    for f, A in enumerate(cross.diagonal):
        p = A.shape[1]
        if cross.relation(f) is not None and _unrepeated(cross, f, problem.n):
            # Taking out the level of every row would leave nothing: let it be half.
            least, part = 0.3, 0.5
            continue
        ridge = 1e-8 if p == 1 else 1e-6
        swept[f] = np.asarray(np.linalg.solve(A + ridge * np.eye(p), left[f]))
        lost += len(A) * p
        if f + 1 < len(swept):
            taken, _ = multiply(cross, swept)
            left = [D[:, :, -1:] - Zr for D, Zr in zip(cross.dense, taken, strict=True)]
    taken, _ = multiply(cross, swept)
    squares = total
    for c, D, Zr in zip(swept, cross.dense, taken, strict=True):
        squares += float(np.vdot(c, Zr - 2.0 * D[:, :, -1:]))
    df = max(problem.n - lost, 0.25 * problem.n)
    mean = total / max(problem.n - problem.p, 1)
    return max(part * squares / df, least * mean, 1e-300)


def _unrepeated(cross: CrossProducts, f: int, n: int) -> bool:
    """Whether most levels of a factor that occur have one row."""
    seen = int(cross.diagonal[f].any(axis=(1, 2)).sum())
    return 2 * seen > n


def _projected_products(
    cross: CrossProducts, weights: list[Array], noise: list[Array]
) -> tuple[Array, Array]:
    """``|W_f Z_f' N Z_g|^2`` (K, K) and ``|W_f Z_f' N|^2`` (K,), Frobenius norms."""
    px = cross.gram.shape[0] - 1
    columns = [D[:, :, :px] for D in cross.dense]
    flat = [by_rows(D) for D in columns]
    grams = [D.T @ D for D in flat]
    K = len(columns)
    products, own = np.empty((K, K)), np.empty(K)
    for f in range(K):
        WD = weights[f] @ columns[f]
        inner = by_rows(WD)
        inner = inner.T @ inner
        own[f] = float(np.trace(noise[f])) - float(np.trace(inner))
        for g in range(K):
            if f == g:
                WA = weights[f] @ cross.diagonal[f]
                AD = cross.diagonal[f] @ columns[f]
            elif f < g:
                pair = cross.pairs[f, g]
                WA = weights[f][pair.rows] @ pair.blocks
                AD = (pair.matrix @ flat[g]).reshape(WD.shape)
            else:
                pair = cross.pairs[g, f]
                WA = weights[f][pair.cols] @ pair.blocks.transpose(0, 2, 1)
                AD = (pair.transposed @ flat[g]).reshape(WD.shape)
            squares = float(np.vdot(WA, WA))
            middle = float(np.vdot(WD, weights[f] @ AD))
            value = squares - 2.0 * middle + float(np.vdot(inner, grams[g]))
            products[f, g] = max(value, 1e-12 * squares, 1e-300)
    return products, np.maximum(own, 0.0)


def _nonnegative(products: Array, moments: Array) -> Array:
    """Gauss-Seidel solution of the moment equations, each kept above a trace."""
    own = products.diagonal()
    t = np.maximum(moments / own, 0.0)
    for _ in range(20):
        for f in range(t.size):
            rest = float(products[f] @ t) - own[f] * t[f]
            t[f] = max((moments[f] - rest) / own[f], 0.02 * max(moments[f], 0) / own[f])
    return t
