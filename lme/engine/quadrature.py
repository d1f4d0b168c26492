"""Adaptive Gauss-Hermite quadrature for one grouping factor.

Each level's integral over its random effects is taken with nodes placed around its
mode and scaled by the curvature there (products of nodes for vectors); one node is
the Laplace approximation (Pinheiro & Bates 1995, J. Comput. Graph. Stat. 4:12,
doi:10.2307/1390625). The gradient follows the nodes as they move.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from scipy.special import logsumexp

from lme.engine.laplace import Evaluation, Laplace, needs_gradient
from lme.engine.pirls import Modes
from lme.engine.rows import Problem
from lme.families.base import Pointwise

Array = NDArray[np.float64]

#: Rows times nodes that are evaluated at once.
_AT_ONCE = 1_000_000


@lru_cache(maxsize=32)
def nodes(count: int) -> tuple[Array, Array]:
    """Gauss-Hermite nodes and log weights times ``exp(x^2) / sqrt(pi)``.

    Symmetrised, so that a mirrored response gives the mirrored fit to the last digit.
    """
    x, w = np.polynomial.hermite.hermgauss(count)
    x = 0.5 * (x - x[::-1])
    log_w = np.log(0.5 * (w + w[::-1])) + x * x - 0.5 * np.log(np.pi)
    return x, log_w


@lru_cache(maxsize=32)
def grid(count: int, p: int) -> tuple[Array, Array]:
    """Product nodes (count^p, p) and the sums of their log weights."""
    x, log_w = nodes(count)
    axes = np.meshgrid(*[x] * p, indexing="ij")
    weights = np.meshgrid(*[log_w] * p, indexing="ij")
    points = np.stack([axis.ravel() for axis in axes], axis=1)
    return points, np.sum([w.ravel() for w in weights], axis=0)


class Quadrature(Laplace):
    """Adaptive quadrature with `count` nodes a dimension; parameters as `Laplace`."""

    def __init__(self, problem: Problem, count: int) -> None:
        super().__init__(problem)
        self.count = count

    def evaluate(self, psi: Array, gradient: bool = True) -> Evaluation:
        """Value and exact gradient.

        Notes
        -----
        Per level ``-2 log(|S| pi^(-p/2) sum_k w_k exp(|x_k|^2 - D_k / 2))`` with
        ``D_k`` the penalized deviance at ``u + sqrt(2) S x_k`` and ``S S' = H^-1``.
        """
        out = super().evaluate(psi, gradient=False)
        if out.modes is None:
            return out
        gamma, theta, extra = self.split(psi)
        level = _Levels(
            self.problem, out.modes, gamma, out.lambdas[0], extra, self.count
        )
        out.value = float(level.value.sum()) + self.constant(extra)
        if gradient:
            # The curvature model is that of the Laplace approximation.
            kernel = self.pirls.kernel
            if kernel is None:
                raise ValueError("No factorization yet.")
            out.adjoints = kernel.adjoint(np.zeros((0, 0)))
            out.gradient = level.gradient(theta)
            needs_gradient(out)
        return out


def criterion_of(problem: Problem, nAGQ: int, observed: bool) -> Laplace:
    """The criterion that `nAGQ` asks for."""
    if nAGQ > 1:
        return Quadrature(problem, nAGQ)
    return Laplace(problem, observed=observed, joint=nAGQ == 0)


class _Levels:
    """The integrals of all levels at one point."""

    def __init__(
        self,
        problem: Problem,
        modes: Modes,
        gamma: Array,
        lam: Array,
        extra: float,
        count: int,
    ) -> None:
        factor = problem.factors[0]
        self.problem, self.modes, self.lam, self.extra = problem, modes, lam, extra
        self.codes, self.levels, self.V = factor.codes, factor.levels, factor.values
        self.mode = modes.u[0]
        p = len(lam)
        self.A = modes.cross.diagonal[0]
        H = lam.T @ self.A @ lam + np.eye(p)
        L = np.linalg.cholesky(H)
        self.S = np.linalg.inv(L).transpose(0, 2, 1)
        self.x, log_w = grid(count, p)
        shifts = np.sqrt(2.0) * np.einsum("lab,kb->lka", self.S, self.x)
        self.u = self.mode[:, None, :] + shifts
        self.VL = self.V @ lam
        base = problem.offset + problem.basis @ gamma
        self.eta = base[:, None] + np.einsum("na,nka->nk", self.VL, self.u[self.codes])
        self.g = np.empty_like(self.eta)
        D = np.einsum("lka,lka->lk", self.u, self.u)
        for part in self._parts():
            at = self._pointwise(self.eta[:, part])
            shape = self.eta[:, part].shape
            self.g[:, part] = at.g.reshape(shape)
            D[:, part] += self._sum(at.deviance.reshape(shape))
        # Sums over the rows of a level of v g, for every node.
        self.G = problem.gather(self.g)[0].transpose(2, 0, 1)
        terms = log_w - 0.5 * D
        total = logsumexp(terms, axis=1)
        self.share = np.exp(terms - total[:, None])
        index = np.arange(p)
        logdet = 2.0 * np.log(L[:, index, index]).sum(axis=1)
        self.value = logdet - 2.0 * total

    def _parts(self) -> list[slice]:
        """Runs of nodes that are evaluated at once."""
        size = max(1, _AT_ONCE // max(self.V.shape[0], 1))
        return [slice(k, k + size) for k in range(0, len(self.x), size)]

    def _repeated(self, eta: Array) -> tuple[Array, Array, Array, Array | float]:
        """Response, weights, predictor and data term of rows times nodes."""
        problem, nodes = self.problem, eta.shape[1]
        term = problem.data_term
        if isinstance(term, np.ndarray) and term.size > 1:
            term = np.repeat(term, nodes)
        y, weights = np.repeat(problem.y, nodes), np.repeat(problem.weights, nodes)
        return y, weights, eta.ravel(), term

    def _pointwise(self, eta: Array) -> Pointwise:
        """The family's functions at rows times nodes, flat."""
        y, weights, flat, term = self._repeated(eta)
        return self.problem.family.pointwise(
            y, weights, flat, self.extra, order=1, data_term=term
        )

    def _sum(self, values: Array) -> Array:
        """Sums over the rows of each level, (l, r) for values (n, r)."""
        indptr = np.arange(self.codes.size + 1)
        ones = np.ones(self.codes.size)
        shape = (self.codes.size, self.levels)
        member = sparse.csr_matrix((ones, self.codes, indptr), shape=shape)
        return np.asarray(member.T @ values)

    def _gather(self, values: Array) -> Array:
        """Sums over the rows of each level of ``v`` times values, (l, p)."""
        return self.problem.gather(values)[0]

    def _outer(self, values: Array) -> Array:
        """Sums over the rows of each level of ``v v'`` times values, (l, p, p)."""
        columns = self.problem.gather(values[:, None] * self.V)[0]
        return np.asarray(columns)

    def gradient(self, theta: Array) -> Array:
        """Gradient in coefficients, theta and extra.

        Notes
        -----
        A level's value depends on the parameters directly, through its mode and
        through ``S = L^-T`` with ``L L' = H``. For the last, ``dS = -S Phi(S' dH S)'``
        where Phi keeps the lower triangle and halves the diagonal (Smith 1995,
        doi:10.1080/10618600.1995.10474671); the coefficient of ``dH`` is Hbar, that
        of the modes leads back to eta through the observed information.
        """
        problem, lam, codes, S = self.problem, self.lam, self.codes, self.S
        at = self.modes.at
        share = self.share.T[:, :, None]
        slope = share * (self.G @ lam + 2.0 * self.u.transpose(1, 0, 2))
        along = slope.sum(axis=0)
        Sbar = np.sqrt(2.0) * np.einsum("kla,kb->lab", slope, self.x)
        T = np.tril(-Sbar.transpose(0, 2, 1) @ S)
        index = np.arange(len(lam))
        T[:, index, index] *= 0.5
        middle = 0.5 * (T + T.transpose(0, 2, 1))
        Hbar = S @ (np.eye(len(lam)) + middle) @ S.transpose(0, 2, 1)
        row = at.dW * np.einsum("na,nab,nb->n", self.VL, Hbar[codes], self.VL)
        along = along + self._gather(row) @ lam
        observed = lam.T @ self._outer(at.Wo) @ lam + np.eye(len(lam))
        a = np.linalg.solve(observed, along[:, :, None])[:, :, 0]
        through = row - at.Wo * np.einsum("na,na->n", self.VL, a[codes])
        mean_g = np.einsum("nk,nk->n", self.share[codes], self.g)
        parts = [problem.basis.T @ (mean_g + through)]
        bar = np.einsum("klq,lk,lkp->qp", self.G, self.share, self.u)
        bar = bar + self._gather(through).T @ self.mode
        bar = bar - 0.5 * self._gather(at.g).T @ a
        bar = bar + 2.0 * np.einsum("lab,bc,lcd->ad", self.A, lam, Hbar)
        template = problem.template
        d_theta = np.zeros(template.size)
        for slot, J in zip(template.slots, template.jacobians(theta), strict=True):
            block = bar[slot.columns, slot.columns]
            d_theta[slot.theta] += J.reshape(len(J), block.size) @ block.ravel()
        parts.append(d_theta)
        if problem.family.extra is not None:
            parts.append(self._extra(Hbar, a))
        return np.concatenate(parts)

    def _extra(self, Hbar: Array, a: Array) -> Array:
        """Derivative in the extra parameter."""
        problem = self.problem
        value = 0.0
        share = self.share[self.codes]
        for part in self._parts():
            y, weights, flat, _ = self._repeated(self.eta[:, part])
            d = problem.family.extra_derivatives(y, weights, flat, self.extra)
            value += float(share[:, part].ravel() @ d.deviance)
        d = problem.family.extra_derivatives(
            problem.y, problem.weights, self.modes.eta, self.extra
        )
        lam = self.lam
        value += float(d.constant)
        value += float(np.einsum("lab,lab->", Hbar, lam.T @ self._outer(d.W) @ lam))
        value -= 0.5 * float(np.vdot(a, self._gather(d.g) @ lam))
        return np.array([value])
