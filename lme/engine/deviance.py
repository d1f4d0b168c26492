"""ML deviance of a linear mixed model with sigma, and a coefficient, as parameters.

`lmm.Criterion` profiles sigma and the coefficients out; a profile likelihood holds one
of them at a value instead. The cross-products and the kernel are the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from lme.engine.information import average_information
from lme.engine.kernel import Kernel
from lme.engine.lmm import Criterion, Evaluation, Problem

Array = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass
class DevianceEvaluation(Evaluation):
    """The deviance at ``(theta, log sigma)`` or ``(theta, log sigma, value)``.

    Attributes
    ----------
    theta, gradient : arrays of that length
    sigma : float
    reach : float
        ``c'(X'V^-1X)^-1 c`` of the pinned combination at ``sigma = 1``; 0 without one.
    """

    sigma: float = np.nan
    reach: float = 0.0


class Deviance(Criterion):
    """``-2 log-likelihood`` in theta, log sigma and, optionally, one combination.

    Parameters
    ----------
    problem : Problem
    kernel : Kernel
        Of the problem's cross-products.
    pinned : (p,) array, optional
        Coefficients ``c`` of a combination ``c'gamma`` of the coefficients on the
        orthonormal basis of X. Its value is then the last parameter, and the other
        coefficients are profiled out.
    """

    def __init__(
        self, problem: Problem, kernel: Kernel, pinned: Array | None = None
    ) -> None:
        super().__init__(problem, kernel, reml=False)
        self.pinned = pinned

    def evaluate(self, theta: Array, gradient: bool = True) -> Evaluation:
        """Value and exact gradient.

        Notes
        -----
        ``log|M| + r2 / sigma^2 + n log(2 pi sigma^2)`` minus the sum of log weights.
        A combination held at v leaves ``r2 + (v - c'gamma)^2 / (c'(X'V^-1X)^-1 c)``,
        and moves the coefficients along ``(X'V^-1X)^-1 c``: no pass over the rows.
        """
        self.evaluations += 1
        problem, template = self.problem, self.problem.template
        p, n, k = problem.p, problem.n, template.size
        lambdas = template.lambdas(theta[:k])
        schur = self.kernel.factor(lambdas)
        bad = self._nothing(theta)
        if schur is None:
            return bad
        H = schur.matrix
        gamma, RX = np.empty(0), np.empty((0, 0))
        r2, w = float(H[p, p]), np.ones(p + 1)
        if p:
            RX, info = lapack.dpotrf(H[:p, :p], lower=0, clean=1)
            if info != 0:
                return bad
            gamma, _ = lapack.dpotrs(RX, H[:p, p], lower=0)
            r2 -= float(H[:p, p] @ gamma)
        slope, reach = 0.0, 0.0
        if self.pinned is not None:
            along, _ = lapack.dpotrs(RX, self.pinned, lower=0)
            reach = float(self.pinned @ along)
            gap = float(theta[k + 1] - self.pinned @ (problem.level + gamma))
            gamma = gamma + along * (gap / reach)
            r2 += gap * gap / reach
            slope = 2.0 * gap / reach
        log_sigma = float(theta[k])
        if not (r2 > 0.0 and abs(log_sigma) < 300.0):
            return bad
        s = float(np.exp(-2.0 * log_sigma))
        constant = n * _LOG_2PI - problem.log_weights
        out = DevianceEvaluation(
            theta,
            float(schur.logdet + s * r2 + 2.0 * n * log_sigma + constant),
            np.empty(0),
            self,
            lambdas,
            [],
            schur.logdet,
            r2,
            gamma,
            RX,
            float(np.exp(log_sigma)),
            reach,
        )
        self._held = out
        if gradient:
            w[:p] = -gamma
            out.adjoints = self.kernel.adjoint(s * (w[:, None] * w))
            rest = [2.0 * (n - s * r2)]
            if self.pinned is not None:
                rest.append(s * slope)
            out.gradient = np.concatenate([self._pull_back(out), rest])
        return out

    def curvature(self, at: Evaluation) -> Array:
        """Model of the Hessian: average information, exact in log sigma.

        Between the pinned combination and the other parameters it is left at zero.
        """
        if not isinstance(at, DevianceEvaluation):
            raise TypeError("An evaluation of this criterion was expected.")
        information, second, score, half = average_information(self, at)
        information = information - half.T @ half
        if self.pinned is not None:
            # The pinned direction is not free: X is projected out without it.
            e = blas.dtrsm(1.0, at.RX, self.pinned[:, None], lower=0, trans_a=1)[:, 0]
            along = half.T @ e
            information = information + along[:, None] * along / at.reach
        k, s = score.size, at.sigma**-2
        out = np.zeros((at.theta.size, at.theta.size))
        out[:k, :k] = s * information + second
        out[:k, k] = out[k, :k] = 2.0 * s * score
        out[k, k] = 4.0 * s * at.r2
        if self.pinned is not None:
            out[k + 1, k + 1] = 2.0 * s / at.reach
        return out
