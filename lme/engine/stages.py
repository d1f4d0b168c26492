"""Batched stages: one grouping factor eliminated over all of its levels at once.

A stage may be followed by others (a factor in which it is nested stays block
diagonal) and by the dense columns. The adjoint visits them in reverse.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.engine.coupling import (
    DenseCoupling,
    SparseCoupling,
    batched_product,
)

Array = NDArray[np.float64]


def eliminate(A: Array, lam: Array) -> tuple[float, Array]:
    """``sum_j log|D_j|`` and ``C_j = L_j^-1 lambda'`` with ``L_j L_j' = D_j``.

    Parameters
    ----------
    A : (l, p, p) array
        Diagonal blocks; ``D_j = lambda' A_j lambda + I``.
    lam : (p, p) array

    Notes
    -----
    ``P_j = lambda D_j^-1 lambda' = C_j' C_j``. Where lambda is large and ``A_j``
    singular, P is large in directions that the data do not have; products with C
    lose half as many digits as products with P.
    """
    p = len(lam)
    if p == 1:
        D = lam[0, 0] * lam[0, 0] * A + 1.0
        return float(np.log(D).sum()), lam[0, 0] / np.sqrt(D)
    D = lam.T @ (A @ lam)
    index = np.arange(p)
    D[:, index, index] += 1.0
    if p == 2:
        first = np.sqrt(D[:, 0, 0])
        below = D[:, 1, 0] / first
        second = np.sqrt(D[:, 1, 1] - below * below)
        C = np.empty_like(D)
        C[:, 0] = lam[:, 0] / first[:, None]
        C[:, 1] = (lam[:, 1] - below[:, None] * C[:, 0]) / second[:, None]
        return 2.0 * float(np.log(first * second).sum()), C
    try:
        L = np.linalg.cholesky(D)
    except np.linalg.LinAlgError:
        # Observed weights of a GLMM can be negative: no minimum here, not a crash.
        return np.nan, np.broadcast_to(lam.T, D.shape)
    logdet = 2.0 * float(np.log(L[:, index, index]).sum())
    return logdet, np.linalg.solve(L, np.broadcast_to(lam.T, D.shape))


@dataclass(slots=True)
class Stage:
    """One batched factor: constants, and the state of the last factorization."""

    factor: int
    links: dict[int, sparse.csr_matrix]
    parents: dict[int, NDArray[np.intp]]
    A: Array
    X: Array
    C: Array
    P: Array
    B: DenseCoupling | SparseCoupling | None
    W: dict[int, Array]


def segment(link: sparse.csr_matrix, stack: Array) -> Array:
    """Sums of a stack of matrices over the levels of one parent."""
    count, rows, columns = stack.shape
    flat = link @ stack.reshape(count, rows * columns)
    return flat.reshape(link.shape[0], rows, columns)


def sigma_adjoint(A: Array, P: Array, Pbar: Array) -> Array:
    """``sum_j R Pbar R' + R A`` with ``R = I - A P``, shape (p, p)."""
    if A.shape[1] == 1:
        R = 1.0 - A[:, 0, 0] * P[:, 0, 0]
        return np.array([[np.dot(R, R * Pbar[:, 0, 0] + A[:, 0, 0])]])
    R = np.eye(A.shape[1]) - A @ P
    Q: Array = np.einsum("jab,jcb->ac", R @ Pbar, R)
    Q = Q + np.einsum("jab,jbc->ac", R, A)
    return 0.5 * (Q + Q.T)


def quadratic(
    stage: Stage, XXbar: Array, RXbar: Array | None, RRbar: Array | None
) -> Array:
    """``Pbar_j = -A_jE Abar A_Ej`` of a stage followed by the dense one."""
    X = stage.X
    levels, p, px = X.shape
    half = (X.reshape(levels * p, px) @ XXbar).reshape(levels, p, px)
    if stage.B is not None and RXbar is not None and RRbar is not None:
        # X Abar X' + (B Abar X') + (B Abar X')' + B Abar B'
        mixed = stage.B.right(RXbar)
        if p == 1:
            total: Array = np.einsum("lax,lax->l", half + 2.0 * mixed, X)
            out = total.reshape(levels, 1, 1)
        else:
            twist = mixed @ X.transpose(0, 2, 1)
            out = half @ X.transpose(0, 2, 1) + twist + twist.transpose(0, 2, 1)
        return -(out + stage.B.quadratic(RRbar))
    if p == 1:
        squares: Array = np.einsum("lax,lax->l", half, X)
        return -squares.reshape(levels, 1, 1)
    return -(half @ X.transpose(0, 2, 1))


def pass_on(stages: list[Stage], i: int, PX: Array) -> None:
    """Update the later stages of a chain by the elimination of stage i."""
    stage = stages[i]
    PB = None
    if isinstance(stage.B, DenseCoupling):
        PB = batched_product(stage.P, stage.B.values)
    for j, W in stage.W.items():
        target, link = stages[j], stage.links[j]
        Wt = W.transpose(0, 2, 1)
        target.X = target.X - segment(link, Wt @ PX)
        target.A = target.A - segment(link, Wt @ (stage.P @ W))
        if PB is not None and isinstance(target.B, DenseCoupling):
            change = segment(link, Wt @ PB)
            target.B = DenseCoupling(target.B.values - change)
        for h in stage.W:
            if h > j:
                change = segment(link, Wt @ (stage.P @ stage.W[h]))
                target.W = {**target.W, h: target.W[h] - change}


def backward(
    stages: list[Stage], XXbar: Array, RXbar: Array | None, RRbar: Array | None
) -> tuple[
    list[tuple[Stage, Array]],
    dict[int, Array],
    dict[tuple[int, int], Array],
    dict[int, Array],
]:
    """Adjoint of a chain: each stage with its ``Pbar``, and the adjoint blocks.

    Adjoint blocks are those of the full symmetric matrix, so a block off the
    diagonal stands for itself and its mirror image.
    """
    if RRbar is not None:
        RRbar = np.tril(RRbar) + np.tril(RRbar, -1).T
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
    return out, Abar, Wbar, Bbar
