"""The deviance of a fitted model as a surface over all its parameters.

For each parameter a surface gives what its profile needs: a criterion in a basis in
which the parameter shows, the restriction that holds it, and the scale on which to
step. Linear models are profiled by the ML deviance, whatever they were fitted by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lme.engine import natural
from lme.engine.choice import choose
from lme.engine.deviance import Deviance
from lme.engine.laplace import Laplace
from lme.engine.lmm import Criterion
from lme.engine.quadrature import Quadrature
from lme.engine.relcov import Template
from lme.engine.restriction import Affine, Restriction, pinned
from lme.fit import Fit
from lme.generalized import GLMMFit
from lme.inference.profile.parameters import parameters
from lme.inference.profile.scales import IDENTITY, LOGARITHM, Scale
from lme.inference.profile.settings import Part, Setting, random_setting
from lme.inference.working import MixedFit
from lme.naming import Parameter
from lme.preparation import settle_zeros
from lme.search import Control, newton

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Optimum:
    """The minimum of a surface.

    Attributes
    ----------
    value : float
        The deviance.
    theta : (k,) array
        Covariance parameters in the engine's basis.
    rest : (m - k,) array
        Other parameters of the search: log sigma, or coefficients and extra.
    estimates : (len(parameters),) array
    """

    value: float
    theta: Array
    rest: Array
    estimates: Array


class Surface(Protocol):
    """The deviance of one kind of model."""

    parameters: tuple[Parameter, ...]
    optimum: Optimum

    def setting(self, parameter: Parameter) -> Setting:
        """What the profile of a parameter minimises."""

    def values(self, full: Any) -> Array:
        """All parameters at an evaluation, on their reported scales."""

    def moved_to(self, full: Any) -> Surface:
        """The surface with its minimum sought again from an evaluation."""


def surface(fit: MixedFit) -> Surface:
    """The deviance surface of a fitted model, at its minimum."""
    return Generalized(fit) if isinstance(fit, GLMMFit) else Linear(fit)


def random_values(
    known: Sequence[Parameter], template: Template, lambdas: Any, sigma: float
) -> Array:
    """Standard deviations and correlations; the other places stay NaN."""
    covariances = natural.relative_covariances(template, lambdas)
    out = np.full(len(known), np.nan)
    for i, each in enumerate(known):
        if each.slot < 0:
            continue
        C = covariances[each.slot]
        if each.kind == "sd":
            out[i] = sigma * np.sqrt(C[each.rows[0], each.rows[0]])
            continue
        first, second = each.rows
        size = np.sqrt(C[first, first] * C[second, second])
        if size > 0.0:
            out[i] = np.clip(C[first, second] / size, -1.0, 1.0)
    return out


@dataclass
class _KnownSigma:
    """An evaluation without log sigma among its parameters."""

    theta: Array
    value: float
    gradient: Array
    inner: Any
    index: int

    def curvature(self) -> Array:
        """Model of the Hessian, (m, m)."""
        rows = np.delete(self.inner.curvature(), self.index, axis=0)
        return np.asarray(np.delete(rows, self.index, axis=1))


class Linear:
    """ML deviance of a linear mixed model in theta and log sigma.

    Parameters
    ----------
    fit : Fit
    start : (k,) array, optional
        Where to seek the minimum, in the engine's basis; the estimates by default.
    """

    def __init__(self, fit: Fit, start: Array | None = None) -> None:
        self._fit = fit
        self.parameters = parameters(fit)
        problem = self._problem = fit.problem
        self._kernel, _ = choose(problem.cross, fit.convergence.kernel)
        criterion = Criterion(problem, self._kernel, False, fit.known_sigma)
        template = problem.template
        known = template.internal(fit.theta)
        if fit.reml or start is not None:
            theta = known if start is None else start
            outcome = newton(criterion.evaluate, theta, Control(), even=template.even())
            known = settle_zeros(criterion, outcome, template).theta
        at = criterion.evaluate(known, gradient=False)
        sigma2 = at.r2 / problem.n
        if fit.known_sigma is not None:
            sigma2 = fit.known_sigma**2
        log_sigma = 0.5 * float(np.log(sigma2))
        best = Deviance(problem, self._kernel).evaluate(np.append(at.theta, log_sigma))
        self.optimum = Optimum(
            best.value, at.theta, np.array([log_sigma]), self.values(best)
        )

    def values(self, full: Any) -> Array:
        """See `Surface`."""
        problem, full = self._problem, getattr(full, "inner", full)
        template = full.criterion.problem.template
        out = random_values(self.parameters, template, full.lambdas, full.sigma)
        beta = problem.level + full.coefficients
        if problem.p:
            beta = np.linalg.solve(problem.R, beta)
        for i, each in enumerate(self.parameters):
            if each.kind == "sigma":
                out[i] = full.sigma
            elif each.kind == "beta":
                out[i] = beta[each.rows[0]]
        return out

    def moved_to(self, full: Any) -> Linear:
        """See `Surface`."""
        template, full = self._problem.template, getattr(full, "inner", full)
        theta = natural.moved(
            full.criterion.problem.template, template, full.theta[: template.size]
        )
        return Linear(self._fit, theta)

    def _part(self, template: Template) -> Part:
        known = self._fit.known_sigma
        if known is not None:
            return Part(0, None, template.even(), known)
        return Part(0, template.size, np.append(template.even(), False))

    def _evaluator(self, criterion: Deviance) -> Callable[[Array], Any]:
        """The criterion in all parameters but a known sigma."""
        if self._fit.known_sigma is None:
            return criterion.evaluate
        k, log_sigma = self._problem.template.size, self.optimum.rest[0]

        def evaluate(x: Array) -> _KnownSigma:
            at = criterion.evaluate(np.insert(x, k, log_sigma))
            return _KnownSigma(x, at.value, np.delete(at.gradient, k), at, k)

        return evaluate

    def setting(self, parameter: Parameter) -> Setting:
        """See `Surface`."""
        template, x = self._problem.template, self.optimum.theta
        rest = self.optimum.rest
        part = self._part(template)
        end, combination = None, None
        restriction: Restriction
        scale: Scale
        if parameter.kind == "sigma":
            restriction, scale = pinned(part.even, template.size), LOGARITHM
        elif parameter.kind == "beta":
            unit = np.eye(self._problem.p)[parameter.rows[0]]
            combination = np.linalg.solve(self._problem.R.T, unit)
            restriction = pinned(np.append(part.even, False), part.even.size)
            scale, found = IDENTITY, self.optimum.estimates
            rest = np.append(rest, found[self.parameters.index(parameter)])
        else:
            other, restriction, scale, end = random_setting(
                parameter, template, self._part
            )
            x = natural.moved(template, other, x)
            template = other
        criterion = Deviance(
            replace(self._problem, template=template), self._kernel, combination
        )
        start = np.concatenate([x, rest])
        if self._fit.known_sigma is not None:
            start = np.delete(start, template.size)
        return Setting(
            self._evaluator(criterion),
            restriction,
            scale,
            start,
            end,
        )


class Generalized:
    """Approximate deviance of a GLMM in coefficients, theta and extra.

    Parameters
    ----------
    fit : GLMMFit
    start : (m,) array, optional
        Where to seek the minimum; the estimates by default.
    """

    def __init__(self, fit: GLMMFit, start: Array | None = None) -> None:
        self._fit = fit
        self.parameters = parameters(fit)
        problem = self._problem = fit.problem
        criterion = self._criterion(problem.template)
        x = fit.point
        if start is not None:
            even = self._part(problem.template).even
            outcome = newton(criterion.evaluate, start, Control(), even=even)
            x = settle_zeros(criterion, outcome, problem.template, problem.p).theta
        best = criterion.evaluate(x)
        p, k = problem.p, problem.template.size
        self.optimum = Optimum(
            best.value, x[p : p + k], np.delete(x, np.s_[p : p + k]), self.values(best)
        )

    def _criterion(self, template: Template) -> Laplace:
        problem = replace(self._problem, template=template)
        if self._fit.nAGQ > 1:
            return Quadrature(problem, self._fit.nAGQ)
        return Laplace(problem, observed=self._fit.laplace == "observed")

    def values(self, full: Any) -> Array:
        """See `Surface`."""
        criterion, problem = full.criterion, self._problem
        gamma, _, extra = criterion.split(full.theta)
        template = criterion.problem.template
        out = random_values(self.parameters, template, full.lambdas, 1.0)
        beta = np.linalg.solve(problem.R, gamma) if problem.p else gamma
        for i, each in enumerate(self.parameters):
            if each.kind == "beta":
                out[i] = beta[each.rows[0]]
            elif each.kind == "sigma":
                out[i] = np.exp(0.5 * extra)
            elif each.kind == "theta":
                out[i] = np.exp(extra)
        return out

    def moved_to(self, full: Any) -> Generalized:
        """See `Surface`."""
        template, p = self._problem.template, self._problem.p
        part = slice(p, p + template.size)
        x = full.theta.copy()
        x[part] = natural.moved(
            full.criterion.problem.template, template, full.theta[part]
        )
        return Generalized(self._fit, x)

    def _part(self, template: Template) -> Part:
        p, m = self._problem.p, self.optimum_size
        even = np.zeros(m, dtype=bool)
        even[p : p + template.size] = template.even()
        return Part(p, None, even)

    @property
    def optimum_size(self) -> int:
        """Number of parameters of the search."""
        extra = self._problem.family.extra is not None
        return self._problem.p + self._problem.template.size + int(extra)

    def setting(self, parameter: Parameter) -> Setting:
        """See `Surface`."""
        problem, template = self._problem, self._problem.template
        p, theta = problem.p, self.optimum.theta
        part, end = self._part(template), None
        m = part.even.size
        restriction: Restriction
        scale: Scale
        if parameter.kind == "beta":
            restriction, scale = self._coefficient(parameter, part), IDENTITY
        elif parameter.slot < 0:
            # The engine has the logarithm of sigma^2, or of theta.
            factor = 2.0 if parameter.kind == "sigma" else 1.0
            restriction, scale = pinned(part.even, m - 1, factor), LOGARITHM
        else:
            other, restriction, scale, end = random_setting(
                parameter, template, self._part
            )
            theta = natural.moved(template, other, theta)
            template = other
        rest = self.optimum.rest
        start = np.concatenate([rest[:p], theta, rest[p:]])
        evaluate = self._criterion(template).evaluate
        return Setting(
            evaluate,
            restriction,
            scale,
            start,
            end,
        )

    def _coefficient(self, parameter: Parameter, part: Part) -> Affine:
        """One combination ``c'gamma`` of the coefficients on the basis held."""
        problem, m = self._problem, part.even.size
        p = problem.p
        unit = np.eye(p)[parameter.rows[0]]
        c = np.linalg.solve(problem.R.T, unit)
        Q, _ = np.linalg.qr(c[:, None], mode="complete")
        A = np.zeros((m, m - 1))
        A[:p, : p - 1] = Q[:, 1:]
        A[p:, p - 1 :] = np.eye(m - p)
        along = np.zeros(m)
        along[:p] = c / (c @ c)
        even = np.concatenate([np.zeros(p - 1, dtype=bool), part.even[p:]])
        return Affine(A, along, np.zeros(m), even)
