"""Decompositions in the caller's order: rank by columns, sparse Cholesky factor."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import blas, lapack
from scipy.sparse.linalg import splu, spsolve_triangular

Array = NDArray[np.float64]


def find_dependent_columns(X: Array, tol: float = 1e-7) -> NDArray[np.intp]:
    """Columns that are linear combinations of earlier ones.

    Parameters
    ----------
    X : (n, p) array
    tol : float
        A column is dependent when less than this fraction of its length is left
        after projection on the columns kept before it.

    Returns
    -------
    (d,) intp
        Indices of the dependent columns, ascending.

    Notes
    -----
    This is the rule of R's ``lm``: earlier columns win, unlike with a QR that pivots
    by length. It is decided from a Cholesky factor of the scaled cross-products where
    these are precise enough, and by Gram-Schmidt with reorthogonalisation elsewhere.

    Examples
    --------
    >>> X = np.column_stack([np.ones(4), [1.0, 2, 3, 4], [2.0, 3, 4, 5]])
    >>> find_dependent_columns(X)
    array([2])
    """
    p = X.shape[1]
    gram = X.T @ X
    length = np.sqrt(gram.diagonal())
    if p and (length > 0).all():
        try:
            L = np.linalg.cholesky(gram / np.outer(length, length))
            if L.diagonal().min() > 1e-4:
                return np.empty(0, dtype=np.intp)
        except np.linalg.LinAlgError:
            pass
    basis = np.empty((X.shape[0], 0))
    dependent = []
    for j in range(p):
        column = X[:, j]
        size = float(np.linalg.norm(column))
        rest = column - basis @ (basis.T @ column)
        rest = rest - basis @ (basis.T @ rest)
        left = float(np.linalg.norm(rest))
        if left <= tol * size or size == 0.0:
            dependent.append(j)
        else:
            basis = np.column_stack([basis, rest / left])
    return np.array(dependent, dtype=np.intp)


def orthonormal(X: Array) -> tuple[Array, Array]:
    """Orthonormal basis and upper-triangular R with ``X = basis @ R``."""
    if X.shape[1] == 0:
        return X, np.zeros((0, 0))
    gram = X.T @ X
    scale = np.sqrt(gram.diagonal())
    L, info = lapack.dpotrf(gram / np.outer(scale, scale), lower=1, clean=1)
    # The Gram matrix squares the condition number: only well within its reach.
    if info == 0 and L.diagonal().min() > 1e-3:
        R = L.T * scale
        # dtrtrs, behind solve_triangular, has OpenBLAS start threads at any size.
        return blas.dtrsm(1.0, R, X.T, lower=0, trans_a=1).T, R
    basis, R = np.linalg.qr(X)
    sign = np.where(R.diagonal() < 0.0, -1.0, 1.0)
    return basis * sign, R * sign[:, None]


def cholesky_lower(matrix: sparse.csc_array) -> sparse.csc_array:
    """Lower Cholesky factor of a sparse positive definite matrix, rows as given.

    Parameters
    ----------
    matrix : (q, q) sparse array

    Notes
    -----
    SuperLU without pivoting gives ``L U`` with ``U = D L'``. For looking at, not for
    fitting: a fill-reducing order would be much sparser.
    """
    factors = splu(
        sparse.csc_matrix(matrix),
        permc_spec="NATURAL",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    scale = sparse.diags_array(np.sqrt(factors.U.diagonal()))
    return sparse.csc_array(factors.L @ scale)


def penalized_system(
    Zt: sparse.csc_array,
    Lambda: sparse.csr_array,
    X: Array,
    sqrt_weights: Array | None,
) -> dict[str, Any]:
    """Sparse matrices of the penalized least-squares system, by their usual names.

    Parameters
    ----------
    Zt : (q, n) sparse matrix
    Lambda : (q, q) sparse array
        Relative covariance factor.
    X : (n, p) array
    sqrt_weights : (n,) array or None
    """
    rows = sparse.csr_array(Zt)
    half = Lambda.T @ rows
    if sqrt_weights is not None:
        half = half @ sparse.diags_array(sqrt_weights)
        X = X * sqrt_weights[:, None]
    A = (half @ half.T).tocsc()
    L = cholesky_lower(A + sparse.eye_array(A.shape[0], format="csc"))
    RZX = spsolve_triangular(L.tocsr(), half @ X, lower=True)
    return {"Zt": rows, "Lambdat": Lambda.T.tocsr(), "L": L, "RZX": RZX, "A": A}
