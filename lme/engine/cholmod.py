"""Kernel by sparse Cholesky factorization of all random effects at once.

CHOLMOD orders and factors ``M = Lambda' A Lambda + I``; the pattern of M is fixed, so
the ordering is found once and afterwards only the numbers change. Gradients need the
inverse of M on its own pattern only, which `selinv` computes.

References
----------
.. [1] Chen, Y., Davis, T. A., Hager, W. W. & Rajamanickam, S. (2008). Algorithm 887:
   CHOLMOD. ACM Trans. Math. Softw. 35(3), 22. doi:10.1145/1391989.1391995
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.engine.crossproducts import CrossProducts
from lme.engine.elimination import Cost, cost
from lme.engine.kernel import Schur
from lme.engine.selinv import SelectedInverse
from lme.engine.system import System

try:
    from sksparse import cholmod as _sksparse
except ImportError:
    _sksparse = None

Array = NDArray[np.float64]
Index = NDArray[np.intp]

_library: Any = _sksparse

#: Below this a standard deviation is raised to it, relative to ``1 / sqrt(max A_jj)``:
#: its square is beneath the rounding error of ``M``.
_FLOOR = 1e-9
#: Operations per column up to which CHOLMOD's column-wise code beats its dense panels.
_SIMPLICIAL = 1e4
#: Columns from which nested dissection is worth its time.
_DISSECT = 2000


def available() -> bool:
    """Whether scikit-sparse can be imported."""
    return _library is not None


class Analysis(Protocol):
    """A symbolic analysis of one pattern, and the last factorization made with it."""

    perm: Index

    def factorize(self, data: Array) -> float | None:
        """Factor the matrix with these entries; ``log|M|``, None if not definite."""

    def solve(self, rhs: Array) -> Array:
        """``M^-1 rhs`` for rhs (n, r) in Fortran order."""

    def lower(self) -> tuple[NDArray[np.int_], NDArray[np.int_], Array]:
        """The factor ``L`` by columns: indptr, indices, data."""


class Analysis04:
    """Analysis by scikit-sparse 0.4."""

    def __init__(self, matrix: sparse.csc_matrix, mode: str, ordering: str) -> None:
        self._matrix = matrix
        self._factor = _library.analyze(matrix, mode=mode, ordering_method=ordering)
        self.perm = np.array(self._factor.P(), dtype=np.intp)

    def factorize(self, data: Array) -> float | None:
        """See `Analysis`."""
        self._matrix.data = data
        try:
            self._factor.cholesky_inplace(self._matrix)
        except _library.CholmodNotPositiveDefiniteError:
            return None
        with np.errstate(invalid="ignore"):
            # Column-wise code factors indefinite matrices too, as L D L'.
            logdet = float(self._factor.logdet())
        return logdet if np.isfinite(logdet) else None

    def solve(self, rhs: Array) -> Array:
        """See `Analysis`."""
        return np.asarray(self._factor.solve_A(rhs), dtype=float)

    def lower(self) -> tuple[NDArray[np.int_], NDArray[np.int_], Array]:
        """See `Analysis`."""
        L = self._factor.L()
        return L.indptr, L.indices, L.data


class Analysis05:
    """Analysis by scikit-sparse 0.5, which renamed everything."""

    def __init__(self, matrix: sparse.csc_matrix, mode: str, ordering: str) -> None:
        self._matrix = sparse.csc_array(matrix)
        self._symbolic = _library.CholeskyFactor(
            self._matrix, lower=True, order=ordering, supernodal_mode=mode
        )
        self._factor = self._symbolic
        self.perm = np.array(self._symbolic.get_perm(), dtype=np.intp)

    def factorize(self, data: Array) -> float | None:
        """See `Analysis`."""
        self._matrix.data = data
        # 0.5 leaves a factor in column-wise form, and would go on with slow
        # column-wise code: begin with a copy of the symbolic factor every time.
        self._factor = self._symbolic.copy()
        try:
            self._factor.factorize(self._matrix, ldl=False)
        except _library.CholmodNotPositiveDefiniteError:
            return None
        indptr, _, entries = self.lower()
        return 2.0 * float(np.log(entries[indptr[:-1]]).sum())

    def solve(self, rhs: Array) -> Array:
        """See `Analysis`."""
        with warnings.catch_warnings():
            # A large variance next to small ones is no reason to warn.
            warnings.simplefilter("ignore", _library.CholmodWarning)
            return np.asarray(self._factor.solve(rhs), dtype=float)

    def lower(self) -> tuple[NDArray[np.int_], NDArray[np.int_], Array]:
        """See `Analysis`."""
        # The view keeps explicit zeros, which the methods that copy drop.
        L = self._factor.factor
        stop = L.indptr[-1]
        return L.indptr, L.indices[:stop], L.data[:stop]


def analyze(matrix: sparse.csc_matrix, mode: str, ordering: str) -> Analysis:
    """Symbolic analysis by whichever scikit-sparse there is.

    Parameters
    ----------
    matrix : (n, n) csc_matrix
        Lower triangle, rows ascending; its entries do not matter.
    mode : {"simplicial", "supernodal"}
    ordering : {"amd", "metis"}
    """
    if hasattr(_library, "analyze"):
        return Analysis04(matrix, mode, ordering)
    return Analysis05(matrix, mode, ordering)


def best_analysis(system: System) -> tuple[Analysis, Cost]:
    """The analysis of ``M`` with the least work, and that work."""
    matrix, rows, cols = system.matrix, system.rows, system.cols
    n = matrix.shape[0]
    ordering = "amd"
    analysis = analyze(matrix, "simplicial", ordering)
    least = cost(analysis.perm, rows, cols)
    if n >= _DISSECT:
        try:
            other = analyze(matrix, "simplicial", "metis")
        except _library.CholmodNotInstalledError:
            pass
        else:
            work = cost(other.perm, rows, cols)
            # Nested dissection gives shallow trees, which the inverse likes.
            if work.flops <= 1.5 * least.flops:
                ordering, analysis, least = "metis", other, work
    if least.flops > _SIMPLICIAL * n:
        analysis = analyze(matrix, "supernodal", ordering)
    return analysis, least


class Cholmod:
    """Kernel by one sparse Cholesky factorization; needs scikit-sparse.

    Parameters
    ----------
    cross : CrossProducts

    Attributes
    ----------
    cost : Cost
        Of one factorization.

    Notes
    -----
    Everything but the scale of the unknowns depends on ``Sigma = lambda lambda'``
    alone, so lambda is replaced by ``U s`` of its singular value decomposition and
    no s is taken below `_FLOOR`: that changes no digit of M, and with

        lambda' Q lambda = l I - sum_j (M^-1)_jj - sum_j K_j W K_j'
                         = sum_j ((M - I) M^-1)_jj - sum_j K_j W K_j',

    ``K = M^-1 Lambda' Z'[X y]``, the adjoint Q is exact at singular lambda too: the
    entries that belong to a small s carry it as a factor, and keep their digits when
    they are divided by it. The first form is for large s, the second for small. A
    known precision between levels takes the place of I, and stands between the K.
    """

    name = "cholmod"

    def __init__(self, cross: CrossProducts) -> None:
        self._system = System(cross)
        self._analysis, self.cost = best_analysis(self._system)
        self._plan: SelectedInverse | None = None
        self.load(cross)

    def load(self, cross: CrossProducts) -> None:
        """Take other values on the same pattern."""
        self.cross = self._system.cross = cross
        self._dense = [
            np.ascontiguousarray(dense.transpose(2, 0, 1)) for dense in cross.dense
        ]
        traces = [np.trace(A, axis1=1, axis2=2).max() for A in cross.diagonal]
        self._floors = [_FLOOR / np.sqrt(t) if t > 0.0 else _FLOOR for t in traces]
        self._log_prior = 0.0
        for f, tie in self._system.ties.items():
            # What is too small to be seen is so beside the precision of a level.
            self._floors[f] *= np.sqrt(tie.diagonal.min())
            known = cross.relation(f)
            if known is not None:
                self._log_prior += cross.widths[f] * known.log_det
        self._inverse: Array | None = None

    def factor(self, lambdas: Sequence[Array]) -> Schur | None:
        """Factor ``M`` at the given factors; None when it is not finite."""
        self._inverse = None
        if not all(np.isfinite(lam).all() for lam in lambdas):
            return None
        self._axes, self._scales, self._exact = [], [], []
        for lam, floor in zip(lambdas, self._floors, strict=True):
            U, s, Vt = np.linalg.svd(lam)
            self._axes.append(U)
            self._scales.append(np.maximum(s, floor))
            self._exact.append(lam @ Vt.T)
        raised = [U * s for U, s in zip(self._axes, self._scales, strict=True)]
        with np.errstate(over="ignore", invalid="ignore"):
            data = self._system.assemble(raised)
        if not np.isfinite(data).all():
            return None
        logdet = self._analysis.factorize(data)
        if logdet is None:
            return None
        R = self._turn(self._dense, raised)
        self._K = self._analysis.solve(R.T).T
        return Schur(logdet + self._log_prior, self.cross.gram - R @ self._K.T)

    def _turn(self, stacks: Sequence[Array], lambdas: Sequence[Array]) -> Array:
        """``(Lambda' c)'`` as one (r, q) array, c given per factor as (r, l, p)."""
        return np.concatenate(
            [
                (stack.reshape(-1, len(lam)) @ lam).reshape(
                    len(stack), stack.shape[1] * stack.shape[2]
                )
                for stack, lam in zip(stacks, lambdas, strict=True)
            ],
            axis=1,
        )

    def _split(self, rows: Array) -> list[Array]:
        """A (r, q) array per factor as (r, l, p)."""
        cross = self.cross
        parts = np.split(rows, self._system.offsets[1:-1], axis=1)
        return [
            part.reshape(len(rows), levels, p)
            for part, levels, p in zip(parts, cross.levels, cross.widths, strict=True)
        ]

    def _selected_inverse(self) -> Array:
        """Entries of ``M^-1`` in the order of the system's entries."""
        if self._inverse is None:
            indptr, indices, data = self._analysis.lower()
            if self._plan is None:
                self._plan = SelectedInverse(indptr, indices)
                place = np.empty(self._analysis.perm.size, dtype=np.intp)
                place[self._analysis.perm] = np.arange(place.size)
                rows, cols = place[self._system.rows], place[self._system.cols]
                self._slots = self._plan.positions(
                    np.maximum(rows, cols), np.minimum(rows, cols)
                )
            self._inverse = self._plan.compute(data)[self._slots]
        return self._inverse

    def adjoint(self, weights: Array) -> list[Array]:
        """Per factor ``Q`` with ``d(log|M| + <weights, matrix>) = <Q, d Sigma>``."""
        inverse = self._selected_inverse()
        prior = self._system.prior_products(inverse)
        small = self._system.products(inverse)
        K = self._split(self._K)
        KW = self._split(weights @ self._K)
        out = []
        for f, levels in enumerate(self.cross.levels):
            inner = levels * np.eye(len(small[f])) - prior[f]
            fraction = inner.diagonal() / levels
            exact = np.minimum(fraction[:, None], fraction) > 0.01
            inner = np.where(exact, inner, small[f])
            left = self._system.prior_times(f, K[f])
            inner = inner - np.tensordot(left, KW[f], axes=([0, 1], [0, 1]))
            axes = self._axes[f] / self._scales[f]
            out.append(axes @ (0.5 * (inner + inner.T)) @ axes.T)
        return out

    def solve(self, rhs: Sequence[Array]) -> list[Array]:
        """``Lambda M^-1 Lambda' r`` for r given per factor as (l, p, r) arrays."""
        stacks = [np.ascontiguousarray(r.transpose(2, 0, 1)) for r in rhs]
        # With the factors as given: no variance, no random effect, to the last digit.
        turned = self._turn(stacks, self._exact)
        spherical = self._split(self._analysis.solve(turned.T).T)
        return [
            np.ascontiguousarray((u @ lam.T).transpose(1, 2, 0))
            for u, lam in zip(spherical, self._exact, strict=True)
        ]

    def blocks(self) -> list[Array]:
        """Diagonal blocks of ``Lambda M^-1 Lambda'`` per factor, (l, p, p)."""
        diagonal = self._system.diagonal(self._selected_inverse())
        return [
            lam @ block @ lam.T
            for block, lam in zip(diagonal, self._exact, strict=True)
        ]

    def inverse(self) -> tuple[list[Array], dict[tuple[int, int], Array]]:
        """``Lambda M^-1 Lambda'`` where A has entries: by level, by pair of levels."""
        between = self._system.between(self._selected_inverse())
        return self.blocks(), {
            (f, g): self._exact[f] @ block @ self._exact[g].T
            for (f, g), block in between.items()
        }
