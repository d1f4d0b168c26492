"""Average information of the covariance parameters of a linear mixed model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas

from lme.engine.crossproducts import multiply, rows_times
from lme.engine.relcov import spread

if TYPE_CHECKING:
    from lme.engine.lmm import Criterion, Evaluation

Array = NDArray[np.float64]


def average_information(
    criterion: Criterion, at: Evaluation
) -> tuple[Array, Array, Array, Array]:
    """The pieces of `Criterion.curvature` at ``sigma = 1``.

    Returns
    -------
    information : (k, k) array
        ``y'P V_i V^-1 V_j P y``: X is still to be projected out.
    second : (k, k) array
        ``2 <lambda_i, Q lambda_j>``.
    score : (k,) array
        ``y'P V_i P y``, minus the derivative of r2.
    half : (p, k) array
        ``R_X^-T X'V^-1 V_i P y``: its cross-product projects X out.
    """
    criterion.hold(at)
    problem, k = criterion.problem, criterion.problem.template.size
    columns, second, score = directions(criterion, at)
    AC, below = multiply(problem.cross, columns)
    solved = criterion.kernel.solve(AC)
    information = np.zeros((k, k))
    for c, ac, x in zip(columns, AC, solved, strict=True):
        rows = c.shape[0] * c.shape[1]
        information += c.reshape(rows, k).T @ ac.reshape(rows, k)
        information -= ac.reshape(rows, k).T @ x.reshape(rows, k)
    half = np.zeros((0, k))
    if problem.p:
        XV = below[:-1]
        for dense, x in zip(problem.cross.dense, solved, strict=True):
            rows = dense.shape[0] * dense.shape[1]
            XV = XV - dense.reshape(rows, -1)[:, :-1].T @ x.reshape(rows, k)
        # OpenBLAS starts threads for dtrtrs, however small the matrix.
        half = blas.dtrsm(1.0, at.RX, XV, lower=0, trans_a=1)
    return information, second, score, half


def directions(
    criterion: Criterion, at: Evaluation
) -> tuple[list[Array], Array, Array]:
    """Effects of a change of theta on what the model explains.

    Returns
    -------
    columns : list of (l, p, k) arrays
        ``C_i`` per factor with ``V_i P y = Z C_i`` at ``sigma = 1``.
    second : (k, k) array
        ``2 <lambda_i, Q lambda_j>``.
    score : (k,) array
        ``y'P V_i P y``, minus the derivative of r2.
    """
    problem, template = criterion.problem, criterion.problem.template
    d = criterion.scores(at)
    k = template.size
    columns = [np.zeros((len(v), v.shape[1], k)) for v in d]
    second = np.zeros((k, k))
    score = np.zeros(k)
    jacobians = template.jacobians(at.theta)
    for slot, J in zip(template.slots, jacobians, strict=True):
        lam = at.lambdas[slot.factor][slot.columns, slot.columns]
        Q = at.adjoints[slot.factor][slot.columns, slot.columns]
        part = d[slot.factor][:, slot.columns]
        change = J @ lam.T
        change = change + change.transpose(0, 2, 1)
        c = spread(problem.cross.relation(slot.factor), rows_times(part, change))
        columns[slot.factor][:, slot.columns, slot.theta] = c
        score[slot.theta] += np.einsum("lp,lpk->k", part, c)
        QJ = (Q @ J).reshape(len(J), Q.size)
        second[slot.block] += 2.0 * J.reshape(len(J), Q.size) @ QJ.T
    return columns, second, score
