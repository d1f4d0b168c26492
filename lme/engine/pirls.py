"""Penalized iteratively reweighted least squares: the modes of a GLMM.

At given coefficients and factors the random effects minimise ``sum dev_i(eta_i) +
|u|^2`` with ``eta = offset + X beta + Z Lambda u``; every iteration is the linear
system of a weighted linear mixed model, so a kernel of that does the work. With the
fixed effects unpenalised beside u, the same steps give the start and ``nAGQ = 0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.engine.choice import choose
from lme.engine.crossproducts import (
    CrossProducts,
    Pattern,
    by_rows,
    pattern,
)
from lme.engine.decompositions import orthonormal
from lme.engine.kernel import Kernel
from lme.engine.relcov import (
    Factor,
    Template,
    Term,
    assemble,
    colour,
    gather,
)
from lme.families.base import Family, Pointwise

Array = NDArray[np.float64]

#: Newton decrement (squared) below which another iteration cannot be seen.
_TOLERANCE = 1e-11
_MAX_ITERATIONS = 100
_MAX_HALVINGS = 30


@dataclass(frozen=True)
class Problem:
    """A generalized linear mixed model as arrays.

    Attributes
    ----------
    y, weights, offset : (n,) arrays
        Response (a proportion for the binomial), prior weights, offset.
    X : (n, p) array
        Of full column rank.
    basis : (n, p) array
        Orthogonal columns of unit mean square with the span of X.
    R : (p, p) array
        Upper triangular, ``X = basis @ R``.
    family : Family
    factors, template : see `relcov`
    """

    y: Array
    weights: Array
    offset: Array
    X: Array
    basis: Array
    R: Array
    family: Family
    factors: tuple[Factor, ...]
    template: Template

    @property
    def p(self) -> int:
        """Number of fixed-effects columns."""
        return int(self.X.shape[1])

    @cached_property
    def pattern(self) -> Pattern:
        """Which levels occur together."""
        return pattern(self.factors)

    @cached_property
    def data_term(self) -> Array | float:
        """The part of the deviance that depends on the data alone."""
        return self.family.data_term(self.y, self.weights)

    @cached_property
    def empty(self) -> Array:
        """No dense columns, (n, 0)."""
        return np.empty((self.y.size, 0))

    def spread(self, b: Sequence[Array]) -> Array:
        """``Z b`` for b given per factor as (l, p) arrays, (n,)."""
        out = np.zeros(self.y.size)
        for factor, modes in zip(self.factors, b, strict=True):
            if modes.shape[1] == 1:
                out += factor.values[:, 0] * modes[factor.codes, 0]
            else:
                out += np.einsum("np,np->n", factor.values, modes[factor.codes])
        return out

    def gather(self, x: Array) -> list[Array]:
        """``Z'x`` per factor: (l, p) for x (n,), (l, p, r) for x (n, r)."""
        return [
            np.stack([Zt @ x for Zt in factor.transposed], axis=1)
            for factor in self.factors
        ]


def build(
    y: Array,
    X: Array,
    terms: Sequence[Term],
    family: Family,
    *,
    weights: Array | None = None,
    offset: Array | None = None,
) -> Problem:
    """Set up the problem.

    Parameters
    ----------
    y : (n,) array
    X : (n, p) array of full column rank
    terms : sequence of Term
    family : Family
    weights, offset : (n,) arrays or None
    """
    n = y.size
    factors, template = assemble(terms, None)
    basis, R = orthonormal(X)
    scale = np.sqrt(n)
    return Problem(
        y=np.ascontiguousarray(y, dtype=float),
        weights=np.ones(n) if weights is None else np.asarray(weights, dtype=float),
        offset=np.zeros(n) if offset is None else np.asarray(offset, dtype=float),
        X=X,
        basis=np.ascontiguousarray(basis * scale),
        R=R / scale,
        family=family,
        factors=factors,
        template=template,
    )


@dataclass(slots=True)
class Modes:
    """The conditional modes at one point, and what was computed on the way.

    Attributes
    ----------
    gamma : (p,) array
        Coefficients on the basis.
    u, b : lists of (l, p) arrays
        Spherical and original modes, internal basis of the random effects.
    eta : (n,) array
    at : Pointwise
        Deviance and derivatives at eta, all orders.
    penalized : float
        ``sum dev + |u|^2``.
    cross : CrossProducts
        ``Z'WZ`` at the modes; the kernel holds its factorization.
    logdet : float
    iterations : int
    """

    gamma: Array
    u: list[Array]
    b: list[Array]
    eta: Array
    at: Pointwise
    penalized: float
    cross: CrossProducts
    logdet: float
    iterations: int


@dataclass(slots=True)
class _State:
    """One iterate."""

    gamma: Array
    u: list[Array]
    b: list[Array]
    eta: Array
    at: Pointwise
    value: float


class Pirls:
    """Finds modes for one problem; keeps the kernel from call to call."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.kernel: Kernel | None = None
        self.advice = ""

    def load(self, cross: CrossProducts) -> Kernel:
        """The kernel with these cross-products."""
        if self.kernel is None:
            self.kernel, self.advice = choose(cross)
        else:
            self.kernel.load(cross)
        return self.kernel

    def pointwise(self, eta: Array, extra: float, order: int) -> Pointwise:
        """The family's functions of the linear predictor."""
        problem = self.problem
        return problem.family.pointwise(
            problem.y,
            problem.weights,
            eta,
            extra,
            order=order,
            data_term=problem.data_term,
        )

    def _state(
        self,
        gamma: Array,
        u: list[Array],
        lambdas: Sequence[Array],
        extra: float,
        order: int,
    ) -> _State:
        """Linear predictor, its pointwise functions, and ``sum dev + |u|^2``."""
        problem = self.problem
        each = zip(problem.factors, u, lambdas, strict=True)
        b = [colour(f.known, v) @ lam.T for f, v, lam in each]
        eta = problem.offset + problem.basis @ gamma + problem.spread(b)
        at = self.pointwise(eta, extra, order)
        value = float(at.deviance.sum()) + sum(float(np.vdot(v, v)) for v in u)
        return _State(gamma, u, b, eta, at, value if np.isfinite(value) else np.inf)

    def solve(
        self,
        gamma: Array,
        lambdas: Sequence[Array],
        u: list[Array],
        extra: float = 0.0,
        *,
        joint: bool = False,
    ) -> Modes | None:
        """Iterate to the modes; None when no finite point is found.

        Parameters
        ----------
        gamma : (p,) array
            Coefficients; the start of them when `joint`.
        lambdas : sequence of (p, p) arrays
        u : list of (l, p) arrays
            Start of the spherical modes.
        extra : float
            Log of the dispersion or of the negative binomial's theta.
        joint : bool
            Minimise over the coefficients too (`nAGQ = 0`).
        """
        problem = self.problem
        order = 1 if problem.family.canonical else 2
        here = self._state(gamma, u, lambdas, extra, order)
        if not np.isfinite(here.value):
            zeros = [np.zeros_like(v) for v in u]
            here = self._state(gamma, zeros, lambdas, extra, order)
            if not np.isfinite(here.value):
                return None
        iterations, done = 0, False
        while not done and iterations < _MAX_ITERATIONS:
            iterations += 1
            found = self._descend(here, lambdas, extra, order, joint)
            if found is None:
                return None
            here, done = found
        eta, at = here.eta, here.at
        if at.dW.size == 0:
            at = self.pointwise(eta, extra, 2)
        cross = problem.pattern.cross_products(problem.empty, at.W)
        schur = self.load(cross).factor(lambdas)
        if schur is None:
            return None
        return Modes(
            here.gamma,
            here.u,
            here.b,
            eta,
            at,
            here.value,
            cross,
            schur.logdet,
            iterations,
        )

    def _descend(
        self,
        here: _State,
        lambdas: Sequence[Array],
        extra: float,
        order: int,
        joint: bool,
    ) -> tuple[_State, bool] | None:
        """One step with halving, and whether it was the last; None when stuck.

        Newton steps with the observed weights converge quadratically; where these do
        not give a minimum, Fisher's do, by a constant factor each.
        """
        canonical = self.problem.family.canonical
        attempts = [here.at.W] if canonical else [here.at.Wo, here.at.W]
        for number, weights in enumerate(attempts):
            step = self._newton(here, lambdas, weights, joint)
            if step is None:
                continue
            gamma, u, decrement = step
            fisher = number == len(attempts) - 1 and not canonical
            done = decrement < _TOLERANCE * (1e-6 if fisher else 1.0)
            factor = 1.0
            for _ in range(_MAX_HALVINGS):
                there = self._state(
                    here.gamma + factor * (gamma - here.gamma),
                    [
                        old + factor * (new - old)
                        for old, new in zip(here.u, u, strict=True)
                    ],
                    lambdas,
                    extra,
                    2 if done else order,
                )
                # Armijo's condition; rounding must not look like an increase.
                noise = 1e-10 * (1.0 + abs(here.value))
                slack = noise if decrement < noise else 0.0
                if there.value <= here.value - 1e-4 * factor * decrement + slack:
                    return there, done
                factor *= 0.5
        return None

    def _newton(
        self, here: _State, lambdas: Sequence[Array], weights: Array, joint: bool
    ) -> tuple[Array, list[Array], float] | None:
        """The next point by weighted least squares, and the squared decrement.

        None when the weights do not give a direction of descent.
        """
        problem = self.problem
        gamma, u = here.gamma, here.u
        score = -0.5 * here.at.g
        columns = problem.empty
        if joint:
            # The working response is never divided by W, which may vanish.
            columns = problem.basis
        cross = problem.pattern.cross_products(columns, weights)
        kernel = self.load(cross)
        with np.errstate(invalid="ignore", divide="ignore"):
            schur = kernel.factor(lambdas)
        if schur is None:
            return None
        gathered = problem.gather(score)
        Zb = problem.spread(here.b)
        rhs = [r[:, :, None] for r in problem.gather(score + weights * Zb)]
        change = np.zeros(gamma.size)
        decrement = 0.0
        if joint and gamma.size:
            solved = kernel.solve(rhs)
            right = problem.basis.T @ (score + weights * Zb)
            for D, s in zip(cross.dense, solved, strict=True):
                right = right - by_rows(D).T @ s.ravel()
            RX, info = lapack.dpotrf(schur.matrix, lower=0)
            if info != 0:
                return None
            change, _ = lapack.dpotrs(RX, right, lower=0)
            rhs = [
                r - (D @ change)[:, :, None]
                for r, D in zip(rhs, cross.dense, strict=True)
            ]
            decrement += float(change @ (problem.basis.T @ score))
        b_new = [modes[:, :, 0] for modes in kernel.solve(rhs)]
        Ab = problem.gather(weights * problem.spread(b_new))
        each = zip(problem.factors, rhs, Ab, lambdas, strict=True)
        u_new = [gather(f.known, (r[:, :, 0] - a) @ lam) for f, r, a, lam in each]
        spherical = zip(problem.factors, gathered, lambdas, strict=True)
        slopes = [gather(f.known, r @ lam) for f, r, lam in spherical]
        for old, new, slope in zip(u, u_new, slopes, strict=True):
            decrement += float(np.vdot(new - old, slope - old))
        # At the modes it is zero, and rounding gives it either sign.
        if not decrement >= -1e-10 * (1.0 + abs(here.value)):
            return None
        return gamma + change, u_new, max(decrement, 0.0)
