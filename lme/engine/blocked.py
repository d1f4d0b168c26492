"""Block elimination: factors in batch while they can be, the rest dense.

The grouping factor with the most random effects is eliminated one level at a time,
all levels at once (`numerics`, section 2). Factors in which it is nested stay block
diagonal and follow in the same way when they are large; what remains is dense. The
adjoint runs the same steps backwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import lapack

from lme.engine.coupling import (
    DenseCoupling,
    SparseCoupling,
    batched_product,
    couple,
    sum_products,
)
from lme.engine.crossproducts import CrossProducts
from lme.engine.kernel import Schur

Array = NDArray[np.float64]

#: Columns left to the dense stage up to which a nested factor is not worth a stage.
_CHAIN_FROM = 300
#: Dense columns up to which the direct form of the adjoint costs next to nothing.
_DIRECT_UP_TO = 400


def symmetric_from_lower(matrix: Array) -> Array:
    """Full symmetric matrix from its lower triangle (the upper is ignored)."""
    lower = np.tril(matrix)
    out = lower + lower.T
    index = np.arange(len(matrix))
    out[index, index] = lower[index, index]
    return out


def times_lambda(
    matrix: Array, lambdas: Sequence[Array], levels: Sequence[int]
) -> Array:
    """``matrix @ Lambda`` for the block diagonal ``Lambda``."""
    if all(lam.size == 1 for lam in lambdas):
        scale = np.repeat([lam[0, 0] for lam in lambdas], levels)
        return matrix * scale
    out = np.empty(matrix.shape)
    start = 0
    for lam, count in zip(lambdas, levels, strict=True):
        p = len(lam)
        stop = start + count * p
        block = matrix[:, start:stop]
        out[:, start:stop] = (block.reshape(-1, p) @ lam).reshape(block.shape)
        start = stop
    return out



def eliminate(A: Array, lam: Array) -> tuple[float, Array]:
    """``sum_j log|D_j|`` and ``P_j = lambda D_j^-1 lambda'`` for one factor.

    Parameters
    ----------
    A : (l, p, p) array
        Diagonal blocks; ``D_j = lambda' A_j lambda + I``.
    lam : (p, p) array
    """
    p = len(lam)
    if p == 1:
        square = lam[0, 0] * lam[0, 0]
        D = square * A + 1.0
        return float(np.log(D).sum()), square / D
    D = lam.T @ (A @ lam)
    index = np.arange(p)
    D[:, index, index] += 1.0
    if p == 2:
        a, b, c = D[:, 0, 0], D[:, 0, 1], D[:, 1, 1]
        det = a * c - b * b
        inverse = np.empty_like(D)
        inverse[:, 0, 0], inverse[:, 1, 1] = c / det, a / det
        inverse[:, 0, 1] = inverse[:, 1, 0] = -b / det
        return float(np.log(det).sum()), lam @ inverse @ lam.T
    L = np.linalg.cholesky(D)
    logdet = 2.0 * float(np.log(L[:, index, index]).sum())
    return logdet, lam @ np.linalg.inv(D) @ lam.T


@dataclass(slots=True)
class _Stage:
    """One batched factor: constants, and the state of the last factorization."""

    factor: int
    links: dict[int, sparse.csr_matrix]
    parents: dict[int, NDArray[np.intp]]
    A: Array
    X: Array
    P: Array
    B: DenseCoupling | SparseCoupling | None
    W: dict[int, Array]


class Blocked:
    """Kernel by block elimination; pure NumPy and SciPy.

    Parameters
    ----------
    cross : CrossProducts
    """

    name = "blocked"

    def __init__(self, cross: CrossProducts) -> None:
        self.cross = cross
        self.chain, self.rest = plan(cross)
        sizes = cross.sizes
        self.offsets = list(np.cumsum([0] + [sizes[g] for g in self.rest])[:-1])
        self.m = sum(sizes[g] for g in self.rest)
        self.rest_levels = [cross.levels[g] for g in self.rest]
        self._couplings = [self._couple(f) for f in self.chain]
        self._links = [self._link(i) for i in range(len(self.chain))]
        self._rest_gram = self._dense_gram()
        px = cross.gram.shape[0]
        rest = [cross.dense[g].reshape(-1, px) for g in self.rest]
        self._rest_dense = np.vstack(rest) if rest else np.empty((0, px))

    def _couple(self, f: int) -> DenseCoupling | SparseCoupling | None:
        if not self.rest:
            return None
        pairs = [self.cross.between(f, g) for g in self.rest]
        return couple(
            pairs,
            self.offsets,
            self.cross.levels[f],
            self.cross.widths[f],
            self.m,
            dense=len(self.chain) > 1,
        )

    def _link(
        self, i: int
    ) -> dict[int, tuple[NDArray[np.intp], sparse.csr_matrix, Array]]:
        """For each later stage: parent of every level, summing matrix, coupling."""
        f = self.chain[i]
        out = {}
        for j in range(i + 1, len(self.chain)):
            pair = self.cross.between(f, self.chain[j])
            count = pair.rows.size
            link = sparse.csr_matrix(
                (np.ones(count), (pair.cols, pair.rows)),
                shape=(self.cross.levels[self.chain[j]], count),
            )
            out[j] = (pair.cols, link, pair.blocks)
        return out

    def _dense_gram(self) -> Array:
        gram = np.zeros((self.m, self.m))
        for g, start in zip(self.rest, self.offsets, strict=True):
            blocks = self.cross.diagonal[g]
            l, p, _ = blocks.shape
            index = start + np.arange(l * p).reshape(l, p)
            gram[index[:, :, None], index[:, None, :]] = blocks
        for i, g in enumerate(self.rest):
            for h, column in zip(self.rest[:i], self.offsets[:i], strict=True):
                pair = self.cross.between(g, h)
                _, p, width = pair.blocks.shape
                rows = self.offsets[i] + pair.rows[:, None] * p + np.arange(p)
                cols = column + pair.cols[:, None] * width + np.arange(width)
                gram[rows[:, :, None], cols[:, None, :]] = pair.blocks
                gram[cols[:, :, None], rows[:, None, :]] = pair.blocks.transpose(
                    0, 2, 1
                )
        return gram

    def factor(self, lambdas: Sequence[Array]) -> Schur | None:
        """Factor ``M`` at the given factors; None when it is not finite."""
        cross = self.cross
        self.lambdas = lambdas
        logdet = 0.0
        XX = cross.gram
        RX = self._rest_dense
        RR = self._rest_gram
        stages = [
            _Stage(
                f,
                {j: link[1] for j, link in links.items()},
                {j: link[0] for j, link in links.items()},
                cross.diagonal[f],
                cross.dense[f],
                np.empty(0),
                coupling,
                {j: link[2] for j, link in links.items()},
            )
            for f, links, coupling in zip(
                self.chain, self._links, self._couplings, strict=True
            )
        ]
        for i, stage in enumerate(stages):
            part, stage.P = eliminate(stage.A, lambdas[stage.factor])
            logdet += part
            PX = batched_product(stage.P, stage.X)
            XX = XX - sum_products(stage.X, PX)
            if stage.B is not None:
                RX = RX - stage.B.left(PX)
                RR = RR - stage.B.update(stage.P)
            if i + 1 < len(stages):
                _pass_on(stages, i, PX)
        self.stages = stages
        if not np.isfinite(logdet):
            return None
        if self.m:
            dense = self._factor_dense(RR, RX)
            if dense is None:
                return None
            part, XX = dense[0], XX - dense[1]
            logdet += part
        return Schur(logdet, XX)

    def _factor_dense(self, RR: Array, RX: Array) -> tuple[float, Array] | None:
        lambdas = [self.lambdas[g] for g in self.rest]
        self.RR = symmetric_from_lower(RR)
        self.RX = RX
        self.RRL = times_lambda(self.RR, lambdas, self.rest_levels)
        S = times_lambda(self.RRL.T, lambdas, self.rest_levels)
        index = np.arange(self.m)
        S[index, index] += 1.0
        if not np.isfinite(S[-1]).all():
            return None
        self.L, info = lapack.dpotrf(S.T, lower=1, clean=0, overwrite_a=1)
        if info != 0:
            return None
        G = times_lambda(RX.T, lambdas, self.rest_levels).T
        self.KT, _ = lapack.dpotrs(self.L, G, lower=1)
        logdet = 2.0 * float(np.log(self.L.diagonal()).sum())
        return logdet, G.T @ self.KT

    def adjoint(self, weights: Array) -> list[Array]:
        """Per factor ``Q`` with ``d(log|M| + <weights, matrix>) = <Q, d Sigma>``.

        Notes
        -----
        A batched factor has ``Q = sum_j R_j Pbar_j R_j' + R_j A_j`` with
        ``R_j = I - A_j P_j``: nothing divides by lambda (`numerics`, section 3).
        """
        out: list[Array | None] = [None] * len(self.cross.levels)
        RRbar: Array | None = None
        RXbar: Array | None = None
        if self.m:
            dense, RRbar, RXbar = self._adjoint_dense(weights)
            for g, Q in zip(self.rest, dense, strict=True):
                out[g] = Q
        if len(self.stages) == 1:
            stage = self.stages[0]
            Pbar = _quadratic(stage, weights, RXbar, RRbar)
            out[stage.factor] = _sigma_adjoint(stage.A, stage.P, Pbar)
        else:
            for stage, Pbar in _backward(self.stages, weights, RXbar, RRbar):
                out[stage.factor] = _sigma_adjoint(stage.A, stage.P, Pbar)
        return [Q for Q in out if Q is not None]

    def _adjoint_dense(self, weights: Array) -> tuple[list[Array], Array, Array]:
        lambdas = [self.lambdas[g] for g in self.rest]
        lower, _ = lapack.dpotri(self.L, lower=1)
        inverse = symmetric_from_lower(lower)
        KW = self.KT @ weights
        Sbar = inverse + KW @ self.KT.T
        RRbar = self._sandwich(Sbar)
        RXbar = -lambda_times(KW, lambdas, self.rest_levels)
        out = []
        for start, g in zip(self.offsets, self.rest, strict=True):
            l, p = self.cross.levels[g], self.cross.widths[g]
            rows = slice(start, start + l * p)
            lam = self.lambdas[g]
            size = np.abs(lam.diagonal())
            if self.m <= _DIRECT_UP_TO or size.min() <= 1e-3 * max(size.max(), 1e-2):
                Y = self.RRL[rows]
                U = self.RX[rows] - Y @ self.KT
                Q = _level_blocks_diagonal(self.RR, rows, p)
                Q = Q - _sum_outer(Y @ inverse, Y, p) - _sum_outer(U @ weights, U, p)
            else:
                F = _sum_outer(self.RRL[rows], Sbar[rows], p)
                F -= _sum_outer(self.RX[rows], KW[rows], p)
                Q = np.linalg.solve(lam.T, F.T).T
            out.append(0.5 * (Q + Q.T))
        return out, RRbar, RXbar

    def _sandwich(self, matrix: Array) -> Array:
        """``Lambda S Lambda'`` for symmetric S over the dense columns."""
        lambdas = [self.lambdas[g] for g in self.rest]
        half = lambda_times(matrix, lambdas, self.rest_levels)
        return lambda_times(half.T, lambdas, self.rest_levels)

    def solve(self, rhs: Sequence[Array]) -> list[Array]:
        """``Lambda M^-1 Lambda' r`` for r given per factor as (l, p, r) arrays."""
        work = [np.array(r) for r in rhs]
        columns = rhs[0].shape[2]
        rest = np.vstack(
            [np.empty((0, columns))] + [rhs[g].reshape(-1, columns) for g in self.rest]
        )
        for i, stage in enumerate(self.stages):
            g = batched_product(stage.P, work[stage.factor])
            if stage.B is not None:
                rest = rest - stage.B.left(g)
            for j, W in stage.W.items():
                target = self.stages[j].factor
                change = W.transpose(0, 2, 1) @ g
                work[target] -= _segment(stage.links[j], change)
        out = list(work)
        if self.m:
            lambdas = [self.lambdas[g] for g in self.rest]
            inner = times_lambda(rest.T, lambdas, self.rest_levels).T
            spherical, _ = lapack.dpotrs(self.L, inner, lower=1)
            b = lambda_times(spherical, lambdas, self.rest_levels)
            for start, g in zip(self.offsets, self.rest, strict=True):
                shape = rhs[g].shape
                out[g] = b[start : start + shape[0] * shape[1]].reshape(shape)
        for stage in reversed(self.stages):
            r = work[stage.factor]
            if stage.B is not None:
                r = r - stage.B.right(b)
            for j, W in stage.W.items():
                r = r - W @ out[self.stages[j].factor][stage.parents[j]]
            out[stage.factor] = batched_product(stage.P, r)
        return out

    def blocks(self) -> list[Array]:
        """Diagonal blocks of ``Lambda M^-1 Lambda'`` per factor, (l, p, p)."""
        out: list[Array | None] = [None] * len(self.cross.levels)
        px = len(self.cross.gram)
        zero = np.zeros((px, px))
        RRbar: Array | None = None
        RXbar: Array | None = None
        if self.m:
            lower, _ = lapack.dpotri(self.L, lower=1)
            inverse = symmetric_from_lower(lower)
            RRbar = self._sandwich(inverse)
            RXbar = np.zeros((self.m, px))
            for start, g in zip(self.offsets, self.rest, strict=True):
                l, p = self.cross.levels[g], self.cross.widths[g]
                index = start + np.arange(l * p).reshape(l, p)
                out[g] = RRbar[index[:, :, None], index[:, None, :]]
        if len(self.stages) == 1:
            stage = self.stages[0]
            Pbar = _quadratic(stage, zero, RXbar, RRbar)
            out[stage.factor] = stage.P - stage.P @ Pbar @ stage.P
        else:
            for stage, Pbar in _backward(self.stages, zero, RXbar, RRbar):
                out[stage.factor] = stage.P - stage.P @ Pbar @ stage.P
        return [block for block in out if block is not None]


def plan(cross: CrossProducts) -> tuple[list[int], list[int]]:
    """Factors to eliminate in batch, in order, and factors left dense."""
    order = sorted(range(len(cross.levels)), key=lambda f: -cross.sizes[f])
    chain, rest = [order[0]], order[1:]
    if sum(cross.sizes[g] for g in rest) > _CHAIN_FROM:
        for g in sorted(rest, key=lambda f: -cross.levels[f]):
            f = chain[-1]
            nested = cross.between(f, g).rows.size == cross.levels[f]
            others = sum(cross.sizes[h] for h in rest if h != g and h not in chain)
            # Dense columns next to a chain are stored for every level of it.
            if nested and others * cross.sizes[chain[0]] <= 20_000_000:
                chain.append(g)
    rest = [g for g in rest if g not in chain]
    return chain, rest


def _segment(link: sparse.csr_matrix, stack: Array) -> Array:
    """Sums of a stack of matrices over the levels of one parent."""
    shape = stack.shape[1:]
    return (link @ stack.reshape(len(stack), -1)).reshape(-1, *shape)


def lambda_times(
    matrix: Array, lambdas: Sequence[Array], levels: Sequence[int]
) -> Array:
    """``Lambda @ matrix``."""
    transposed = [lam.T for lam in lambdas]
    return times_lambda(matrix.T, transposed, levels).T


def _sum_outer(left: Array, right: Array, p: int) -> Array:
    """``sum_l left_l right_l'`` over levels l of p rows each, shape (p, p)."""
    if p == 1:
        return np.array([[np.vdot(left, right)]])
    left = left.reshape(-1, p, left.shape[1])
    right = right.reshape(-1, p, right.shape[1])
    return np.tensordot(left, right, axes=([0, 2], [0, 2]))


def _level_blocks_diagonal(matrix: Array, rows: slice, p: int) -> Array:
    """Sum of the p x p diagonal blocks of a square matrix over `rows`."""
    index = np.arange(rows.start, rows.stop).reshape(-1, p)
    return matrix[index[:, :, None], index[:, None, :]].sum(axis=0)


def _sigma_adjoint(A: Array, P: Array, Pbar: Array) -> Array:
    """``sum_j R Pbar R' + R A`` with ``R = I - A P``, shape (p, p)."""
    if A.shape[1] == 1:
        R = 1.0 - A[:, 0, 0] * P[:, 0, 0]
        return np.array([[np.dot(R, R * Pbar[:, 0, 0] + A[:, 0, 0])]])
    R = np.eye(A.shape[1]) - A @ P
    Q = np.einsum("jab,jcb->ac", R @ Pbar, R) + np.einsum("jab,jbc->ac", R, A)
    return 0.5 * (Q + Q.T)


def _quadratic(
    stage: _Stage, XXbar: Array, RXbar: Array | None, RRbar: Array | None
) -> Array:
    """``Pbar_j = -A_jE Abar A_Ej`` of a stage followed by the dense one."""
    X = stage.X
    l, p, px = X.shape
    half = (X.reshape(l * p, px) @ XXbar).reshape(l, p, px)
    if stage.B is not None and RXbar is not None and RRbar is not None:
        # X Abar X' + (B Abar X') + (B Abar X')' + B Abar B'
        mixed = stage.B.right(RXbar)
        if p == 1:
            out = np.einsum("lax,lax->l", half + 2.0 * mixed, X).reshape(l, 1, 1)
        else:
            twist = mixed @ X.transpose(0, 2, 1)
            out = half @ X.transpose(0, 2, 1) + twist + twist.transpose(0, 2, 1)
        return -(out + stage.B.quadratic(RRbar))
    if p == 1:
        return -np.einsum("lax,lax->l", half, X).reshape(l, 1, 1)
    return -(half @ X.transpose(0, 2, 1))


def _pass_on(stages: list[_Stage], i: int, PX: Array) -> None:
    """Update the later stages of a chain by the elimination of stage i."""
    stage = stages[i]
    PB = None
    if isinstance(stage.B, DenseCoupling):
        PB = batched_product(stage.P, stage.B.values)
    for j, W in stage.W.items():
        target, link = stages[j], stage.links[j]
        Wt = W.transpose(0, 2, 1)
        target.X = target.X - _segment(link, Wt @ PX)
        target.A = target.A - _segment(link, Wt @ (stage.P @ W))
        if PB is not None and isinstance(target.B, DenseCoupling):
            change = _segment(link, Wt @ PB)
            target.B = DenseCoupling(target.B.values - change)
        for h in stage.W:
            if h > j:
                change = _segment(link, Wt @ (stage.P @ stage.W[h]))
                target.W = {**target.W, h: target.W[h] - change}


def _backward(
    stages: list[_Stage], XXbar: Array, RXbar: Array | None, RRbar: Array | None
) -> list[tuple[_Stage, Array]]:
    """Adjoint of a chain: each stage with its ``Pbar``.

    Adjoint blocks are those of the full symmetric matrix, so a block off the
    diagonal stands for itself and its mirror image.
    """
    Abar: dict[int, Array] = {}
    Xbar: dict[int, Array] = {}
    Bbar: dict[int, Array] = {}
    Wbar: dict[tuple[int, int], Array] = {}
    out = []
    for i in range(len(stages) - 1, -1, -1):
        stage = stages[i]
        B = stage.B.values if isinstance(stage.B, DenseCoupling) else None
        later = sorted(stage.W)
        VX = stage.X @ XXbar
        VB = None
        if B is not None and RXbar is not None and RRbar is not None:
            VX = VX + B @ RXbar
            VB = stage.X @ RXbar.T + B @ RRbar
        VW: dict[int, Array] = {}
        for j in later:
            at = stage.parents[j]
            VX = VX + stage.W[j] @ Xbar[j][at]
            V = stage.X @ Xbar[j][at].transpose(0, 2, 1)
            if B is not None and VB is not None:
                VB = VB + stage.W[j] @ Bbar[j][at]
                V = V + B @ Bbar[j][at].transpose(0, 2, 1)
            for h in later:
                if h == j:
                    V = V + stage.W[j] @ Abar[j][at]
                elif h > j:
                    V = V + stage.W[h] @ Wbar[j, h][at].transpose(0, 2, 1)
                else:
                    V = V + stage.W[h] @ Wbar[h, j][stage.parents[h]]
            VW[j] = V
        Pbar = VX @ stage.X.transpose(0, 2, 1)
        if B is not None and VB is not None:
            Pbar = Pbar + VB @ B.transpose(0, 2, 1)
        for j in later:
            Pbar = Pbar + VW[j] @ stage.W[j].transpose(0, 2, 1)
        Pbar = -Pbar
        Abar[i] = stage.P - stage.P @ Pbar @ stage.P
        Xbar[i] = -(stage.P @ VX)
        if VB is not None:
            Bbar[i] = -(stage.P @ VB)
        for j in later:
            Wbar[i, j] = -(stage.P @ VW[j])
        out.append((stage, Pbar))
    return out
