"""Profiled ML and REML criteria of a linear mixed model, with exact gradients.

With ``A = [Z X y]'[Z X y]`` a kernel gives ``log|M|`` and the Schur complement
``H = [X y]' V^-1 [X y]``; beta and sigma are profiled out of H. The columns of X are
replaced by an orthonormal basis and y by its least-squares residual beforehand, which
changes nothing but the rounding errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.engine.crossproducts import (
    CrossProducts,
    cross_products,
    multiply,
)
from lme.engine.decompositions import orthonormal
from lme.engine.information import average_information
from lme.engine.kernel import Kernel
from lme.engine.relcov import Factor, Template, Term, assemble
from lme.residual.chain import Chain

Array = NDArray[np.float64]

_LOG_2PI = float(np.log(2.0 * np.pi))


@dataclass(frozen=True)
class Problem:
    """A linear mixed model as arrays, with its cross-products.

    Attributes
    ----------
    y, offset, sqrt_weights : (n,) arrays or None
    X : (n, p) array
        Of full column rank.
    basis : (n, p) array
        Orthonormal columns spanning those of the weighted X.
    R : (p, p) array
        Upper triangular, ``sqrt(w) X = basis @ R``.
    level : (p,) array
        Coefficients of the weighted response on `basis` by least squares.
    residual : (n,) array
        What least squares leaves of the weighted response.
    factors, template : see `relcov`
    cross : CrossProducts
        Of the factors, `basis` and the least-squares residual.
    shared : dict
        What depends on the design alone, kept from refit to refit.
    chain : Chain or None
        Correlation of the residuals, which `basis`, `residual` and the factors are
        freed from after the weighting; None: they are independent.
    """

    y: Array
    X: Array
    offset: Array | None
    sqrt_weights: Array | None
    basis: Array
    R: Array
    level: Array
    residual: Array
    factors: tuple[Factor, ...]
    template: Template
    cross: CrossProducts
    shared: dict[str, object] = field(default_factory=dict)
    chain: Chain | None = None

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.y.size)

    @property
    def p(self) -> int:
        """Number of fixed-effects columns."""
        return int(self.X.shape[1])

    @property
    def largest_response(self) -> float:
        """Largest absolute value of the response."""
        return float(np.abs(self.y).max(initial=0.0))

    @property
    def largest_residual(self) -> float:
        """Largest absolute value that least squares leaves."""
        return float(np.abs(self.residual).max(initial=0.0))

    @cached_property
    def constant_outside(self) -> float:
        """Mean square of what a constant has outside the span of X."""
        root = self.sqrt_weights
        constant = np.ones(self.n) if root is None else root
        rest = constant - self.basis @ (self.basis.T @ constant)
        return float(rest @ rest) / self.n

    @cached_property
    def log_weights(self) -> float:
        """Sum of the logarithms of the weights, minus ``log|R|`` of a correlation R."""
        chain = 0.0 if self.chain is None else 2.0 * self.chain.log_det
        if self.sqrt_weights is None:
            return chain
        return 2.0 * float(np.log(self.sqrt_weights).sum()) + chain

    def whiten(self, columns: Array) -> Array:
        """Columns (n,) or (n, k) weighted, and freed from the correlation."""
        if self.sqrt_weights is not None:
            root = self.sqrt_weights
            columns = columns * (root if columns.ndim == 1 else root[:, None])
        return columns if self.chain is None else self.chain.whiten(columns)

    @cached_property
    def log_det_R(self) -> float:
        """``log|R|^2``: from the orthonormal basis back to the columns of X."""
        return 2.0 * float(np.log(np.abs(self.R.diagonal())).sum())


def least_squares(z: Array, basis: Array) -> tuple[Array, Array]:
    """Coefficients of a weighted response on an orthonormal basis, and the residual."""
    level = basis.T @ z
    residual = z - basis @ level
    # A second pass removes what rounding left of a large mean.
    again = basis.T @ residual
    return level + again, residual - basis @ again


def build(
    y: Array,
    X: Array,
    terms: Sequence[Term],
    *,
    weights: Array | None = None,
    offset: Array | None = None,
) -> Problem:
    """Set up the problem: one pass over the rows.

    Parameters
    ----------
    y : (n,) array
    X : (n, p) array of full column rank
    terms : sequence of Term
    weights, offset : (n,) arrays or None
    """
    sqrt_weights = None if weights is None else np.sqrt(weights)
    factors, template = assemble(terms, sqrt_weights)
    basis, R = orthonormal(X if sqrt_weights is None else X * sqrt_weights[:, None])
    z = y if offset is None else y - offset
    level, residual = least_squares(
        z if sqrt_weights is None else z * sqrt_weights, basis
    )
    cross = cross_products(factors, basis, residual)
    return Problem(
        y, X, offset, sqrt_weights, basis, R, level, residual, factors, template, cross
    )


def with_response(problem: Problem, y: Array) -> Problem:
    """The same model for another response; only products with y are formed anew."""
    z = y if problem.offset is None else y - problem.offset
    level, residual = least_squares(problem.whiten(z), problem.basis)
    old = problem.cross
    dense = []
    for factor, block in zip(problem.factors, old.dense, strict=True):
        new = block.copy()
        new[:, :, -1:] = factor.gather(residual[:, None])
        dense.append(new)
    gram = old.gram.copy()
    gram[:-1, -1] = gram[-1, :-1] = problem.basis.T @ residual
    gram[-1, -1] = residual @ residual
    cross = replace(old, dense=tuple(dense), gram=gram)
    return replace(problem, y=y, level=level, residual=residual, cross=cross)


@dataclass
class Evaluation:
    """The criterion at one theta (internal basis).

    Attributes
    ----------
    theta : (k,) array
    value : float
        ``-2 log-likelihood`` or the REML criterion; inf where it cannot be had.
    gradient : (k,) array
    """

    theta: Array
    value: float
    gradient: Array
    criterion: Criterion
    lambdas: list[Array] = field(default_factory=list)
    adjoints: list[Array] = field(default_factory=list)
    logdet: float = np.nan
    r2: float = np.nan
    coefficients: Array = field(default_factory=lambda: np.empty(0))
    RX: Array = field(default_factory=lambda: np.empty((0, 0)))

    def curvature(self) -> Array:
        """Model of the Hessian, (k, k): see `Criterion.curvature`."""
        return self.criterion.curvature(self)


class Criterion:
    """ML or REML criterion of a problem through one kernel.

    Parameters
    ----------
    problem : Problem
    kernel : Kernel
    reml : bool
    sigma : float, optional
        A residual standard deviation that is known, not estimated.
    """

    def __init__(
        self,
        problem: Problem,
        kernel: Kernel,
        reml: bool,
        sigma: float | None = None,
    ) -> None:
        self.problem = problem
        self.kernel = kernel
        self.reml = reml
        self.sigma = sigma
        self.df = problem.n - problem.p if reml else problem.n
        self.evaluations = 0
        self._held: Evaluation | None = None
        each = 1.0 - np.log(self.df) if sigma is None else 2.0 * np.log(sigma)
        constant = self.df * (_LOG_2PI + each) - problem.log_weights
        self.constant = float(constant + (problem.log_det_R if reml else 0.0))

    def evaluate(self, theta: Array, gradient: bool = True) -> Evaluation:
        """Value and exact gradient at theta.

        Notes
        -----
        ML ``log|M| + n (1 + log(2 pi r2 / n))``, REML ``log|M| + log|R_X|^2 + (n - p)
        (1 + log(2 pi r2 / (n - p)))``, both minus the sum of log weights (Bates et
        al. 2015, eqs. 34 and 41). The adjoint of H is ``(df / r2) w w'`` with
        ``w = (-beta, 1)``, plus the inverse of its X block for REML. With a known
        sigma ``r2 / sigma^2 + df log(2 pi sigma^2)`` stands in place of the last term,
        and ``1 / sigma^2`` of ``df / r2``.
        """
        self.evaluations += 1
        problem, template = self.problem, self.problem.template
        lambdas = template.lambdas(theta)
        schur = self.kernel.factor(lambdas)
        if schur is None:
            return self._nothing(theta)
        p, H = problem.p, schur.matrix
        weights = np.zeros((p + 1, p + 1))
        log_RX = 0.0
        beta, RX = np.empty(0), np.empty((0, 0))
        w = np.ones(p + 1)
        r2 = float(H[p, p])
        if p:
            RX, info = lapack.dpotrf(H[:p, :p], lower=0, clean=1)
            if info != 0:
                return self._nothing(theta)
            beta, _ = lapack.dpotrs(RX, H[:p, p], lower=0)
            r2 -= float(H[:p, p] @ beta)
            w[:p] = -beta
            if self.reml:
                log_RX = 2.0 * float(np.log(RX.diagonal()).sum())
                half, _ = lapack.dtrtri(RX, lower=0)
                weights[:p, :p] = half @ half.T
        if not r2 > 0.0:
            return self._nothing(theta)
        value = schur.logdet + log_RX + self.constant
        value += self.df * np.log(r2) if self.sigma is None else r2 / self.sigma**2
        out = Evaluation(
            theta,
            float(value),
            np.empty(0),
            self,
            lambdas,
            [],
            schur.logdet,
            r2,
            beta,
            RX,
        )
        self._held = out
        if gradient:
            weights += self.precision(r2) * (w[:, None] * w)
            out.adjoints = self.kernel.adjoint(weights)
            out.gradient = self._pull_back(out)
        return out

    def precision(self, r2: float) -> float:
        """``1 / sigma^2`` with sigma known or profiled."""
        return self.df / r2 if self.sigma is None else 1.0 / self.sigma**2

    def _nothing(self, theta: Array) -> Evaluation:
        """What stands for a point without a value."""
        return Evaluation(theta, np.inf, np.full(theta.size, np.nan), self)

    def _pull_back(self, at: Evaluation) -> Array:
        """Gradient in theta from the adjoints of ``lambda lambda'``."""
        template = self.problem.template
        gradient = np.zeros(template.size)
        jacobians = template.jacobians(at.theta)
        inner = [2.0 * Q @ lam for Q, lam in zip(at.adjoints, at.lambdas, strict=True)]
        for slot, J in zip(template.slots, jacobians, strict=True):
            block = inner[slot.factor][slot.columns, slot.columns]
            gradient[slot.theta] += J.reshape(len(J), block.size) @ block.ravel()
        return gradient

    def hold(self, at: Evaluation) -> None:
        """Bring the kernel back to the state of an earlier evaluation."""
        if self._held is not at:
            self.kernel.factor(at.lambdas)
            self._held = at

    def borrow(self) -> Kernel:
        """The kernel, for someone else to factor: nothing is held afterwards."""
        self._held = None
        return self.kernel

    def scores(self, at: Evaluation) -> list[Array]:
        """``d = Z'V^-1 (y - X beta)`` per factor, (l, p), in the internal basis.

        Spherical modes are ``u = (T (x) lambda)' d`` and modes ``b = (T (x) lambda) u``
        with T a root of the known covariance between levels, or the identity.
        """
        self.hold(at)
        w = np.append(-at.coefficients, 1.0)[:, None]
        rhs = [dense @ w for dense in self.problem.cross.dense]
        Zb, _ = multiply(self.problem.cross, self.kernel.solve(rhs))
        return [(r - z)[:, :, 0] for r, z in zip(rhs, Zb, strict=True)]

    def curvature(self, at: Evaluation) -> Array:
        """Average-information model of the Hessian at an evaluation, (k, k).

        Notes
        -----
        With ``V_i = dV/dtheta_i`` and ``P`` the projection of REML (Gilmour,
        Thompson & Cullis 1995, Biometrics 51:1440, doi:10.2307/2533274), the trace
        of ``P V_i P V_j`` is replaced by its data counterpart, which leaves
        ``s y'P V_i P V_j P y - (s^2/df)(y'P V_i P y)(y'P V_j P y)`` with
        ``s = df/r2``; the second part is that of sigma, and falls away where sigma is
        known. The term with second derivatives of V is kept exactly, as
        ``2 <lambda_i, Q lambda_j>``: it is all there is at lambda = 0.
        """
        information, second, score, half = average_information(self, at)
        information = information - half.T @ half
        s = self.precision(at.r2)
        if self.sigma is not None:
            return s * information + second
        square = score[:, None] * score
        return s * information - (s * s / self.df) * square + second
