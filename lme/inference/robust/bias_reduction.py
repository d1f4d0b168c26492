"""The adjustment matrices of CR2, a cluster or a batch of clusters at a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError
from lme.fit import Fit
from lme.inference.robust.clusters import Clusters

Array = NDArray[np.float64]
Codes = NDArray[np.intp]

#: Numbers in the matrices of one batch of clusters.
_BATCH = 2_000_000
#: Rows from which a cluster is reduced to the span of its X and Z.
_LARGE = 40
#: Rows, after the reduction, beyond which a cluster's matrices fill the memory.
_LARGEST = 12_000
#: Eigenvalues below this share of the largest count as zero.
_TOLERANCE = 1e-11


@dataclass(frozen=True)
class Batch:
    """Clusters of equal size as arrays.

    Attributes
    ----------
    members : (m,) intp
        Their numbers.
    X : (m, s, p) array
    e : (m, s) array
        Marginal residuals.
    V : (m, s, s) array
        Covariance relative to ``sigma^2``.
    """

    members: Codes
    X: Array
    e: Array
    V: Array


def adjusted_weights(
    fit: Fit, clusters: Clusters, e: Array
) -> tuple[Array, Array, Array]:
    """What CR2 makes of each cluster, with ``T_i = A_i V_i^-1 X_i``.

    Parameters
    ----------
    fit : Fit
    clusters : Clusters
    e : (n,) array
        Marginal residuals.

    Returns
    -------
    scores : (m, p) array
        ``T_i' e_i``.
    inner, outer : (m, p, p) arrays
        ``T_i' V_i T_i`` and ``X_i' T_i``.

    Notes
    -----
    ``A = D'(D (V - X M X') D')^(+1/2) D`` with ``D'D = V`` and the pseudo-inverse of
    the symmetric square root: then ``A (V - X M X') A' = V``, the covariance of the
    errors from that of the residuals (Pustejovsky & Tipton 2018, equation 6). A does
    not depend on which root D is.
    """
    m, p, M = clusters.count, fit.beta.size, fit.vcov_unscaled
    scores = np.empty((m, p))
    inner, outer = np.empty((m, p, p)), np.empty((m, p, p))
    for batch in _batches(fit, clusters, e):
        D = np.swapaxes(np.linalg.cholesky(batch.V), 1, 2)
        DX = D @ batch.X
        DD = D @ np.swapaxes(D, 1, 2)
        values, vectors = np.linalg.eigh(DD @ DD - DX @ M @ np.swapaxes(DX, 1, 2))
        keep = values > _TOLERANCE * values[:, -1:]
        root = np.where(keep, 1.0 / np.sqrt(np.where(keep, values, 1.0)), 0.0)
        Y = np.linalg.solve(batch.V, batch.X)
        half = np.swapaxes(vectors, 1, 2) @ (D @ Y)
        T = np.swapaxes(D, 1, 2) @ (vectors @ (root[:, :, None] * half))
        turned = np.swapaxes(T, 1, 2)
        scores[batch.members] = (turned @ batch.e[:, :, None])[:, :, 0]
        inner[batch.members] = turned @ batch.V @ T
        outer[batch.members] = np.swapaxes(batch.X, 1, 2) @ T
    return scores, inner, outer


def _batches(fit: Fit, clusters: Clusters, e: Array) -> Iterator[Batch]:
    """Large clusters one by one, the others together by size."""
    rows = clusters.rows()
    weights = fit.design.weights
    effects = [
        (term.values @ factor, term.codes)
        for term, factor in zip(fit.design.terms, fit.lambdas, strict=True)
    ]
    sizes = np.array([part.size for part in rows])
    for i in np.flatnonzero(sizes > _LARGE):
        yield _single(fit, int(i), rows[i], effects, e)
    for size in np.unique(sizes[sizes <= _LARGE]):
        members = np.flatnonzero(sizes == size)
        step = max(1, _BATCH // int(size * size))
        for start in range(0, members.size, step):
            some = members[start : start + step]
            index = np.stack([rows[i] for i in some])
            V = np.zeros((some.size, size, size))
            V[:, np.arange(size), np.arange(size)] = (
                1.0 if weights is None else 1.0 / weights[index]
            )
            for values, codes in effects:
                own, part = codes[index], values[index]
                same = own[:, :, None] == own[:, None, :]
                V += (part @ np.swapaxes(part, 1, 2)) * same
            yield Batch(some, fit.X[index], e[index], V)


def _single(
    fit: Fit, i: int, rows: Codes, effects: list[tuple[Array, Codes]], e: Array
) -> Batch:
    """One cluster, on a basis of the span of its X and Z where that is smaller.

    Notes
    -----
    With equal weights V and X X' leave that span invariant, and A is the identity on
    what is orthogonal to it, where X has no part: nothing is lost.
    """
    X, residual = fit.X[rows], e[rows]
    U = np.hstack([_spread(values[rows], codes[rows]) for values, codes in effects])
    weights = fit.design.weights
    noise = np.ones(rows.size) if weights is None else 1.0 / weights[rows]
    equal = float(np.ptp(noise)) == 0.0
    if equal and U.shape[1] + X.shape[1] < rows.size:
        Q, _ = np.linalg.qr(np.hstack([U, X]))
        U, X, residual = Q.T @ U, Q.T @ X, Q.T @ residual
        noise = noise[: len(X)]
    if len(X) > _LARGEST:
        raise FitError(
            f"CR2 needs matrices of {len(X)} rows and columns for one cluster.",
            f"At most {_LARGEST} fit into memory.",
            "Use type='CR1' or 'CR3', which need none.",
        )
    V = U @ U.T + np.diag(noise)
    return Batch(np.array([i]), X[None], residual[None], V[None])


def _spread(values: Array, codes: Codes) -> Array:
    """Columns of ``Z Lambda`` for the levels that occur, (s, levels * p)."""
    _, inner = np.unique(codes, return_inverse=True)
    s, p = values.shape
    out = np.zeros((s, int(inner.max()) + 1, p))
    out[np.arange(s), inner] = values
    return out.reshape(s, -1)
