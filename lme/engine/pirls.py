"""Penalized iteratively reweighted least squares: the modes of a GLMM.

At given coefficients and factors the random effects minimise ``sum dev_i(eta_i) +
|u|^2`` with ``eta = offset + X beta + Z Lambda u``; every iteration is the linear
system of a weighted linear mixed model, so a kernel of that does the work. With the
fixed effects unpenalised beside u, the same steps give the start and ``nAGQ = 0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lapack

from lme.engine.choice import choose
from lme.engine.crossproducts import CrossProducts, by_rows
from lme.engine.kernel import Kernel
from lme.engine.relcov import colour, gather
from lme.engine.rows import Problem, RowSums
from lme.families.base import Pointwise

Array = NDArray[np.float64]

#: Newton decrement (squared) below which another iteration cannot be seen.
_TOLERANCE = 1e-11
_MAX_ITERATIONS = 100
_MAX_HALVINGS = 30


@dataclass(slots=True)
class Modes:
    """The conditional modes at one point, and what was computed on the way.

    Attributes
    ----------
    gamma : (p,) array
        Coefficients on the basis.
    u, b : lists of (l, p) arrays
        Spherical and original modes, internal basis of the random effects.
    rows : RowSums
        All rows at the modes, with derivatives of all orders.
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
    rows: RowSums
    penalized: float
    cross: CrossProducts
    logdet: float
    iterations: int

    @property
    def eta(self) -> Array:
        """Linear predictor of the rows in memory."""
        return self.rows.eta

    @property
    def at(self) -> Pointwise:
        """Deviance and derivatives of the rows in memory."""
        return self.rows.at


@dataclass(slots=True)
class _State:
    """One iterate."""

    gamma: Array
    u: list[Array]
    b: list[Array]
    rows: RowSums
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
        rows = problem.at(gamma, b, extra, order)
        value = rows.deviance + sum(float(np.vdot(v, v)) for v in u)
        return _State(gamma, u, b, rows, value if np.isfinite(value) else np.inf)

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
        here.rows.complete()
        cross = here.rows.cross(observed=False)
        schur = self.load(cross).factor(lambdas)
        if schur is None:
            return None
        return Modes(
            here.gamma,
            here.u,
            here.b,
            here.rows,
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
        for observed in (False,) if canonical else (True, False):
            step = self._newton(here, lambdas, observed, joint)
            if step is None:
                continue
            gamma, u, decrement = step
            fisher = not (observed or canonical)
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
        self, here: _State, lambdas: Sequence[Array], observed: bool, joint: bool
    ) -> tuple[Array, list[Array], float] | None:
        """The next point by weighted least squares, and the squared decrement.

        None when the weights do not give a direction of descent.
        """
        problem, rows = self.problem, here.rows
        gamma, u = here.gamma, here.u
        # The working response is never divided by W, which may vanish.
        cross = rows.cross(observed, fixed=joint)
        kernel = self.load(cross)
        with np.errstate(invalid="ignore", divide="ignore"):
            schur = kernel.factor(lambdas)
        if schur is None:
            return None
        gathered = [-0.5 * part for part in rows.Zg]
        ZWZb, XWZb = rows.product(observed, here.b, fixed=joint)
        each = zip(gathered, ZWZb, strict=True)
        rhs = [(score + part)[:, :, None] for score, part in each]
        change = np.zeros(gamma.size)
        decrement = 0.0
        if joint and gamma.size:
            score = -0.5 * rows.Xg
            right = score + XWZb
            for D, s in zip(cross.dense, kernel.solve(rhs), strict=True):
                right = right - by_rows(D).T @ s.ravel()
            RX, info = lapack.dpotrf(schur.matrix, lower=0)
            if info != 0:
                return None
            change, _ = lapack.dpotrs(RX, right, lower=0)
            rhs = [
                r - (D @ change)[:, :, None]
                for r, D in zip(rhs, cross.dense, strict=True)
            ]
            decrement += float(change @ score)
        b_new = [modes[:, :, 0] for modes in kernel.solve(rhs)]
        Ab, _ = rows.product(observed, b_new)
        parts = zip(problem.factors, rhs, Ab, lambdas, strict=True)
        u_new = [gather(f.known, (r[:, :, 0] - a) @ lam) for f, r, a, lam in parts]
        spherical = zip(problem.factors, gathered, lambdas, strict=True)
        slopes = [gather(f.known, r @ lam) for f, r, lam in spherical]
        for old, new, slope in zip(u, u_new, slopes, strict=True):
            decrement += float(np.vdot(new - old, slope - old))
        # At the modes it is zero, and rounding gives it either sign.
        if not decrement >= -1e-10 * (1.0 + abs(here.value)):
            return None
        return gamma + change, u_new, max(decrement, 0.0)
