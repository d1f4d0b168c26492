"""Covariance of the fixed effects that is robust to a wrong model of the rows.

Clusters are independent; what the model says of rows within one is used as a working
model only. With ``M = (X'V^-1 X)^-1`` the estimator is ``M (sum_i s_i s_i') M`` over
the clusters, ``s_i = X_i'V_i^-1 A_i e_i``. The matrices ``A_i`` correct that residuals
are smaller than errors: the identity (CR0, CR1), the one that makes the estimator
unbiased under the working model (CR2), or ``(I - H_ii)^-1``, nearly a jackknife (CR3).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.errors import FitError, OptionError, near
from lme.fit import Fit
from lme.inference.hypotheses.directions import evaluated
from lme.inference.residual_structure import refuse_correlated
from lme.inference.robust.bias_reduction import adjusted_weights
from lme.inference.robust.clusters import Clusters

Array = NDArray[np.float64]

#: Factor of the covariance, of m clusters, n rows and p coefficients.
CORRECTIONS: dict[str, Callable[[int, int, int], float]] = {
    "CR0": lambda m, n, p: 1.0,
    "CR1": lambda m, n, p: m / (m - 1),
    "CR1p": lambda m, n, p: m / (m - p),
    "CR1S": lambda m, n, p: m * (n - 1) / ((m - 1) * (n - p)),
    "CR2": lambda m, n, p: 1.0,
    "CR3": lambda m, n, p: 1.0,
}


@dataclass(frozen=True)
class Sandwich:
    """A cluster-robust covariance, and degrees of freedom of tests with it.

    Attributes
    ----------
    beta : (p,) array
    covariance : (p, p) array
        Of beta.
    sigma : float
        Residual standard deviation.
    type : str
        A key of `CORRECTIONS`.
    clusters : str
        What the clusters are called.
    count : int
        Number of clusters m.
    bread : (p, p) array
        ``M`` of the working model, divided by ``sigma^2``.
    inner, outer : (m, p, p) arrays or None
        ``T_i' V_i T_i`` and ``X_i' T_i`` with ``T_i = A_i V_i^-1 X_i``; None for a
        generalized model, which has no degrees of freedom.
    """

    beta: Array
    covariance: Array
    sigma: float
    type: str
    clusters: str
    count: int
    bread: Array
    inner: Array | None = None
    outer: Array | None = None

    @property
    def label(self) -> str:
        """The method's name in headers."""
        return f"Satterthwaite, {self.words}"

    @property
    def words(self) -> str:
        """Type and clusters, as in ``CR2 by Subject``."""
        return f"{self.type} by {self.clusters}"

    def df(self, L: Array) -> float:
        """Denominator degrees of freedom of the independent rows of L, (q, p).

        Notes
        -----
        Of the distribution of the covariance of ``L beta`` under the working model:
        Satterthwaite's for one row; for q rows ``eta - q + 1``, with the ``eta`` of
        the Wishart distribution of the same total variance (Hotelling's T squared;
        Pustejovsky & Tipton 2018, Journal of Business & Economic Statistics 36, 672,
        doi:10.1080/07350015.2016.1247004).
        """
        found = self._eta(L) - len(L) + 1.0
        return found if found > 0.0 else float("nan")

    def scaling(self, L: Array) -> float:
        """Factor of the F statistic, ``(eta - q + 1) / eta``."""
        eta = self._eta(L)
        return max(eta - len(L) + 1.0, 0.0) / eta

    def _eta(self, L: Array) -> float:
        if self.inner is None or self.outer is None:
            return float("inf")
        q, M = len(L), self.bread
        B = M @ L.T
        a = B.T @ self.inner @ B
        v = self.outer @ B
        h = np.swapaxes(v, 1, 2) @ (M @ v)
        # The covariance of L beta has this mean under the working model.
        values, vectors = np.linalg.eigh((a - h).sum(axis=0))
        if values[0] <= 1e-12 * values[-1]:
            return float("nan")
        white = vectors / np.sqrt(values)
        a, h, v = white.T @ a @ white, white.T @ h @ white, v @ white
        S = np.einsum("mps,mrt->stpr", v, v)
        W = M @ S
        spread = _pairs(a, h) + np.einsum("stab,tsba->", W, W)
        spread += _pairs(a, h, crossed=True) + np.einsum("stab,stba->", W, W)
        return float(q * (q + 1) / spread)


def _pairs(a: Array, h: Array, crossed: bool = False) -> float:
    """Sum over clusters and pairs of ``a a - 2 a h`` within clusters."""
    if crossed:
        total = np.einsum("mst,mts->", a, a) - 2.0 * np.einsum("mst,mts->", a, h)
        return float(total)
    left = np.einsum("mss->m", a)
    return float(left @ left - 2.0 * left @ np.einsum("mss->m", h))


def check_type(type: str, known: tuple[str, ...] = tuple(CORRECTIONS)) -> str:
    """The type of a robust covariance, refused when it is not `known`.

    Raises
    ------
    OptionError
        For an unknown type.
    """
    if type not in known:
        raise OptionError(
            f"type={type!r} is not known.",
            f"It must be one of {', '.join(map(repr, known))}.",
            near(str(type), known),
        )
    return type


def correction(type: str, m: int, n: int, p: int) -> float:
    """Factor of the covariance for few clusters.

    Raises
    ------
    FitError
        If there are too few clusters.
    """
    least = p if type == "CR1p" else 1
    if m <= least:
        raise FitError(
            f"There are {m} clusters; {type} needs more than {least}.",
            "The estimator is an average over clusters.",
            "Use finer clusters, or the model-based covariance.",
        )
    return CORRECTIONS[type](m, n, p)


def linear_sandwich(fit: Fit, clusters: Clusters, type: str = "CR2") -> Sandwich:
    """Cluster-robust covariance of a linear mixed model.

    Parameters
    ----------
    fit : Fit
        With its data.
    clusters : Clusters
        Within which all random effects are nested.
    type : {"CR0", "CR1", "CR1p", "CR1S", "CR2", "CR3"}

    Returns
    -------
    Sandwich

    Raises
    ------
    OptionError
        For an unknown type.
    FitError
        For too few clusters, and for CR3 where a coefficient is estimated from one
        cluster alone.

    Notes
    -----
    CR0, CR1 and CR3 need ``X_i'V_i^-1 X_i`` and ``X_i'V_i^-1 e_i`` only, which come
    from the cross-products. CR2 needs ``V_i`` of one cluster at a time, reduced to the
    span of ``X_i`` and ``Z_i`` where the weights are equal. Theta is taken as known.

    References
    ----------
    Bell and McCaffrey (2002), Survey Methodology 28(2), 169-181. Liang and Zeger
    (1986), Biometrika 73, 13-22, doi:10.1093/biomet/73.1.13.
    """
    check_type(type)
    m, n, p = clusters.count, fit.design.nobs, fit.beta.size
    factor = correction(type, m, n, p)
    M = fit.vcov_unscaled
    offset = 0.0 if fit.design.offset is None else fit.design.offset
    e = fit.design.y - offset - fit.X @ fit.beta
    if type == "CR2":
        refuse_correlated(fit, "The covariance of type CR2", "Use type='CR1' or 'CR3'.")
        scores, inner, outer = adjusted_weights(fit, clusters, e)
    else:
        rows = inverse_rows(fit)
        scores = clusters.sums(rows * e[:, None])
        inner = np.stack(
            [clusters.sums(rows * column[:, None]) for column in fit.X.T], axis=1
        ).reshape(m, p, p)
        outer = inner
        if type == "CR3":
            N = _jackknife(inner, fit.RX, M)
            scores = np.einsum("mab,ma->mb", N, scores)
            outer = inner @ N
            inner = np.swapaxes(N, 1, 2) @ outer
    covariance = factor * (M @ (scores.T @ scores) @ M)
    return Sandwich(
        fit.beta, covariance, fit.sigma, type, clusters.name, m, M, inner, outer
    )


def inverse_rows(fit: Fit) -> Array:
    """``V^-1 X`` with V relative to ``sigma^2``, (n, p)."""
    problem = fit.problem
    at = evaluated(fit)
    solved = at.criterion.kernel.solve([d[:, :, :-1] for d in problem.cross.dense])
    rows = problem.basis.copy()
    for factor, part in zip(problem.factors, solved, strict=True):
        rows -= np.einsum("na,nap->np", factor.values, part[factor.codes])
    rows = rows @ problem.R
    if problem.chain is not None:
        rows = problem.chain.whiten_transposed(rows)
    if problem.sqrt_weights is not None:
        rows *= problem.sqrt_weights[:, None]
    return np.asarray(rows)


def _jackknife(G: Array, RX: Array, M: Array) -> Array:
    """``(I - M G_i)^-1`` for each cluster, (m, p, p)."""
    half = np.linalg.inv(RX)
    share = np.linalg.eigvalsh(half.T @ G @ half)
    if share.size and share.max() > 1.0 - 1e-9:
        raise FitError(
            "CR3 is not defined: without some cluster a coefficient cannot be "
            "estimated.",
            "Each coefficient needs at least two clusters.",
            "Use type='CR2'.",
        )
    return np.asarray(np.linalg.inv(np.eye(len(M)) - M @ G))
