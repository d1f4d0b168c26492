"""Laplace criterion of a GLMM and its exact gradient in all parameters.

The parameters of the search are ``psi = (gamma, theta, extra)``: coefficients on an
orthogonal basis of X, covariance parameters in the internal basis, and, for families
that have one, the log of the dispersion or of the negative binomial's theta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import CrossProducts, by_rows, multiply, rows_times
from lme.engine.pirls import Modes, Pirls
from lme.engine.relcov import colour, gather, spread
from lme.engine.rows import Leverages, Problem

Array = NDArray[np.float64]

#: Logarithm of an extra parameter beyond which it counts as infinite (or zero): a
#: negative binomial with such a theta is a Poisson.
_FLAT = 25.0


@dataclass
class Evaluation:
    """The criterion at one point of the search.

    Attributes
    ----------
    theta : (m,) array
        All parameters ``psi`` (the name is the search's).
    value : float
        ``-2 log-likelihood`` approximated; inf where it cannot be had.
    gradient : (m,) array
    modes : Modes or None
    """

    theta: Array
    value: float
    gradient: Array
    modes: Modes | None
    criterion: Laplace
    lambdas: Sequence[Array] = ()
    adjoints: Sequence[Array] = ()

    def curvature(self) -> Array:
        """Model of the Hessian, (m, m): see `Laplace.curvature`."""
        return self.criterion.curvature(self)


@dataclass(frozen=True, slots=True)
class _Response:
    """How the modes move with ``c``: ``v = H_o^-1 Lambda'Z'c`` and what it implies.

    Attributes
    ----------
    effects : list of (l, p) arrays
        ``Lambda v``.
    fixed : (p,) array
        Where coefficients move with the modes, their part.
    v : list of (l, p) arrays
    Z : list of (l, p) arrays
        ``Z'r`` with ``r = c - W_o (Z Lambda v + X fixed)``.
    X : (p,) array
        ``X'r`` on the basis; empty where coefficients are not parameters.
    """

    effects: list[Array]
    fixed: Array
    v: list[Array]
    Z: list[Array]
    X: Array


def needs_gradient(at: Evaluation) -> None:
    """Take the value from a point without a gradient: no search could leave it."""
    if not (np.isfinite(at.value) and np.isfinite(at.gradient).all()):
        at.value = np.inf


class Laplace:
    """Laplace approximation, jointly in coefficients and covariance parameters.

    Parameters
    ----------
    problem : Problem
    observed : bool
        Use the observed instead of the expected information in ``log|H|``; they
        differ for links that are not canonical.
    joint : bool
        Coefficients minimise the penalized deviance together with the modes
        (``nAGQ = 0``); the search is then over theta and extra alone.
    """

    def __init__(
        self, problem: Problem, *, observed: bool = False, joint: bool = False
    ) -> None:
        self.problem = problem
        self.observed = observed
        self.joint = joint
        self.pirls = Pirls(problem)
        self.evaluations = 0
        self.iterations = 0
        self.gamma, self._lowest = np.zeros(problem.p), np.inf
        self._constant: float | None = None
        self._u = [np.zeros((f.levels, f.values.shape[1])) for f in problem.factors]

    def constant(self, extra: float) -> float:
        """What makes the criterion ``-2 log-likelihood``; fixed without an extra."""
        problem = self.problem
        if problem.family.extra is None and self._constant is not None:
            return self._constant
        self._constant = problem.constant(extra)
        return self._constant

    def split(self, psi: Array) -> tuple[Array, Array, float]:
        """Coefficients, covariance parameters and extra of a point."""
        k = self.problem.template.size
        p = 0 if self.joint else self.problem.p
        gamma = self.gamma if self.joint else psi[:p]
        extra = float(psi[p + k]) if psi.size > p + k else 0.0
        return gamma, psi[p : p + k], min(max(extra, -_FLAT), _FLAT)

    def evaluate(self, psi: Array, gradient: bool = True) -> Evaluation:
        """Value and exact gradient.

        Notes
        -----
        ``sum dev + |u|^2 + log|H|`` at the modes, plus the constant that makes it
        ``-2 log-likelihood``. With ``g`` the derivative of the deviance in eta, ``h``
        the diagonal of ``Z Lambda H^-1 Lambda'Z'``, ``c = h dW/deta`` and ``v = H_o^-1
        Lambda'Z'c``, implicit differentiation at the modes gives ``X'(g + r)`` with
        ``r = c - W_o Z Lambda v`` for the coefficients (`numerics`, section 5).
        """
        self.evaluations += 1
        problem = self.problem
        gamma, theta, extra = self.split(psi)
        lambdas = problem.template.lambdas(theta)
        modes = self.pirls.solve(gamma, lambdas, self._u, extra, joint=self.joint)
        bad = Evaluation(psi, np.inf, np.full(psi.size, np.nan), None, self)
        if modes is None:
            return bad
        if self.observed:
            self._take_observed(modes, lambdas)
        self.iterations += modes.iterations
        constant = self.constant(extra)
        value = modes.penalized + modes.logdet + constant
        if not np.isfinite(value):
            return bad
        self._keep(modes, float(value))
        out = Evaluation(psi, float(value), np.empty(0), modes, self, lambdas)
        if gradient:
            self._differentiate(out, extra)
            needs_gradient(out)
        return out

    def _keep(self, modes: Modes, value: float) -> None:
        """Start the next modes from these.

        Coefficients that move with the modes may have gone to another minimum at a far
        point: those of the best point so far stay.
        """
        if not self.joint:
            self._u = modes.u
        elif value <= self._lowest:
            self._u, self.gamma, self._lowest = modes.u, modes.gamma, value

    def _take_observed(self, modes: Modes, lambdas: Sequence[Array]) -> None:
        """Let ``log|H|`` be that of the Hessian of the penalized deviance itself."""
        if modes.rows.alike:
            return
        modes.cross = modes.rows.cross(observed=True)
        schur = self.pirls.load(modes.cross).factor(lambdas)
        modes.logdet = np.inf if schur is None else schur.logdet

    def _differentiate(self, at: Evaluation, extra: float) -> None:
        """Fill in the gradient and the adjoints of ``log|H|``."""
        problem, modes, kernel = self.problem, at.modes, self.pirls.kernel
        if modes is None or kernel is None:
            raise ValueError("No modes to differentiate at.")
        at.adjoints = kernel.adjoint(np.zeros((0, 0)))
        sums = modes.rows.leverages(*kernel.inverse(), self.observed)
        response = self._response(sums, modes, at.lambdas)
        if response is None:
            at.gradient = np.full(at.theta.size, np.nan)
            return
        parts = [] if self.joint else [modes.rows.Xg + response.X]
        parts.append(self._covariance_part(at, response))
        if problem.family.extra is not None:
            slope = sums.slope - 0.5 * float(response.fixed @ sums.fixed_slope)
            for dg, part in zip(sums.random_slope, response.effects, strict=True):
                slope -= 0.5 * float(np.vdot(dg, part))
            # Beyond the bound the criterion does not change with it any more.
            parts.append(np.array([slope if abs(extra) < _FLAT else 0.0]))
        at.gradient = np.concatenate(parts)

    def _response(
        self, sums: Leverages, modes: Modes, lambdas: Sequence[Array]
    ) -> _Response | None:
        """How the modes move with ``c``; None if the observed Hessian has no factor."""
        problem, kernel, rows = self.problem, self.pirls.kernel, modes.rows
        if kernel is None:
            raise ValueError("No factorization yet.")
        same = (self.observed or rows.alike) and not self.joint
        cross, schur = modes.cross, None
        if not same:
            cross = rows.cross(observed=True, fixed=self.joint)
            kernel.load(cross)
            schur = kernel.factor(lambdas)
            if schur is None:
                return None
        right = [r[:, :, None] for r in sums.Z]
        fixed: Array = np.zeros(problem.p)
        if self.joint and schur is not None and problem.p:
            below = sums.X
            for D, s in zip(cross.dense, kernel.solve(right), strict=True):
                below = below - by_rows(D).T @ s.ravel()
            fixed = np.asarray(np.linalg.solve(schur.matrix, below))
            right = [
                r - (D @ fixed)[:, :, None]
                for r, D in zip(right, cross.dense, strict=True)
            ]
        effects = [s[:, :, 0] for s in kernel.solve(right)]
        ZWZ, XWZ = rows.product(True, effects, fixed=not self.joint)
        Z = [r[:, :, 0] - a for r, a in zip(right, ZWZ, strict=True)]
        each = zip(problem.factors, Z, lambdas, strict=True)
        v = [gather(f.known, r @ lam) for f, r, lam in each]
        if not same:
            kernel.load(modes.cross)
            kernel.factor(lambdas)
        return _Response(
            effects, fixed, v, Z, np.zeros(0) if self.joint else sums.X - XWZ
        )

    def _covariance_part(self, at: Evaluation, response: _Response) -> Array:
        """Gradient in theta through ``lambda``."""
        template = self.problem.template
        modes = at.modes
        if modes is None:
            raise ValueError("No modes to differentiate at.")
        out = np.zeros(template.size)
        inner = []
        for f, lam in enumerate(at.lambdas):
            known = self.problem.factors[f].known
            plain = modes.rows.Zg[f]
            bar = (plain + response.Z[f]).T @ colour(known, modes.u[f])
            bar -= 0.5 * plain.T @ colour(known, response.v[f])
            inner.append(bar + 2.0 * at.adjoints[f] @ lam)
        jacobians = template.jacobians(self.split(at.theta)[1])
        for slot, J in zip(template.slots, jacobians, strict=True):
            block = inner[slot.factor][slot.columns, slot.columns]
            out[slot.theta] += J.reshape(len(J), block.size) @ block.ravel()
        return out

    def fixed_information(self, at: Evaluation) -> Array:
        """``X'V^-1X`` of the working model, on the basis of X, (p, p)."""
        if at.modes is None:
            raise ValueError("No modes at a point without a value.")
        self._load_expected(at.modes, at.lambdas)
        return self._fixed_information(at.modes)

    def _load_expected(self, modes: Modes, lambdas: Sequence[Array]) -> CrossProducts:
        """The kernel at the expected weights: the working linear mixed model."""
        cross = modes.cross
        if self.observed and not modes.rows.alike:
            cross = modes.rows.cross(observed=False)
        self.pirls.load(cross).factor(lambdas)
        return cross

    def _fixed_information(self, modes: Modes) -> Array:
        kernel = self.pirls.kernel
        if kernel is None:
            raise ValueError("No factorization yet.")
        XWX, ZWX = modes.rows.fixed_products(observed=False)
        XVX = XWX.copy()
        if not XVX.size:
            return XVX
        for D, s in zip(ZWX, kernel.solve(ZWX), strict=True):
            XVX -= by_rows(D).T @ by_rows(s)
        return XVX

    def curvature(self, at: Evaluation) -> Array:
        """Model of the Hessian from the working linear mixed model, (m, m).

        Notes
        -----
        Expected information ``2 X'V^-1X`` for the coefficients and average
        information for theta (see `lme.engine.lmm.Criterion.curvature`, with sigma
        fixed at one); zero between them, as in expectation. The change of the weights
        with eta is left out.
        """
        problem, template, modes = self.problem, self.problem.template, at.modes
        kernel = self.pirls.kernel
        if modes is None or kernel is None:
            raise ValueError("No modes at a point without a value.")
        cross = self._load_expected(modes, at.lambdas)
        p, k, m = problem.p, template.size, at.theta.size
        d = [-0.5 * part for part in modes.rows.Zg]
        columns = [np.zeros((*v.shape, k)) for v in d]
        second = np.zeros((k, k))
        jacobians = template.jacobians(self.split(at.theta)[1])
        for slot, J in zip(template.slots, jacobians, strict=True):
            f = slot.factor
            lam = at.lambdas[f][slot.columns, slot.columns]
            part = d[f][:, slot.columns]
            known = problem.factors[f].known
            Q = at.adjoints[f][slot.columns, slot.columns]
            Q = Q - part.T @ spread(known, part)
            change = J @ lam.T
            change = change + change.transpose(0, 2, 1)
            c = spread(known, rows_times(part, change))
            columns[f][:, slot.columns, slot.theta] = c
            QJ = (Q @ J).reshape(len(J), Q.size)
            second[slot.block] += 2.0 * J.reshape(len(J), Q.size) @ QJ.T
        AC, _ = multiply(cross, columns)
        information = second
        for c, ac, s in zip(columns, AC, kernel.solve(AC), strict=True):
            information += by_rows(c).T @ by_rows(ac)
            information -= by_rows(ac).T @ by_rows(s)
        out = np.zeros((m, m))
        start = 0 if self.joint else p
        if not self.joint:
            out[:p, :p] = 2.0 * self._fixed_information(modes)
        out[start : start + k, start : start + k] = information
        if m > start + k:
            # log(dispersion) of n observations has information of about n.
            out[-1, -1] = max(float(problem.n), 1.0)
        return out


def differenced_hessian(criterion: Laplace, point: Array) -> Array:
    """Hessian of a criterion by differences of its exact gradient, (m, m)."""
    out = np.empty((point.size, point.size))
    for i, unit in enumerate(np.eye(point.size)):
        step = 1e-4 * max(1.0, abs(float(point[i])))
        high = criterion.evaluate(point + step * unit).gradient
        low = criterion.evaluate(point - step * unit).gradient
        out[i] = (high - low) / (2.0 * step)
    return 0.5 * (out + out.T)
