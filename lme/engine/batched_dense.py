"""The criterion of many responses of one design with several small grouping factors.

All random effects together are one dense matrix of each replicate. That is quick up to
some dozens of them, where a search for each response would only wait for Python.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lme.engine.batched_search import Values
from lme.engine.lmm import Problem

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Entries of ``Z'V^-1 Z`` of all replicates of a chunk.
_ENTRIES = 400_000


@dataclass(frozen=True)
class Design:
    """What the design alone contributes.

    Attributes
    ----------
    A : (q, q) array
        ``Z'Z``, factor after factor and level after level.
    ZX : (q, px) array
    XX : (px, px) array
    offsets, levels, widths : tuple of int
        First row, levels and columns of each factor.
    jacobians : tuple of (k, p, p) arrays
        ``d lambda / d theta`` of each factor, for all parameters; constant.
    """

    A: Array
    ZX: Array
    XX: Array
    offsets: tuple[int, ...]
    levels: tuple[int, ...]
    widths: tuple[int, ...]
    jacobians: tuple[Array, ...]

    @property
    def together(self) -> int:
        """Replicates in a chunk: enough to forget Python, few enough for memory."""
        return int(np.clip(_ENTRIES // self.A.size, 32, 256))

    def rows(self, f: int) -> slice:
        """Rows of a factor."""
        return slice(self.offsets[f], self.offsets[f] + self.levels[f] * self.widths[f])


def dense_design(problem: Problem, jacobians: tuple[Array, ...]) -> Design:
    """Lay out the random effects of all factors.

    Parameters
    ----------
    problem : Problem
    jacobians : tuple of (k, p, p) arrays
    """
    cross = problem.cross
    offsets = np.concatenate([[0], np.cumsum(cross.sizes)])
    A = np.zeros((offsets[-1], offsets[-1]))
    starts = [int(offset) for offset in offsets[:-1]]
    for start, block in zip(starts, cross.diagonal, strict=True):
        levels, p, _ = block.shape
        index = start + np.arange(levels * p).reshape(levels, p)
        A[index[:, :, None], index[:, None, :]] = block
    for (f, g), pair in cross.pairs.items():
        m, width = cross.sizes[f], cross.sizes[g]
        part = pair.matrix.toarray()
        A[starts[f] : starts[f] + m, starts[g] : starts[g] + width] = part
        A[starts[g] : starts[g] + width, starts[f] : starts[f] + m] = part.T
    px = len(cross.gram) - 1
    ZX = np.vstack([d[:, :, :px].reshape(-1, px) for d in cross.dense])
    return Design(
        A,
        ZX,
        cross.gram[:px, :px],
        tuple(starts),
        cross.levels,
        cross.widths,
        jacobians,
    )


@dataclass(frozen=True)
class Dense:
    """Products with the responses, and the criterion of them.

    Attributes
    ----------
    design : Design
    yy : (R,) array
        ``|y|^2`` of the least-squares residuals.
    Zy : (R, q) array
    df, constant : float
    reml : bool
    """

    design: Design
    yy: Array
    Zy: Array
    df: float
    constant: float
    reml: bool

    def take(self, kept: Index) -> Dense:
        """The same for some of the replicates."""
        return replace(self, yy=self.yy[kept], Zy=self.Zy[kept])

    def evaluate(self, theta: Array) -> Values:
        """Criterion, gradient and Hessian at theta (k, R).

        Notes
        -----
        As in `batched_levels`, with ``S = Z'V^-1 Z`` of all random effects.
        """
        d = self.design
        px, k = len(d.XX), len(theta)
        lambdas = [np.einsum("kab,kr->rab", J, theta) for J in d.jacobians]
        S, U, logdet = self._solve(lambdas)
        E, H = U
        Xy = H[:, :px, px]
        beta, r2 = np.zeros((len(H), px)), H[:, px, px]
        log_RX, K = np.zeros(len(H)), np.zeros((len(H), px, px))
        if px:
            half = np.linalg.inv(np.linalg.cholesky(H[:, :px, :px]))
            K = half.transpose(0, 2, 1) @ half
            beta = (K @ Xy[:, :, None])[:, :, 0]
            r2 = r2 - np.einsum("rx,rx->r", beta, Xy)
            diagonal = np.einsum("rxx->rx", half)
            log_RX = -2.0 * np.log(diagonal).sum(axis=1)
        r2 = np.where(r2 > 0.0, r2, np.nan)
        s = self.df / r2
        value = logdet + self.df * np.log(r2) + self.constant
        if self.reml:
            value = value + log_RX
        EX = E[:, :, :px]
        e = E[:, :, px] - (EX @ beta[:, :, None])[:, :, 0]
        F = (s[:, None] * e)[:, :, None] * e[:, None, :]
        if self.reml and px:
            F = F + EX @ K @ EX.transpose(0, 2, 1)
        changes = [
            np.einsum("kab,rdb->rkad", J, lam)
            for J, lam in zip(d.jacobians, lambdas, strict=True)
        ]
        changes = [c + c.transpose(0, 1, 3, 2) for c in changes]
        gradient, hessian = self._derivatives(S, F, changes)
        score, v, dH = self._first_derivatives(e, EX, changes)
        hessian -= (s * s / self.df)[:, None, None] * score[:, :, None] * score[:, None]
        if px:
            Kv = v @ K
            hessian -= 2.0 * s[:, None, None] * (Kv @ v.transpose(0, 2, 1))
            if self.reml:
                KH = (K[:, None] @ dH).reshape(len(H), k, px, px)
                flat = KH.reshape(len(H), k, -1)
                turned = KH.transpose(0, 1, 3, 2).reshape(len(H), k, -1)
                hessian -= flat @ turned.transpose(0, 2, 1)
        hessian = 0.5 * (hessian + hessian.transpose(0, 2, 1))
        return Values(
            np.where(np.isfinite(value), value, np.inf),
            np.ascontiguousarray(gradient.T),
            np.ascontiguousarray(hessian.transpose(1, 2, 0)),
            np.ascontiguousarray(beta.T),
            r2,
            logdet,
            log_RX,
        )

    def _times(self, matrix: Array, lambdas: list[Array]) -> Array:
        """``matrix Lambda`` for matrix (r, m, q) or (m, q)."""
        d = self.design
        replicates = len(lambdas[0])
        out = np.empty((replicates, *matrix.shape[-2:]))
        for f, lam in enumerate(lambdas):
            rows = d.rows(f)
            part = matrix[..., rows]
            if d.widths[f] == 1:
                out[..., rows] = part * lam
                continue
            shape = (replicates, -1, d.widths[f])
            wide = np.broadcast_to(part, (replicates, *part.shape[-2:])).reshape(shape)
            out[..., rows] = (wide @ lam).reshape(out[..., rows].shape)
        return out

    def _solve(self, lambdas: list[Array]) -> tuple[Array, tuple[Array, Array], Array]:
        """``Z'V^-1 Z``; ``Z'V^-1 [X y]`` and ``[X y]'V^-1 [X y]``; ``log|M|``."""
        d = self.design
        px = len(d.XX)
        replicates, q = self.Zy.shape
        AL = self._times(d.A, lambdas)
        M = self._times(AL.transpose(0, 2, 1), lambdas)
        index = np.arange(q)
        M[:, index, index] += 1.0
        L = np.linalg.cholesky(M)
        logdet = 2.0 * np.log(np.einsum("rqq->rq", L)).sum(axis=1)
        # W'W = A P A and W'(half of Z'E) complete both products.
        inverse = np.linalg.inv(L)
        W = inverse @ AL.transpose(0, 2, 1)
        S = d.A - W.transpose(0, 2, 1) @ W
        ZE = np.empty((replicates, q, px + 1))
        ZE[:, :, :px] = d.ZX
        ZE[:, :, px] = self.Zy
        half = inverse @ self._times(ZE.transpose(0, 2, 1), lambdas).transpose(0, 2, 1)
        E = ZE - W.transpose(0, 2, 1) @ half
        H = -half.transpose(0, 2, 1) @ half
        H[:, :px, :px] += d.XX
        H[:, px, px] += self.yy
        return S, (E, H), logdet

    def _derivatives(
        self, S: Array, F: Array, changes: list[Array]
    ) -> tuple[Array, Array]:
        """Gradient (R, k), and the Hessian's part that has no ``X'V^-1 [X y]``."""
        d = self.design
        replicates, k = len(S), changes[0].shape[1]
        gradient = np.zeros((replicates, k))
        hessian = np.zeros((replicates, k, k))
        weight = 2.0 * F - S
        for f, first in enumerate(changes):
            l1, p1 = d.levels[f], d.widths[f]
            for g, second in enumerate(changes):
                l2, p2 = d.levels[g], d.widths[g]
                shape = (replicates, l1, p1, l2, p2)
                left = weight[:, d.rows(f), d.rows(g)].reshape(shape)
                right = S[:, d.rows(f), d.rows(g)].reshape(shape)
                if p1 == p2 == 1:
                    kron = np.einsum("riajb,riajb->r", left, right)
                    kron = kron[:, None, None, None, None]
                else:
                    # Contraction over pairs of levels, as one product of matrices.
                    flat = left.transpose(0, 2, 4, 1, 3).reshape(
                        replicates, p1 * p2, -1
                    )
                    other = right.transpose(0, 2, 4, 1, 3).reshape(flat.shape)
                    both = flat @ other.transpose(0, 2, 1)
                    kron = both.reshape(replicates, p1, p2, p1, p2)
                half = np.einsum("rabcd,riac->ribd", kron, first)
                hessian += np.einsum("ribd,rjbd->rij", half, second)
            inner = (S - F)[:, d.rows(f), d.rows(f)].reshape(replicates, l1, p1, l1, p1)
            Q = np.einsum("riaib->rab", inner)
            gradient += np.einsum("rkab,rab->rk", first, Q)
            J = d.jacobians[f]
            QJ = np.einsum("rab,kbc->rkac", Q, J)
            hessian += 2.0 * np.einsum("iac,rjac->rij", J, QJ)
        return gradient, hessian

    def _first_derivatives(
        self, e: Array, EX: Array, changes: list[Array]
    ) -> tuple[Array, Array, Array]:
        """``e'dV e`` (R, k), ``X'V^-1 dV e`` (R, k, px), ``d X'V^-1 X`` less sign."""
        d = self.design
        replicates, k = len(e), changes[0].shape[1]
        px = EX.shape[2]
        score = np.zeros((replicates, k))
        v = np.zeros((replicates, k, px))
        dH = np.zeros((replicates, k, px, px))
        for f, change in enumerate(changes):
            shape = (replicates, d.levels[f], d.widths[f])
            part = e[:, d.rows(f)].reshape(shape)
            X = EX[:, d.rows(f)].reshape(*shape, px)
            ee = np.einsum("ria,rib->rab", part, part)
            score += np.einsum("rkab,rab->rk", change, ee)
            if px:
                Xe = np.einsum("riax,rib->rxab", X, part)
                v += np.einsum("rkab,rxab->rkx", change, Xe)
                if self.reml:
                    flat = X.reshape(replicates, d.levels[f], -1)
                    XX = flat.transpose(0, 2, 1) @ flat
                    XX = XX.reshape(replicates, d.widths[f], px, d.widths[f], px)
                    dH += np.einsum("rkab,raxby->rkxy", change, XX)
        return score, v, dH


def load_dense(
    design: Design, problem: Problem, residual: Array, reml: bool, constant: float
) -> Dense:
    """Products of the least-squares residuals (n, R) with the random effects.

    Parameters
    ----------
    design : Design
    problem : Problem
    residual : (n, R) array
    reml : bool
    constant : float
        Part of the criterion that is free of theta and of the responses.
    """
    parts = []
    for factor in problem.factors:
        Zy = factor.gather(residual)
        parts.append(Zy.reshape(-1, residual.shape[1]))
    return Dense(
        design,
        np.einsum("nr,nr->r", residual, residual),
        np.ascontiguousarray(np.vstack(parts).T),
        float(problem.n - problem.p if reml else problem.n),
        constant,
        reml,
    )
