"""The columns of a random-effects term in a basis of similar size, little correlated.

The search is in that basis: it goes better there, and does not depend on units.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.covariance import Structure

Array = NDArray[np.float64]


def internal_basis(values: Array, structure: Structure) -> tuple[Array, Array, Array]:
    """Columns in the internal basis ``V T``, T (p, p) and its inverse.

    Parameters
    ----------
    values : (n, p) array
        The columns of a term.
    structure : Structure
        Says which changes of basis its factor can undo.
    """
    n, p = values.shape
    scale = np.sqrt(np.einsum("np,np->p", values, values) / max(n, 1))
    scale = np.where(scale > 0, scale, 1.0)
    if structure.basis == "triangular" and p > 1:
        # The intercept first, a slope after what it shares with the intercept: a
        # covariate is centred, and a lost variance is one of its own column.
        gram = (values.T @ values / n) / np.outer(scale, scale)
        L, info = lapack.dpotrf(gram, lower=1, clean=1)
        if info == 0 and L.diagonal().min() > 0.03:
            inverse = L.T * scale
            T = np.asarray(np.linalg.inv(inverse), dtype=np.float64)
            return values @ T, T, inverse
        # Cross-products square the condition: a year is nearly an intercept.
        Q, R = np.linalg.qr(values / scale)
        size = np.abs(R.diagonal())
        if size.min() > 1e-11 * size.max():
            sign = np.where(R.diagonal() < 0.0, -1.0, 1.0) * np.sqrt(n)
            inverse = R / sign[:, None] * scale
            T = np.asarray(np.linalg.inv(inverse), dtype=np.float64)
            return Q * sign, T, inverse
    if structure.basis == "none":
        return values, np.eye(p), np.eye(p)
    if structure.basis == "scalar":
        scale = np.full(p, np.sqrt(np.mean(scale**2)))
    return values / scale, np.diag(1.0 / scale), np.diag(scale)
