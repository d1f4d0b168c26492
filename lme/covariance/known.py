"""Known covariances between the levels of a grouping factor.

With ``Var(b) = sigma^2 K (x) lambda lambda'`` for the random effects of all levels, K a
relationship matrix, the engine needs products with ``K = T T'`` and with its root T,
and, for a sparse factorization, ``K^-1``. Both kinds below offer the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, sparse
from scipy.linalg import lapack
from scipy.sparse.linalg import SuperLU, splu, spsolve_triangular

from lme.errors import DataError

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: A matrix is semidefinite when what its root leaves is below this, relative to its
#: largest entry.
_SEMIDEFINITE = 1e-9
#: Levels up to which a root is made dense on demand.
_MOST_DENSE = 20_000
#: Levels of which the mean variance of a sparse precision is taken.
_SAMPLE = 64


class Known(Protocol):
    """A known covariance ``K = T T'`` between the l levels of a grouping factor."""

    @property
    def levels(self) -> int:
        """Number of levels."""

    @property
    def variances(self) -> Array:
        """Diagonal of K, (l,)."""

    @property
    def scale(self) -> float:
        """Mean of the diagonal of K, or nearly."""

    @property
    def half(self) -> Array:
        """Columns of T that reach the rows of the data, (l, r)."""

    @property
    def rest(self) -> Array | None:
        """``T T'`` of the other columns, (l, l); None where there are none."""

    @property
    def inverse(self) -> sparse.csc_array | None:
        """``K^-1``; None where K is singular."""

    @property
    def log_det(self) -> float:
        """``log |K|``; -inf where K is singular."""

    @property
    def is_sparse(self) -> bool:
        """Whether `inverse` is sparse by nature."""

    def spread(self, x: Array) -> Array:
        """``K x`` for x (l, ...)."""

    def colour(self, u: Array) -> Array:
        """``T u`` for u (l, ...)."""

    def gather(self, x: Array) -> Array:
        """``T' x`` for x (l, ...)."""


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


@dataclass(frozen=True)
class DenseCovariance:
    """A covariance given as a positive semidefinite matrix.

    Parameters
    ----------
    matrix : (l, l) array
        Symmetric.
    root : (l, l) array
        ``T`` with ``T T' = matrix``; columns beyond the rank are zero.
    active : int
        The first columns of T, which reach the levels that the data have.
    """

    matrix: Array = field(repr=False)
    root: Array = field(repr=False)
    active: int

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.matrix)

    @property
    def is_sparse(self) -> bool:
        """False."""
        return False

    @property
    def variances(self) -> Array:
        """Diagonal of K, (l,)."""
        return self.matrix.diagonal()

    @property
    def scale(self) -> float:
        """Mean of the diagonal of K."""
        return float(self.variances.mean())

    @property
    def half(self) -> Array:
        """Columns of T that reach the rows of the data, (l, r)."""
        return self.root[:, : self.active]

    @cached_property
    def rest(self) -> Array | None:
        """``T T'`` of the other columns, (l, l); None where there are none."""
        other = self.root[:, self.active :]
        return other @ other.T if other.any() else None

    @cached_property
    def inverse(self) -> sparse.csc_array | None:
        """``K^-1``; None where K is singular."""
        L, info = lapack.dpotrf(self.matrix, lower=1)
        if info != 0:
            return None
        lower, _ = lapack.dpotri(L, lower=1)
        lower = np.tril(lower)
        return sparse.csc_array(lower + np.tril(lower, -1).T)

    @cached_property
    def log_det(self) -> float:
        """``log |K|``; -inf where K is singular."""
        L, info = lapack.dpotrf(self.matrix, lower=1)
        return 2.0 * float(np.log(L.diagonal()).sum()) if info == 0 else -np.inf

    def spread(self, x: Array) -> Array:
        """``K x`` for x (l, ...)."""
        return (self.matrix @ _flat(x)).reshape(x.shape)

    def colour(self, u: Array) -> Array:
        """``T u`` for u (l, ...)."""
        return (self.root @ _flat(u)).reshape(u.shape)

    def gather(self, x: Array) -> Array:
        """``T' x`` for x (l, ...)."""
        return (self.root.T @ _flat(x)).reshape(x.shape)

    def __getstate__(self) -> dict[str, Any]:
        return {name: self.__dict__[name] for name in ("matrix", "root", "active")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


@dataclass(frozen=True)
class SparsePrecision:
    """A covariance given by its sparse inverse, such as that of a pedigree.

    Parameters
    ----------
    matrix : (l, l) csc_array
        ``K^-1``, symmetric positive definite.
    """

    matrix: sparse.csc_array = field(repr=False)

    @property
    def levels(self) -> int:
        """Number of levels."""
        return int(self.matrix.shape[0])

    @property
    def is_sparse(self) -> bool:
        """True."""
        return True

    @cached_property
    def _factor(self) -> SuperLU:
        return splu(
            sparse.csc_matrix(self.matrix),
            permc_spec="MMD_AT_PLUS_A",
            diag_pivot_thresh=0.0,
            options={"SymmetricMode": True},
        )

    @cached_property
    def _lower(self) -> tuple[sparse.csr_array, Array]:
        """L of ``P K^-1 P' = L D L'``, and D."""
        return sparse.csr_array(self._factor.L), self._factor.U.diagonal()

    @cached_property
    def variances(self) -> Array:
        """Diagonal of K, (l,)."""
        return self._diagonal(np.arange(self.levels))

    @cached_property
    def scale(self) -> float:
        """Mean of the diagonal of K at some evenly spaced levels."""
        some = np.unique(np.linspace(0, self.levels - 1, _SAMPLE).astype(np.intp))
        return float(self._diagonal(some).mean())

    def _diagonal(self, at: Index) -> Array:
        """Some entries of the diagonal of K."""
        out = np.empty(at.size)
        step = max(1, 4_000_000 // self.levels)
        for first in range(0, at.size, step):
            rows = at[first : first + step]
            column = np.arange(rows.size)
            unit = np.zeros((self.levels, rows.size))
            unit[rows, column] = 1.0
            out[first + column] = self._factor.solve(unit)[rows, column]
        return out

    @cached_property
    def half(self) -> Array:
        """T as a dense matrix, (l, l)."""
        if self.levels > _MOST_DENSE:
            raise DataError(
                f"A known precision of {self.levels:,} levels would be made dense.",
                f"Up to {_MOST_DENSE:,} levels are possible without scikit-sparse.",
                "Install it with `pip install statsmodels-lme[cholmod]`.",
            )
        return self.colour(np.eye(self.levels))

    @property
    def rest(self) -> Array | None:
        """None: all columns of T are in `half`."""
        return None

    @property
    def inverse(self) -> sparse.csc_array | None:
        """``K^-1`` as it was given."""
        return self.matrix

    @cached_property
    def log_det(self) -> float:
        """``log |K|``."""
        return -float(np.log(self._lower[1]).sum())

    def spread(self, x: Array) -> Array:
        """``K x`` for x (l, ...)."""
        return np.asarray(self._factor.solve(_flat(x))).reshape(x.shape)

    def colour(self, u: Array) -> Array:
        """``T u = P' L^-T D^(-1/2) u`` for u (l, ...)."""
        L, D = self._lower
        inner = _flat(u) / np.sqrt(D)[:, None]
        solved = spsolve_triangular(sparse.csr_array(L.T), inner, lower=False)
        return np.asarray(solved[self._factor.perm_c]).reshape(u.shape)

    def gather(self, x: Array) -> Array:
        """``T' x = D^(-1/2) L^-1 P x`` for x (l, ...)."""
        L, D = self._lower
        turned = np.empty((self.levels, _flat(x).shape[1]))
        turned[self._factor.perm_c] = _flat(x)
        solved = spsolve_triangular(L, turned, lower=True)
        return np.asarray(solved / np.sqrt(D)[:, None]).reshape(x.shape)

    def __getstate__(self) -> dict[str, Any]:
        # The factorization cannot be kept, and is cheap to make again.
        return {"matrix": self.matrix}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


def dense_covariance(matrix: Array, present: Index, name: str) -> DenseCovariance:
    """A known covariance from a matrix.

    Parameters
    ----------
    matrix : (l, l) array
        Symmetric and finite.
    present : intp array
        Levels that the data have.
    name : str
        Of the grouping factor, for messages.

    Raises
    ------
    DataError
        If the matrix is not positive semidefinite.
    """
    count = len(matrix)
    others = np.setdiff1d(np.arange(count), present)
    order = np.concatenate([present, others])
    sorted_ = matrix[np.ix_(order, order)]
    L, info = lapack.dpotrf(sorted_, lower=1, clean=1)
    if info == 0:
        ordered, rank = L, present.size
    else:
        ordered, rank = _semidefinite_root(sorted_, present.size)
        left = float(np.abs(ordered @ ordered.T - sorted_).max())
        if left > _SEMIDEFINITE * float(np.abs(matrix).max()):
            least = float(linalg.eigvalsh(matrix, subset_by_index=[0, 0])[0])
            raise DataError(
                f"The covariance of {name!r} is not positive semidefinite: its least "
                f"eigenvalue is {least:.3g}.",
                "A covariance matrix has no negative eigenvalue.",
                "Look for an error in it; small negative eigenvalues of a genomic "
                "matrix go away when a little is added to its diagonal.",
            )
    root = np.empty_like(matrix)
    root[order] = ordered
    return DenseCovariance(matrix, root, rank)


def _semidefinite_root(matrix: Array, first: int) -> tuple[Array, int]:
    """``T`` with ``T T' = matrix``, the first rows in the first columns; their rank."""
    count = len(matrix)
    out = np.zeros((count, count))
    top, pivots = _pivoted(matrix[:first, :first])
    r = pivots.size
    out[:first, :r] = top
    if first == count or not r:
        return out, r
    lower = top[pivots]
    below = linalg.solve_triangular(lower, matrix[pivots, first:], lower=True).T
    out[first:, :r] = below
    rest, more = _pivoted(matrix[first:, first:] - below @ below.T)
    out[first:, r : r + more.size] = rest
    return out, r


def _pivoted(matrix: Array) -> tuple[Array, Index]:
    """Root (m, r) of a semidefinite matrix by pivoted Cholesky, and its pivots."""
    if not len(matrix):
        return np.zeros((0, 0)), np.empty(0, dtype=np.intp)
    size = max(float(matrix.diagonal().max()), 0.0)
    L, pivots, rank, _ = lapack.dpstrf(matrix, lower=1, tol=1e-12 * size)
    pivots = pivots.astype(np.intp) - 1
    out = np.empty((len(matrix), rank))
    out[pivots] = np.tril(L)[:, :rank]
    return out, pivots[:rank]


def sparse_precision(matrix: sparse.csc_array, name: str) -> SparsePrecision:
    """A known covariance from its sparse inverse.

    Raises
    ------
    DataError
        If the matrix is not positive definite.
    """
    found = SparsePrecision(matrix)
    try:
        pivots = found._lower[1]
    except RuntimeError:  # SuperLU: exactly singular
        pivots = np.zeros(1)
    largest = float(np.abs(matrix.diagonal()).max(initial=0.0))
    turned = pivots.all() and (found._factor.perm_c != found._factor.perm_r).any()
    if turned or not pivots.min() > 1e-13 * largest:
        raise DataError(
            f"The precision of {name!r} is not positive definite.",
            "It is the inverse of a covariance, with positive eigenvalues.",
            "An intrinsic (singular) one needs a little added to its diagonal.",
        )
    return found
