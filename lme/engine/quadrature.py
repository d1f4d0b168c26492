"""Adaptive Gauss-Hermite quadrature for one scalar random-effects term.

Each level's integral over its random effect is taken with nodes placed around its
mode and scaled by the curvature there; one node is the Laplace approximation
(Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4:12, doi:10.2307/1390625). The
gradient follows the nodes as they move.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from lme.engine.laplace import Evaluation, Laplace
from lme.engine.pirls import Modes, Problem

Array = NDArray[np.float64]

#: Rows times nodes that are evaluated at once.
_CHUNK = 2_000_000


@lru_cache(maxsize=32)
def nodes(count: int) -> tuple[Array, Array]:
    """Gauss-Hermite nodes and log weights times ``exp(x^2) / sqrt(pi)``.

    Symmetrised, so that a mirrored response gives the mirrored fit to the last digit.
    """
    x, w = np.polynomial.hermite.hermgauss(count)
    x = 0.5 * (x - x[::-1])
    log_w = np.log(0.5 * (w + w[::-1])) + x * x - 0.5 * np.log(np.pi)
    return x, log_w


class Quadrature(Laplace):
    """Adaptive quadrature with `count` nodes; see `Laplace` for the parameters."""

    def __init__(self, problem: Problem, count: int) -> None:
        super().__init__(problem)
        self.count = count

    def evaluate(self, psi: Array, gradient: bool = True) -> Evaluation:
        """Value and exact gradient.

        Notes
        -----
        Per level ``-2 log(s / sqrt(pi) sum_k w_k exp(x_k^2 - D_k / 2))`` with ``D_k``
        the penalized deviance at ``u + sqrt(2) s x_k`` and ``s = H^-1/2``.
        """
        out = super().evaluate(psi, gradient=False)
        if out.modes is None:
            return out
        gamma, theta, extra = self.split(psi)
        lam = float(out.lambdas[0][0, 0])
        level = _Levels(self.problem, out.modes, gamma, lam, extra, self.count)
        out.value = float(level.value.sum()) + self.constant(extra)
        if gradient:
            # The curvature model is that of the Laplace approximation.
            kernel = self.pirls.kernel
            if kernel is None:
                raise ValueError("No factorization yet.")
            out.adjoints = kernel.adjoint(np.zeros((0, 0)))
            out.gradient = level.gradient(theta)
        return out


class _Levels:
    """The integrals of all levels at one point."""

    def __init__(
        self,
        problem: Problem,
        modes: Modes,
        gamma: Array,
        lam: float,
        extra: float,
        count: int,
    ) -> None:
        factor = problem.factors[0]
        self.problem, self.modes, self.lam, self.extra = problem, modes, lam, extra
        self.codes, self.levels = factor.codes, factor.levels
        self.v = factor.values[:, 0]
        self.mode = modes.u[0][:, 0]
        self.H = 1.0 + lam * lam * modes.cross.diagonal[0][:, 0, 0]
        self.s = 1.0 / np.sqrt(self.H)
        self.x, log_w = nodes(count)
        self.u = self.mode[:, None] + np.sqrt(2.0) * self.s[:, None] * self.x
        base = problem.offset + problem.basis @ gamma
        self.g: list[Array] = []
        D = self.u**2
        self.eta = [base + self.v * lam * self.u[self.codes, k] for k in range(count)]
        for k, eta in enumerate(self.eta):
            at = problem.family.pointwise(
                problem.y,
                problem.weights,
                eta,
                extra,
                order=1,
                data_term=problem.data_term,
            )
            self.g.append(at.g)
            D[:, k] += np.bincount(self.codes, at.deviance, self.levels)
        terms = log_w - 0.5 * D
        total = logsumexp(terms, axis=1)
        self.share = np.exp(terms - total[:, None])
        self.value = np.log(self.H) - 2.0 * total

    def _sum(self, values: Array) -> Array:
        """Sums over the rows of each level."""
        sums = np.bincount(self.codes, values, self.levels)
        return np.asarray(sums, dtype=np.float64)

    def gradient(self, theta: Array) -> Array:
        """Gradient in coefficients, theta and extra.

        Notes
        -----
        The levels' values depend on the parameters directly, through the modes, and
        through the scales: the coefficient of ``dH`` is ``e``, that of the modes is
        ``a``, and both lead back to eta.
        """
        problem, lam, v, codes = self.problem, self.lam, self.v, self.codes
        at = self.modes.at
        count = self.x.size
        mean_g = np.zeros(v.size)
        direct = 0.0
        along = np.zeros(self.levels)
        spread = np.zeros(self.levels)
        for k in range(count):
            share = self.share[:, k]
            weighted = share[codes] * self.g[k]
            mean_g += weighted
            by_level = self._sum(weighted * v)
            direct += float(by_level @ self.u[:, k])
            slope = lam * by_level + 2.0 * share * self.u[:, k]
            along += slope
            spread += np.sqrt(2.0) * self.x[k] * slope
        # d(-2 log s) = dH / H is part of the coefficient of dH.
        e = 1.0 / self.H - 0.5 * spread * self.s / self.H
        row = e[codes] * (lam * v) ** 2 * at.dW
        along = along + lam * self._sum(row * v)
        curvature = 1.0 + lam * lam * self._sum(v * v * at.Wo)
        a = along / curvature
        through = row - lam * a[codes] * v * at.Wo
        d_gamma = problem.basis.T @ (mean_g + through)
        d_lam = direct + float((row * v) @ self.mode[codes])
        d_lam += float(e @ (2.0 * lam * self.modes.cross.diagonal[0][:, 0, 0]))
        half = 0.5 * self._sum(v * at.g)
        d_lam -= float(a @ (half + lam * self.mode * self._sum(v * v * at.Wo)))
        jacobian = problem.template.jacobians(theta)[0][:, 0, 0]
        parts = [d_gamma, d_lam * jacobian]
        if problem.family.extra is not None:
            parts.append(self._extra(e, a))
        return np.concatenate(parts)

    def _extra(self, e: Array, a: Array) -> Array:
        """Derivative in the extra parameter."""
        problem, lam, v = self.problem, self.lam, self.v
        value = 0.0
        for k, eta in enumerate(self.eta):
            d = problem.family.extra_derivatives(
                problem.y, problem.weights, eta, self.extra
            )
            value += float(self.share[self.codes, k] @ d.deviance)
        d = problem.family.extra_derivatives(
            problem.y, problem.weights, self.modes.eta, self.extra
        )
        value += float(d.constant)
        value += float(e @ (lam * lam * self._sum(v * v * d.W)))
        value -= float(a @ (0.5 * lam * self._sum(v * d.g)))
        return np.array([value])
