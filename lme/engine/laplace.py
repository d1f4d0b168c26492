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
from lme.engine.pirls import Modes, Pirls, Problem
from lme.engine.relcov import colour, gather, spread

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
        self.gamma = np.zeros(problem.p)
        self._constant: float | None = None
        self._u = [np.zeros((f.levels, f.values.shape[1])) for f in problem.factors]

    def constant(self, extra: float) -> float:
        """What makes the criterion ``-2 log-likelihood``; fixed without an extra."""
        problem = self.problem
        if problem.family.extra is None and self._constant is not None:
            return self._constant
        self._constant = float(
            problem.family.constant(problem.y, problem.weights, extra)
        )
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
        self._u = modes.u
        self.iterations += modes.iterations
        if self.joint:
            self.gamma = modes.gamma
        constant = self.constant(extra)
        value = modes.penalized + modes.logdet + constant
        if not np.isfinite(value):
            return bad
        out = Evaluation(psi, float(value), np.empty(0), modes, self, lambdas)
        if gradient:
            self._differentiate(out, extra)
        return out

    def _take_observed(self, modes: Modes, lambdas: Sequence[Array]) -> None:
        """Let ``log|H|`` be that of the Hessian of the penalized deviance itself."""
        if modes.at.Wo is modes.at.W:
            return
        problem = self.problem
        modes.cross = problem.pattern.cross_products(problem.empty, modes.at.Wo)
        schur = self.pirls.load(modes.cross).factor(lambdas)
        modes.logdet = np.inf if schur is None else schur.logdet

    def _leverage(self) -> Array:
        """``h_i``, the diagonal of ``Z Lambda H^-1 Lambda'Z'``, (n,)."""
        kernel = self.pirls.kernel
        if kernel is None:
            raise ValueError("No factorization yet.")
        return self.problem.pattern.quadratic(*kernel.inverse())

    def _differentiate(self, at: Evaluation, extra: float) -> None:
        """Fill in the gradient and the adjoints of ``log|H|``."""
        problem, modes, kernel = self.problem, at.modes, self.pirls.kernel
        if modes is None or kernel is None:
            raise ValueError("No modes to differentiate at.")
        point = modes.at
        none = np.zeros((0, 0))
        at.adjoints = kernel.adjoint(none)
        h = self._leverage()
        c = h * (point.dWo if self.observed else point.dW)
        response = self._response(c, modes, at.lambdas)
        if response is None:
            at.value, at.gradient = np.inf, np.full(at.theta.size, np.nan)
            return
        Zv, v = response
        r = c - point.Wo * Zv
        total = problem.gather(point.g + r)
        plain = problem.gather(point.g)
        parts = [] if self.joint else [problem.basis.T @ (point.g + r)]
        parts.append(self._covariance_part(at, total, plain, v))
        if problem.family.extra is not None:
            # Beyond the bound the criterion does not change with it any more.
            slope = self._extra_part(modes, h, Zv, extra)
            parts.append(slope if abs(extra) < _FLAT else np.zeros(1))
        at.gradient = np.concatenate(parts)

    def _response(
        self, c: Array, modes: Modes, lambdas: Sequence[Array]
    ) -> tuple[Array, list[Array]] | None:
        """``Z Lambda v`` and ``v = H_o^-1 Lambda'Z'c`` at the modes.

        With joint coefficients v has their part too, and the first result is ``Z
        Lambda v_u + X v_beta``. None when the observed Hessian cannot be factored.
        """
        problem, kernel = self.problem, self.pirls.kernel
        point = modes.at
        if kernel is None:
            raise ValueError("No factorization yet.")
        same = (self.observed or point.Wo is point.W) and not self.joint
        cross, schur = modes.cross, None
        if not same:
            columns = problem.basis if self.joint else problem.empty
            cross = problem.pattern.cross_products(columns, point.Wo)
            kernel.load(cross)
            schur = kernel.factor(lambdas)
            if schur is None:
                return None
        gathered = [r[:, :, None] for r in problem.gather(c)]
        fixed = np.zeros(problem.y.size)
        if self.joint and schur is not None and problem.p:
            right = problem.basis.T @ c
            for D, s in zip(cross.dense, kernel.solve(gathered), strict=True):
                right = right - by_rows(D).T @ s.ravel()
            part = np.linalg.solve(schur.matrix, right)
            fixed = problem.basis @ part
            gathered = [
                r - (D @ part)[:, :, None]
                for r, D in zip(gathered, cross.dense, strict=True)
            ]
        solved = kernel.solve(gathered)
        Zv = problem.spread([s[:, :, 0] for s in solved])
        Av = problem.gather(point.Wo * Zv)
        each = zip(problem.factors, gathered, Av, lambdas, strict=True)
        v = [gather(f.known, (r[:, :, 0] - a) @ lam) for f, r, a, lam in each]
        if not same:
            kernel.load(modes.cross)
            kernel.factor(lambdas)
        return fixed + Zv, v

    def _covariance_part(
        self, at: Evaluation, total: list[Array], plain: list[Array], v: list[Array]
    ) -> Array:
        """Gradient in theta through ``lambda``."""
        template = self.problem.template
        modes = at.modes
        if modes is None:
            raise ValueError("No modes to differentiate at.")
        out = np.zeros(template.size)
        inner = []
        for f, lam in enumerate(at.lambdas):
            known = self.problem.factors[f].known
            bar = total[f].T @ colour(known, modes.u[f])
            bar -= 0.5 * plain[f].T @ colour(known, v[f])
            inner.append(bar + 2.0 * at.adjoints[f] @ lam)
        jacobians = template.jacobians(self.split(at.theta)[1])
        for slot, J in zip(template.slots, jacobians, strict=True):
            block = inner[slot.factor][slot.columns, slot.columns]
            out[slot.theta] += J.reshape(len(J), block.size) @ block.ravel()
        return out

    def _extra_part(self, modes: Modes, h: Array, Zv: Array, extra: float) -> Array:
        """Derivative in the extra parameter."""
        problem = self.problem
        d = problem.family.extra_derivatives(
            problem.y, problem.weights, modes.eta, extra
        )
        change = d.Wo if self.observed else d.W
        value = d.deviance.sum() + d.constant + h @ change - 0.5 * d.g @ Zv
        return np.array([float(value)])

    def fixed_information(self, at: Evaluation) -> Array:
        """``X'V^-1X`` of the working model, on the basis of X, (p, p)."""
        if at.modes is None:
            raise ValueError("No modes at a point without a value.")
        self._load_expected(at.modes, at.lambdas)
        return self._fixed_information(at.modes)

    def _load_expected(self, modes: Modes, lambdas: Sequence[Array]) -> CrossProducts:
        """The kernel at the expected weights: the working linear mixed model."""
        cross = modes.cross
        if self.observed and modes.at.Wo is not modes.at.W:
            problem = self.problem
            cross = problem.pattern.cross_products(problem.empty, modes.at.W)
        self.pirls.load(cross).factor(lambdas)
        return cross

    def _fixed_information(self, modes: Modes) -> Array:
        problem, kernel = self.problem, self.pirls.kernel
        if kernel is None:
            raise ValueError("No factorization yet.")
        weighted = problem.basis * modes.at.W[:, None]
        XVX = problem.basis.T @ weighted
        ZWX = problem.gather(weighted)
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
        d = problem.gather(-0.5 * modes.at.g)
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
            out[-1, -1] = max(float(problem.y.size), 1.0)
        return out
