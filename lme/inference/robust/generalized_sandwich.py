"""Cluster-robust covariance of a generalized model, from its marginal likelihood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lme.engine.laplace import Laplace
from lme.engine.quadrature import Quadrature
from lme.engine.relcov import Factor
from lme.engine.rows import Problem
from lme.errors import FitError
from lme.generalized import GLMMFit
from lme.inference.robust.clusters import Clusters
from lme.inference.robust.sandwich import Sandwich, check_type, correction

Array = NDArray[np.float64]

TYPES = ("CR0", "CR1", "CR1S")


def generalized_sandwich(
    fit: GLMMFit, clusters: Clusters, type: str = "CR1"
) -> Sandwich:
    """Cluster-robust covariance of the coefficients of a generalized model.

    Parameters
    ----------
    fit : GLMMFit
        With its data.
    clusters : Clusters
        Within which all random effects are nested.
    type : {"CR0", "CR1", "CR1S"}
        CR2 and CR3 are defined for linear models.

    Returns
    -------
    Sandwich
        Without degrees of freedom: its tests are normal.

    Raises
    ------
    OptionError
        For an unknown type.
    FitError
        For ``nAGQ = 0``, and if the Hessian is not positive definite.

    Notes
    -----
    ``H^-1 (sum_i g_i g_i') H^-1`` with the Hessian H and the exact gradients ``g_i`` of
    the clusters' contributions to the criterion, in all parameters: that the covariance
    parameters are estimated counts (White 1982, Econometrica 50, 1,
    doi:10.2307/1912526). Parameters on the boundary are held fixed.
    """
    check_type(type, TYPES)
    if fit.nAGQ == 0:
        raise FitError(
            "A robust covariance is not defined for nAGQ=0.",
            "It describes a maximum of the likelihood, and nAGQ=0 is another point.",
            "Fit with nAGQ=1.",
        )
    m, n, p = clusters.count, fit.design.nobs, fit.beta.size
    factor = correction(type, m, n, p)
    scores = cluster_scores(fit, clusters)
    H = fit.hessian
    inner = fit.problem.template.internal(fit.theta)
    free = np.ones(len(H), dtype=bool)
    free[p : p + inner.size] = inner != 0.0
    H = H[np.ix_(free, free)]
    try:
        np.linalg.cholesky(H)
    except np.linalg.LinAlgError:
        raise FitError(
            "The Hessian of the log-likelihood is not positive definite.",
            "A robust covariance needs its inverse.",
            "Look for coefficients that the data do not determine.",
        ) from None
    half: Array = np.linalg.solve(H, scores[:, free].T)[:p]
    if p:
        half = np.asarray(np.linalg.solve(fit.problem.R, half), dtype=np.float64)
    bread = fit.vcov_rx
    return Sandwich(
        fit.beta,
        np.asarray(factor * (half @ half.T)),
        1.0,
        type,
        clusters.name,
        m,
        bread,
    )


def cluster_scores(fit: GLMMFit, clusters: Clusters) -> Array:
    """Gradients of the clusters' parts of the criterion, (m, parameters).

    In the parameters of the search; their sum is the gradient at the optimum, zero
    but for rounding.
    """
    point = fit.point
    out = np.empty((clusters.count, point.size))
    for i, rows in enumerate(clusters.rows()):
        part = _part(fit.problem, rows)
        criterion = (
            Quadrature(part, fit.nAGQ)
            if fit.nAGQ > 1
            else Laplace(part, observed=fit.laplace == "observed")
        )
        criterion.gamma = point[: fit.beta.size]
        out[i] = criterion.evaluate(point).gradient
    if not np.isfinite(out).all():
        raise FitError(
            "The likelihood of a cluster has no gradient at the estimates.",
            "Robust covariances are made of these gradients.",
        )
    return out


def _part(problem: Problem, rows: NDArray[np.intp]) -> Problem:
    """The problem of some rows, in the parameters of the whole."""
    factors = []
    for factor in problem.factors:
        levels, codes = np.unique(factor.codes[rows], return_inverse=True)
        codes = codes.astype(np.intp, copy=False)
        factors.append(Factor(codes, levels.size, factor.values[rows]))
    return replace(
        problem,
        y=problem.y[rows],
        weights=problem.weights[rows],
        offset=problem.offset[rows],
        X=problem.X[rows],
        basis=np.ascontiguousarray(problem.basis[rows]),
        factors=tuple(factors),
    )
