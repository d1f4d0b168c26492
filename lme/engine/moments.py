"""Moment estimates of the variance components: where the search starts.

Nothing here affects the answer, only the number of evaluations: a start within a
factor of two of the optimum saves about half of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.engine.lmm import Problem

Array = NDArray[np.float64]


def start(problem: Problem) -> Array:
    """Moment estimates of theta in the internal basis, (k,).

    Notes
    -----
    The residual variance comes from sweeping out the group means of one factor after
    the other. With ``r = Z_f'(y - X beta_OLS)`` and ``N`` the projection orthogonal to
    X, ``E |r_f|^2 = sum_g t_g |Z_f' N Z_g|^2 + sigma^2 |N Z_f|^2`` where ``t_g`` is the
    mean variance of factor g: K linear equations (MINQUE with unit weights; Rao 1971,
    doi:10.1016/0047-259X(71)90019-4, eq. 4.4). Each estimate is kept away from zero,
    where the criterion is stationary in theta.
    """
    cross, template = problem.cross, problem.template
    sigma2 = _swept_variance(problem)
    products = _projected_products(problem)
    moments = np.array([float(np.vdot(r, r)) for r in _sums(problem)])
    own = np.array(
        [
            float(np.einsum("laa->", A) - np.vdot(D[:, :, :-1], D[:, :, :-1]))
            for A, D in zip(cross.diagonal, cross.dense, strict=True)
        ]
    )
    variances = _nonnegative(products, moments - sigma2 * own) / sigma2
    theta = np.empty(template.size)
    for slot in template.slots:
        f = slot.factor
        A = cross.diagonal[f]
        r = _sums(problem)[f]
        p = A.shape[1]
        outer = r.T @ r / sigma2
        noise = moments[f] / sigma2 - products[f, f] * variances[f]
        mean = A.sum(axis=0) / np.einsum("laa->", A)
        S = (outer - noise * mean) * p / products[f, f]
        S = S[slot.columns, slot.columns]
        values, vectors = np.linalg.eigh(S)
        floor = max(0.05 * float(values[-1]), 0.05 * variances[f], 0.02)
        S = (vectors * np.clip(values, floor, 1e6)) @ vectors.T
        if slot.structure.basis == "triangular":
            factor = np.linalg.cholesky(S)
        else:
            factor = np.diag(np.sqrt(S.diagonal()))
        theta[slot.theta] = slot.structure.pack(factor)
    return theta


def _sums(problem: Problem) -> list[Array]:
    """``Z_f'(y - X beta_OLS)`` per factor, (l, p)."""
    return [dense[:, :, -1] for dense in problem.cross.dense]


def _swept_variance(problem: Problem) -> float:
    """Residual variance after removing each factor's groupwise regressions in turn."""
    cross = problem.cross
    residual = problem.residual
    lost = problem.p
    for factor, A in zip(problem.factors, cross.diagonal, strict=True):
        p = factor.values.shape[1]
        r = np.empty((factor.levels, p))
        for a in range(p):
            r[:, a] = np.bincount(
                factor.codes, factor.values[:, a] * residual, factor.levels
            )
        if p == 1:
            coef = r / (A[:, :, 0] + 1e-8)
            residual = residual - factor.values[:, 0] * coef[factor.codes, 0]
        else:
            ridge = A + 1e-6 * np.eye(p)
            coef = np.linalg.solve(ridge, r[:, :, None])[:, :, 0]
            residual = residual - np.einsum(
                "np,np->n", factor.values, coef[factor.codes]
            )
        lost += factor.levels * p
    df = max(problem.n - lost, 0.25 * problem.n)
    total = float(cross.gram[-1, -1]) / max(problem.n - problem.p, 1)
    return max(float(residual @ residual) / df, 1e-4 * total, 1e-300)


def _projected_products(problem: Problem) -> Array:
    """``|Z_f' N Z_g|^2`` (squared Frobenius norms), shape (K, K)."""
    cross = problem.cross
    px = problem.p
    flat = [D.reshape(-1, px + 1)[:, :px] for D in cross.dense]
    grams = [D.T @ D for D in flat]
    K = len(flat)
    out = np.empty((K, K))
    for f in range(K):
        A = cross.diagonal[f]
        squares = float(np.vdot(A, A))
        inner = float(np.vdot(cross.dense[f][:, :, :px], A @ cross.dense[f][:, :, :px]))
        out[f, f] = squares - 2.0 * inner + float(np.vdot(grams[f], grams[f]))
        for g in range(f + 1, K):
            pair = cross.pairs[f, g]
            squares = float(np.vdot(pair.blocks, pair.blocks))
            inner = float(np.vdot(flat[f], pair.matrix @ flat[g]))
            value = squares - 2.0 * inner + float(np.vdot(grams[f], grams[g]))
            out[f, g] = out[g, f] = max(value, 0.0)
        out[f, f] = max(out[f, f], 1e-12 * max(squares, 1e-300))
    return out


def _nonnegative(products: Array, moments: Array) -> Array:
    """Gauss-Seidel solution of the moment equations, each kept above a trace."""
    own = products.diagonal()
    t = np.maximum(moments / own, 0.0)
    for _ in range(20):
        for f in range(t.size):
            rest = float(products[f] @ t) - own[f] * t[f]
            t[f] = max((moments[f] - rest) / own[f], 0.02 * max(moments[f], 0) / own[f])
    return t
