"""Orthonormal polynomials on a set of points, by Arnoldi's process.

R takes powers of the centred points and orthogonalizes them by QR; the powers are
nearly dependent already at moderate degree, and the result loses all digits (R's
own ``contr.poly`` from about 22 levels on). Here each new column is the one before
times x, made orthogonal at once, which keeps full precision.

References
----------
Brubeck, P. D., Nakatsukasa, Y. and Trefethen, L. N. (2021). Vandermonde with
Arnoldi. SIAM Review 63, 405-415. doi:10.1137/19M130100X.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def orthonormal(
    x: NDArray[np.float64], degree: int
) -> tuple[dict[str, Any], NDArray[np.float64]]:
    """Orthonormal polynomials of degree 0 to `degree` on the points `x`.

    Parameters
    ----------
    x : ndarray of float64, shape (n,)
        Points, finite, with more than `degree` distinct values.
    degree : int
        The highest degree.

    Returns
    -------
    state : dict
        What `evaluate` needs: the centre of the points, and the recurrence
        coefficients H of shape (degree + 1, degree).
    basis : ndarray of float64, shape (n, degree + 1)
        Columns with positive leading coefficients; the first is constant.

    Notes
    -----
    With y = x - mean(x), column j + 1 is

        q_{j+1} = (y q_j - sum_{i <= j} h_ij q_i) / h_{j+1,j},

    the h_ij being inner products. Orthogonalizing twice makes up for rounding.

    Examples
    --------
    >>> orthonormal(np.array([1.0, 2.0, 3.0]), 1)[1][:, 1].round(3)
    array([-0.707,  0.   ,  0.707])
    """
    center = x.mean()
    center += (x - center).mean()
    y = x - center
    basis = np.empty((len(x), degree + 1), order="F")
    basis[:, 0] = 1 / np.sqrt(len(x))
    h = np.zeros((degree + 1, degree))
    for j in range(degree):
        column = y * basis[:, j]
        earlier = basis[:, : j + 1]
        for _ in range(2):
            projection = earlier.T @ column
            column -= earlier @ projection
            h[: j + 1, j] += projection
        h[j + 1, j] = np.sqrt(column @ column)
        basis[:, j + 1] = column / h[j + 1, j]
    state = {"center": float(center), "h": h, "first": float(basis[0, 0])}
    return state, basis


def evaluate(state: dict[str, Any], x: NDArray[np.float64]) -> NDArray[np.float64]:
    """The polynomials of `orthonormal` at other points, shape (n, degree + 1)."""
    h = state["h"]
    y = x - state["center"]
    basis = np.empty((len(x), h.shape[1] + 1), order="F")
    basis[:, 0] = state["first"]
    for j in range(h.shape[1]):
        projected = basis[:, : j + 1] @ h[: j + 1, j]
        basis[:, j + 1] = (y * basis[:, j] - projected) / h[j + 1, j]
    return basis
