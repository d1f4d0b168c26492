"""The dense stage: all factors that are left, as one symmetric matrix.

Matrices over the dense columns are kept by their lower triangle alone (C order); the
upper one may hold anything.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from lme.engine.crossproducts import CrossProducts, by_rows
from lme.engine.rotation import Rotation

Array = NDArray[np.float64]

#: Columns up to which the direct form of the adjoint costs next to nothing.
_DIRECT_UP_TO = 300


def symmetric_from_lower(matrix: Array) -> Array:
    """Full symmetric matrix from its lower triangle (the upper is ignored)."""
    lower = np.tril(matrix)
    out = lower + lower.T
    index = np.arange(len(matrix))
    out[index, index] = lower[index, index]
    return out


class DenseStage:
    """Cholesky factorization of ``S = Lambda' R Lambda + I`` and its adjoint.

    Parameters
    ----------
    cross : CrossProducts
    rest : sequence of int
        The factors that are treated here, in order.

    Attributes
    ----------
    rotation : Rotation or None
        Turns the columns of factors with a known covariance between levels; all else
        here sees turned columns only.
    """

    def __init__(self, cross: CrossProducts, rest: Sequence[int]) -> None:
        self.rest = list(rest)
        self.widths = [cross.widths[g] for g in rest]
        known = any(cross.relation(g) is not None for g in rest)
        self.rotation = Rotation(cross, rest) if known else None
        self.levels = (
            [cross.levels[g] for g in rest]
            if self.rotation is None
            else self.rotation.ranks
        )
        sizes = [n * p for n, p in zip(self.levels, self.widths, strict=True)]
        self.offsets = [int(start) for start in np.cumsum([0, *sizes])[:-1]]
        self.m = sum(sizes)
        self.scalar = all(p == 1 for p in self.widths)
        self.gram = np.zeros((self.m, self.m))
        self._diagonal = np.arange(self.m)
        self._places = self._find_places(cross)
        self.load(cross)

    def load(self, cross: CrossProducts) -> None:
        """Take other cross-products of the same pattern."""
        flat = self.gram.reshape(-1)
        for f, g, place in self._places:
            block = cross.diagonal[f] if f == g else cross.between(f, g).blocks
            flat[place] = block
        px = cross.gram.shape[0]
        blocks = [by_rows(cross.dense[g]) for g in self.rest]
        self.columns = np.vstack([np.empty((0, px)), *blocks])
        if self.rotation is not None:
            self.columns = self.rotation.forth(self.columns)
            self._load_turned(cross, self.rotation)

    def _load_turned(self, cross: CrossProducts, rotation: Rotation) -> None:
        """Fill in the products of factors that are turned."""
        ends = [*self.offsets, self.m]
        for i in range(len(self.rest)):
            for j in range(i + 1):
                block = rotation.product(cross, i, j)
                if block is not None:
                    self.gram[ends[i] : ends[i + 1], ends[j] : ends[j + 1]] = block

    def _find_places(
        self, cross: CrossProducts
    ) -> list[tuple[int, int, NDArray[np.intp]]]:
        """Where the blocks of ``Z_R'Z_R`` stand in the flat lower triangle."""
        out = []
        plain = [cross.relation(g) is None for g in self.rest]
        for i, g in enumerate(self.rest):
            if plain[i]:
                index = self._level_index(i)
                out.append((g, g, index[:, :, None] * self.m + index[:, None, :]))
        for i, g in enumerate(self.rest):
            for j, h in enumerate(self.rest[:i]):
                if not (plain[i] and plain[j]):
                    continue
                column = self.offsets[j]
                pair = cross.between(g, h)
                _, p, width = pair.blocks.shape
                rows = self.offsets[i] + pair.rows[:, None] * p + np.arange(p)
                cols = column + pair.cols[:, None] * width + np.arange(width)
                out.append((g, h, rows[:, :, None] * self.m + cols[:, None, :]))
        return out

    def _level_index(self, i: int) -> NDArray[np.intp]:
        """Columns of each level of the i-th factor, (l, p)."""
        count = self.levels[i] * self.widths[i]
        return self.offsets[i] + np.arange(count).reshape(-1, self.widths[i])

    def _scales(self) -> Array:
        """The diagonal of ``Lambda`` when every factor has one column."""
        return np.repeat([lam[0, 0] for lam in self.lambdas], self.levels)

    def _right(self, matrix: Array, lambdas: Sequence[Array]) -> Array:
        """``matrix @ blockdiag(I (x) lambda)``."""
        out = np.empty(matrix.shape)
        for i, lam in enumerate(lambdas):
            start, p = self.offsets[i], len(lam)
            part = slice(start, start + self.levels[i] * p)
            if p == 1:
                np.multiply(matrix[:, part], lam[0, 0], out=out[:, part])
            else:
                block = matrix[:, part]
                out[:, part] = (block.reshape(-1, p) @ lam).reshape(block.shape)
        return out

    def _sandwich(self, matrix: Array, lambdas: Sequence[Array]) -> Array:
        """``T' matrix T`` for ``T = blockdiag(I (x) lambda)``, lower triangles."""
        if self.scalar:
            scale = np.repeat([lam[0, 0] for lam in lambdas], self.levels)
            scaled: Array = matrix * scale
            scaled *= scale[:, None]
            return scaled
        matrix = matrix.copy()
        for i, p in enumerate(self.widths):
            if p > 1:
                # Blocks on the diagonal straddle both triangles.
                index = self._level_index(i)
                at = index[:, :, None], index[:, None, :]
                lower = np.tril(matrix[at])
                eye = np.arange(p)
                blocks = lower + lower.transpose(0, 2, 1)
                blocks[:, eye, eye] = lower[:, eye, eye]
                matrix[at] = blocks
        half = self._right(matrix, lambdas)
        out = np.empty_like(half)
        for i, lam in enumerate(lambdas):
            start, p = self.offsets[i], len(lam)
            part = slice(start, start + self.levels[i] * p)
            if p == 1:
                np.multiply(half[part], lam[0, 0], out=out[part])
            else:
                stack = half[part].reshape(-1, p, self.m)
                out[part] = (lam.T @ stack).reshape(-1, self.m)
        return out

    def left(self, matrix: Array, transpose: bool) -> Array:
        """``Lambda matrix``, or ``Lambda' matrix``, for (m, r) columns."""
        factors = self.lambdas if transpose else [lam.T for lam in self.lambdas]
        return self._right(matrix.T, factors).T

    def factor(
        self, RR: Array, RX: Array, lambdas: Sequence[Array]
    ) -> tuple[float, Array] | None:
        """``log|S|`` and what ``[X y]'[X y]`` loses; None if not finite.

        Parameters
        ----------
        RR : (m, m) array
            Lower triangle.
        RX : (m, px + 1) array
        lambdas : sequence of (p, p) arrays
        """
        self.lambdas = list(lambdas)
        self.RR, self.RX = RR, RX
        S = self._sandwich(RR, self.lambdas)
        S[self._diagonal, self._diagonal] += 1.0
        if not np.isfinite(S[-1]).all():
            return None
        # A lower triangle in C order is an upper one to LAPACK.
        self.U, info = lapack.dpotrf(S.T, lower=0, clean=0, overwrite_a=1)
        if info != 0:
            return None
        self.G = self.left(RX, transpose=True)
        self.KT, _ = lapack.dpotrs(self.U, self.G, lower=0)
        logdet = 2.0 * float(np.log(self.U.diagonal()).sum())
        return logdet, self.G.T @ self.KT

    def adjoint(self, weights: Array) -> tuple[list[Array], Array, Array]:
        """Per factor Q, and the adjoints of RR (lower triangle) and RX.

        Notes
        -----
        With ``K = G S^-1`` the adjoint of S is ``Sbar = S^-1 + K' W K``, and ``lambda'
        Q lambda`` is the sum over levels of the blocks of ``I - Sbar``. Where lambda
        is (nearly) singular, Q comes from ``R - R P R - U W U'`` instead, with ``P =
        Lambda S^-1 Lambda'`` and ``U = (I - R P) Z_R'[X y]``.
        """
        # dpotri works in place, and the factor is still needed for solves.
        inverse, _ = lapack.dpotri(self.U, lower=0, overwrite_c=0)
        KW = self.KT @ weights
        direct = [self._is_singular(lam) for lam in self.lambdas]
        plain = inverse.T.copy() if any(direct) else None
        Sbar = blas.dgemm(
            1.0, self.KT, KW, beta=1.0, c=inverse, trans_b=1, overwrite_c=1
        ).T
        out = []
        for i, lam in enumerate(self.lambdas):
            if plain is not None and direct[i]:
                out.append(self._direct(i, plain, weights))
                continue
            p = len(lam)
            index = self._level_index(i)
            total = np.tril(Sbar[index[:, :, None], index[:, None, :]].sum(axis=0))
            total = total + np.tril(total, -1).T
            inner = self.levels[i] * np.eye(p) - total
            half = np.linalg.solve(lam.T, inner)
            Q: Array = np.asarray(np.linalg.solve(lam.T, half.T), dtype=np.float64)
            out.append(Q)
        RRbar = self._sandwich(Sbar, [lam.T for lam in self.lambdas])
        return out, RRbar, -self.left(KW, transpose=False)

    def _is_singular(self, lam: Array) -> bool:
        # A triangle whose rows stand in another order has a zero on its diagonal.
        size = np.abs(lam.diagonal())
        return self.m <= _DIRECT_UP_TO or size.min() <= 1e-3 * max(size.max(), 1e-2)

    def _direct(self, i: int, inverse: Array, weights: Array) -> Array:
        """Q of one factor without dividing by lambda."""
        RR = symmetric_from_lower(self.RR)
        inverse = symmetric_from_lower(inverse)
        p = self.widths[i]
        rows = slice(self.offsets[i], self.offsets[i] + self.levels[i] * p)
        Y = self._right(RR[rows], self.lambdas)
        U = self.RX[rows] - Y @ self.KT
        index = self._level_index(i)
        Q: Array = RR[index[:, :, None], index[:, None, :]].sum(axis=0)
        Q = Q - _sum_outer(Y @ inverse, Y, p) - _sum_outer(U @ weights, U, p)
        return 0.5 * (Q + Q.T)

    def solve(self, rhs: Array) -> Array:
        """``Lambda S^-1 Lambda' r`` for r (m, r)."""
        inner = self.left(rhs, transpose=True)
        spherical, _ = lapack.dpotrs(self.U, inner, lower=0)
        return self.left(spherical, transpose=False)

    def blocks(self) -> tuple[list[Array], Array]:
        """Diagonal blocks of ``P = Lambda S^-1 Lambda'`` by level, and P (lower)."""
        inverse, _ = lapack.dpotri(self.U, lower=0, overwrite_c=0)
        P = self._sandwich(inverse.T, [lam.T for lam in self.lambdas])
        out = []
        for i in range(len(self.rest)):
            index = self._level_index(i)
            if self.rotation is not None and self.rotation.halves[i] is not None:
                part = slice(int(index[0, 0]), int(index[-1, -1]) + 1)
                own = symmetric_from_lower(P[part, part])
                block = self.rotation.diagonal_blocks(i, own)
                alone = self.rotation.variances_without_rows(i, self.lambdas[i])
                out.append(block + alone)
                continue
            lower = np.tril(P[index[:, :, None], index[:, None, :]])
            out.append(lower + np.tril(lower, -1).transpose(0, 2, 1))
        return out, P

    def enter(self, rows: Array) -> Array:
        """Rows as this stage counts them, (m, c), from rows by level."""
        return rows if self.rotation is None else self.rotation.forth(rows)

    def leave(self, rows: Array, rhs: Sequence[Array]) -> list[Array]:
        """A solution (m, c) by level, (l, p, c) per factor.

        Parameters
        ----------
        rows : (m, c) array
        rhs : sequence of (l, p, c) arrays
            The right-hand side by level, for levels without rows.
        """
        if self.rotation is None:
            return [
                rows[start : start + r.shape[0] * r.shape[1]].reshape(r.shape)
                for start, r in zip(self.offsets, rhs, strict=True)
            ]
        rotation, out = self.rotation, []
        flat = rotation.back(rows)
        for i, (start, r) in enumerate(zip(rotation.offsets, rhs, strict=True)):
            part = flat[start : start + r.shape[0] * r.shape[1]].reshape(r.shape)
            out.append(part + rotation.without_rows(i, r, self.lambdas[i]))
        return out


def _sum_outer(left: Array, right: Array, p: int) -> Array:
    """``sum_l left_l right_l'`` over levels l of p rows each, shape (p, p)."""
    if p == 1:
        return np.array([[np.vdot(left, right)]])
    if not left.size:
        return np.zeros((p, p))
    left = left.reshape(-1, p, left.shape[1])
    right = right.reshape(-1, p, right.shape[1])
    return np.tensordot(left, right, axes=([0, 2], [0, 2]))
