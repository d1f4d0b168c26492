"""The criterion of many responses of one design with a single grouping factor.

Levels with the same ``Z_j'Z_j`` have the same ``V_j``, and need their data only through
sums of outer products over the class that they form. In a balanced design there is one
class, and an evaluation costs the same however many levels there are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lme.engine.batched_algebra import cholesky, inner, inverse_lower, log_diagonal
from lme.engine.batched_search import Values
from lme.engine.lmm import Problem

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Numbers that the replicates of a chunk hold.
_NUMBERS = 40_000


@dataclass(frozen=True)
class Classes:
    """What the design alone contributes.

    Attributes
    ----------
    order, starts : (l,) and (C,) intp
        Levels class after class, and where each class begins.
    counts : (C,) array
        Levels in each.
    A : (p, p, C) array
        ``Z_j'Z_j``.
    ZX : (l, p, px) array
        ``Z_j'X`` in that order.
    XX : (px * px, p * p * C) array
        Sums of ``Z_j'x (Z_j'x)'`` over each class.
    jacobian : (k, p, p) array
        ``d lambda / d theta``; constant.
    """

    order: Index
    starts: Index
    counts: Array
    A: Array
    ZX: Array
    XX: Array
    jacobian: Array

    @property
    def numbers(self) -> int:
        """Numbers that each replicate holds."""
        p, _, C = self.A.shape
        return int(p * p * C * (1 + self.ZX.shape[2]))

    @property
    def together(self) -> int:
        """Replicates in a chunk, whose numbers should stay in the cache."""
        return int(np.clip(_NUMBERS // max(self.numbers, 1), 16, 1024))


def classes(problem: Problem, jacobian: Array) -> Classes:
    """Find the levels with equal cross-products.

    Parameters
    ----------
    problem : Problem
        With one grouping factor.
    jacobian : (k, p, p) array
    """
    A, dense = problem.cross.diagonal[0], problem.cross.dense[0]
    levels, p, _ = A.shape
    scale = max(float(np.abs(A).max(initial=0.0)), 1e-300)
    # Equal to rounding; a class that a digit splits costs time and nothing else.
    keys = np.round(A.reshape(levels, -1) / scale, 12) + 0.0
    _, label = np.unique(keys, axis=0, return_inverse=True)
    label = label.ravel()
    order = np.argsort(label, kind="stable")
    counts = np.bincount(label)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.intp)
    ZX = np.ascontiguousarray(dense[order, :, :-1])
    px = ZX.shape[2]
    sums = np.empty((len(starts), p * px, p * px))
    for c, part in enumerate(np.split(ZX, starts[1:])):
        flat = part.reshape(len(part), -1)
        sums[c] = flat.T @ flat
    XX = sums.reshape(len(starts), p, px, p, px).transpose(2, 4, 1, 3, 0)
    return Classes(
        order,
        starts,
        counts.astype(float),
        np.ascontiguousarray(A[order[starts]].transpose(1, 2, 0)),
        ZX,
        XX.reshape(px * px, p * p * len(starts)),
        jacobian,
    )


@dataclass(frozen=True)
class Levels:
    """Sums over classes of the products with the responses, and the criterion of them.

    Attributes
    ----------
    classes : Classes
    XX : (px, px) array
        ``X'X`` of the basis.
    yy : (R,) array
        ``|y|^2`` of the least-squares residuals.
    Zyy : (p, p, C, R) array
        Sums of ``Z_j'y (Z_j'y)'``.
    ZXy : (px, p, p, C, R) array
        Sums of ``Z_j'x (Z_j'y)'``.
    df, constant : float
    reml : bool
    """

    classes: Classes
    XX: Array
    yy: Array
    Zyy: Array
    ZXy: Array
    df: float
    constant: float
    reml: bool

    def take(self, kept: Index) -> Levels:
        """The same for some of the replicates."""
        return replace(
            self,
            yy=self.yy[kept],
            Zyy=self.Zyy[..., kept],
            ZXy=self.ZXy[..., kept],
        )

    def evaluate(self, theta: Array) -> Values:
        """Criterion, gradient and Hessian at theta (k, R).

        Notes
        -----
        In ``Sigma = lambda lambda'`` with ``P = (A + Sigma^-1)^-1``, ``R = I - A P``
        and ``S = R A``: ``dP = R' dSigma R`` and ``dR = -S dSigma R``, so that nothing
        divides by lambda. With ``F = R (s ee' + Z'X K X'Z) R'``, ``e`` the products
        with the residual, ``K = (X'V^-1 X)^-1`` (REML) and ``s = df / r2``, the
        gradient in Sigma is ``sum S - F`` and the Hessian ``sum tr((2 F - S) dSigma_i
        S dSigma_j)`` less the products of the first derivatives of ``X'V^-1 [X y]``.
        """
        J = self.classes.jacobian
        lam = np.einsum("kab,kr->abr", J, theta)
        P, R, S, logdet = self._factor(lam)
        beta, r2, log_RX, K = self._profile(P)
        s = self.df / r2
        with np.errstate(invalid="ignore", divide="ignore"):
            value = logdet + self.df * np.log(r2) + self.constant
        if self.reml:
            value = value + log_RX
        ee, Xe = self._residual_products(beta)
        turned = _sandwich(R, ee)
        RR = None
        F = turned * s
        p = len(lam)
        C = self.classes.A.shape[2]
        px = len(self.XX)
        if self.reml and px:
            weights = self.classes.XX.T @ K.reshape(px * px, -1)
            F = F + _sandwich(R, weights.reshape(p, p, C, -1))
        counts = self.classes.counts[:, None]
        Q = np.einsum("abcr,c->abr", S, self.classes.counts) - F.sum(axis=2)
        JL = np.einsum("kab,dbr->kadr", J, lam)
        change = JL + JL.transpose(0, 2, 1, 3)
        gradient = np.einsum("kabr,abr->kr", change, Q)
        weight = 2.0 * F - counts * S
        if C == 1:
            left = np.einsum("abr,kbdr->kadr", weight[:, :, 0], change)
            right = np.einsum("abr,kbdr->kadr", S[:, :, 0], change)
            hessian = np.einsum("iabr,jbar->ijr", left, right)
        else:
            kron = np.einsum("abcr,decr->abder", weight, S)
            half = np.einsum("abder,ibdr->iaer", kron, change)
            hessian = np.einsum("iaer,jear->ijr", half, change)
        QJ = np.einsum("abr,kbd->kadr", Q, J)
        hessian += 2.0 * np.einsum("iad,jadr->ijr", J, QJ)
        score = np.einsum("kabr,abr->kr", change, turned.sum(axis=2))
        hessian -= (s * s / self.df) * score[:, None] * score
        if px:
            RR = np.einsum("abcr,decr->adbecr", R, R)
            cross = np.einsum("xbecr,adbecr->xadr", Xe, RR)
            v = np.einsum("xadr,kadr->xkr", cross, change)
            Kv = np.einsum("xyr,ykr->xkr", K, v)
            hessian -= 2.0 * s * np.einsum("xir,xjr->ijr", v, Kv)
            if self.reml:
                hessian -= self._restricted(RR, K, change)
        hessian = 0.5 * (hessian + hessian.transpose(1, 0, 2))
        good = np.isfinite(value)
        value = np.where(good, value, np.inf)
        return Values(value, gradient, hessian, beta, r2, logdet, log_RX)

    def _factor(self, lam: Array) -> tuple[Array, Array, Array, Array]:
        """``P``, ``R = I - A P``, ``S`` (p, p, C, R) and ``log|M|`` (R,)."""
        A, counts = self.classes.A, self.classes.counts
        p = len(lam)
        Al = np.einsum("abc,bdr->adcr", A, lam)
        D = np.einsum("bar,bdcr->adcr", lam, Al)
        for a in range(p):
            D[a, a] += 1.0
        L = cholesky(D)
        logdet = counts @ log_diagonal(L)
        half = np.einsum("abcr,dbr->adcr", inverse_lower(L), lam)
        P = np.einsum("bacr,bdcr->adcr", half, half)
        R = -np.einsum("abc,bdcr->adcr", A, P)
        for a in range(p):
            R[a, a] += 1.0
        S = np.einsum("abcr,bdc->adcr", R, A)
        return P, R, S, logdet

    def _profile(self, P: Array) -> tuple[Array, Array, Array, Array]:
        """Beta, r2, ``log|R_X|^2``, and the inverse of ``X'V^-1 X``."""
        px, replicates = len(self.XX), P.shape[-1]
        r2 = self.yy - np.einsum("abcr,abcr->r", self.Zyy, P)
        H = self.XX.reshape(-1, 1) - self.classes.XX @ P.reshape(-1, replicates)
        H = H.reshape(px, px, replicates)
        beta: Array = np.zeros((px, replicates))
        log_RX: Array = np.zeros(replicates)
        K = H
        if px:
            Xy = -np.einsum("xabcr,abcr->xr", self.ZXy, P)
            half = inverse_lower(cholesky(H))
            log_RX = -log_diagonal(half)
            K = np.einsum("yxr,yzr->xzr", half, half)
            beta = np.einsum("xyr,yr->xr", K, Xy)
            r2 = r2 - inner(beta, Xy)
        return beta, np.where(r2 > 0.0, r2, np.nan), log_RX, K

    def _residual_products(self, beta: Array) -> tuple[Array, Array]:
        """Sums over classes of ``e e'`` (p, p, C, R), ``Z'x e'`` (px, p, p, C, R)."""
        px = len(beta)
        if not px:
            return self.Zyy, self.ZXy
        XX = self.classes.XX.reshape(px, px, -1)
        fitted = np.einsum("xym,yr->xmr", XX, beta)
        Xe = self.ZXy - fitted.reshape(self.ZXy.shape)
        ee = self.Zyy - np.einsum("xbacr,xr->abcr", self.ZXy, beta)
        ee = ee - np.einsum("xabcr,xr->abcr", Xe, beta)
        return ee, Xe

    def _restricted(self, RR: Array, K: Array, change: Array) -> Array:
        """``tr(K dH_i K dH_j)`` with ``H = X'V^-1 X``, (k, k, R)."""
        px = len(K)
        p, replicates = change.shape[1], K.shape[-1]
        turned = RR.transpose(2, 3, 4, 0, 1, 5)
        flat = turned.reshape(-1, p * p * replicates)
        sums = (self.classes.XX @ flat).reshape(px, px, p, p, replicates)
        dH = np.einsum("xyadr,kadr->kxyr", sums, change)
        KH = np.einsum("xyr,kyzr->kxzr", K, dH)
        return np.asarray(np.einsum("ixyr,jyxr->ijr", KH, KH), dtype=np.float64)


def _sandwich(R: Array, T: Array) -> Array:
    """``R T R'`` of each class and replicate, (p, p, C, R)."""
    half = np.einsum("abcr,bdcr->adcr", R, T)
    return np.asarray(np.einsum("abcr,dbcr->adcr", half, R), dtype=np.float64)


def load(
    found: Classes, problem: Problem, residual: Array, reml: bool, constant: float
) -> Levels:
    """Sums of the products of the least-squares residuals (n, R) with the levels.

    Parameters
    ----------
    found : Classes
    problem : Problem
    residual : (n, R) array
        What least squares leaves of the (weighted) responses.
    reml : bool
    constant : float
        Part of the criterion that is free of theta and of the responses.
    """
    levels, p, px = found.ZX.shape
    replicates = residual.shape[1]
    Zy = problem.factors[0].gather(residual)[found.order]
    outer = Zy[:, :, None] * Zy[:, None, :]
    if len(found.starts) < levels:
        outer = np.add.reduceat(outer, found.starts, axis=0)
    C = len(found.starts)
    mixed = np.empty((C, p * px, p * replicates))
    bounds = [*found.starts.tolist(), levels]
    for c in range(C):
        part = slice(bounds[c], bounds[c + 1])
        count = bounds[c + 1] - bounds[c]
        left = found.ZX[part].reshape(count, p * px)
        mixed[c] = left.T @ Zy[part].reshape(count, p * replicates)
    mixed = mixed.reshape(C, p, px, p, replicates).transpose(2, 1, 3, 0, 4)
    return Levels(
        found,
        problem.cross.gram[:-1, :-1],
        np.einsum("nr,nr->r", residual, residual),
        np.ascontiguousarray(outer.transpose(1, 2, 0, 3)),
        np.ascontiguousarray(mixed),
        float(problem.n - problem.p if reml else problem.n),
        constant,
        reml,
    )
