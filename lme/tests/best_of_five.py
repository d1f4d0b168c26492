"""The least value that five optimizers of SciPy find from ten points each."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
from scipy import optimize

from lme.engine.choice import choose
from lme.engine.lmm import Criterion
from lme.engine.quadrature import criterion_of

#: SciPy's name, whether it takes the gradient, and its options. Those without a
#: gradient look for the basin; the best end of all is polished with it.
OPTIMIZERS: dict[str, tuple[bool, dict[str, Any]]] = {
    "L-BFGS-B": (True, {"maxiter": 300, "ftol": 1e-15, "gtol": 1e-8}),
    "BFGS": (True, {"maxiter": 200, "gtol": 1e-6}),
    "Nelder-Mead": (False, {"maxfev": 300, "xatol": 1e-4, "fatol": 1e-6}),
    "Powell": (False, {"maxfev": 300, "xtol": 1e-4, "ftol": 1e-9}),
    "COBYLA": (False, {"maxiter": 300, "tol": 1e-5}),
}
STARTS = 10


def fresh_criterion(record: Any) -> Any:
    """A criterion of its own for the model of a fit, linear or generalized."""
    if hasattr(record, "family"):
        observed = record.laplace == "observed"
        out = criterion_of(record.problem, record.nAGQ, observed)
        out.gamma = record.problem.R @ record.beta
        return out
    kernel, _ = choose(record.problem.cross, record.convergence.kernel)
    return Criterion(record.problem, kernel, record.reml, record.known_sigma)


def optimum(record: Any) -> Any:
    """The parameters of the search at the end of a fit."""
    if hasattr(record, "family"):
        return record.point
    return record.problem.template.internal(record.theta)


def starts(record: Any, seed: int, count: int = STARTS) -> list[Any]:
    """Points all over the space of covariance parameters; coefficients near ours.

    None is at the optimum: covariance parameters have random sizes between a tenth
    and ten, or ones, or nearly zero; coefficients are moved by about a standard error.
    """
    rng = np.random.default_rng(seed)
    at = optimum(record)
    template = record.problem.template
    first = 0
    if hasattr(record, "family") and record.nAGQ > 0:
        first = record.problem.p
    part = slice(first, first + template.size)
    ones = [
        slot.structure.start(slot.columns.stop - slot.columns.start)
        for slot in template.slots
    ]
    out = []
    for i in range(count):
        point = at + 0.1 * rng.standard_normal(at.size)
        theta = np.concatenate(ones)
        if i == 1:
            theta = 1e-2 * theta
        elif i > 1:
            size = 10.0 ** rng.uniform(-1.0, 1.0, theta.size)
            theta = size * (theta + 0.5 * rng.standard_normal(theta.size))
        point[part] = theta
        out.append(point)
    return out


def best_of_five(
    record: Any, seed: int, count: int = STARTS, names: Any = tuple(OPTIMIZERS)
) -> tuple[float, Any, str]:
    """Least value, where it is, and the optimizer that found it."""
    criterion = fresh_criterion(record)
    best: tuple[float, Any, str] = (np.inf, None, "")

    def of(name: str, gradient: bool) -> Callable[[Any], Any]:
        def value(psi: Any) -> Any:
            nonlocal best
            at = criterion.evaluate(np.array(psi, dtype=float), gradient=gradient)
            if at.value < best[0]:
                best = (float(at.value), np.array(psi), name)
            finite = np.isfinite(at.value)
            if not gradient:
                return at.value if finite else 1e10
            slope = at.gradient if finite else np.zeros(at.theta.size)
            return (at.value if finite else 1e10), slope

        return value

    def search(name: str, start: Any) -> None:
        gradient, options = OPTIMIZERS[name]
        with suppress(ValueError, FloatingPointError, np.linalg.LinAlgError):
            optimize.minimize(
                of(name, gradient),
                start,
                jac=gradient or None,
                method=name,
                options=options,
            )

    for name in names:
        for start in starts(record, seed, count):
            search(name, start)
    for name in ("L-BFGS-B", "BFGS"):
        search(name, best[1])
    return best


def extended_value(record: Any, psi: Any) -> float:
    """The criterion of a linear model in extended precision, with nothing of ours.

    Where the residual variance is 1e-10 of the others, double precision cannot tell
    values apart that differ by 1e-4, and the least of many is the luckiest.
    """
    wide = np.longdouble
    problem = record.problem
    n, p = problem.n, problem.p
    V = np.eye(n, dtype=wide)
    for factor, lam in zip(problem.factors, problem.template.lambdas(psi), strict=True):
        values = factor.values.astype(wide) @ lam.astype(wide)
        same = factor.codes[:, None] == factor.codes[None, :]
        V += np.where(same, values @ values.T, wide(0.0))
    A = np.column_stack([problem.basis, problem.residual]).astype(wide)
    logdet = wide(0.0)
    for j in range(n):
        pivot = V[j, j]
        logdet += np.log(pivot)
        ratio = V[j + 1 :, j] / pivot
        V[j + 1 :, j + 1 :] -= np.outer(ratio, V[j, j + 1 :])
        A[j + 1 :] -= np.outer(ratio, A[j])
        A[j] /= np.sqrt(pivot)
    H = A.T @ A
    for j in range(p):
        if record.reml:
            logdet += np.log(H[j, j])
        H[j + 1 :] -= np.outer(H[j + 1 :, j] / H[j, j], H[j])
    df = n - p if record.reml else n
    constant = wide(fresh_criterion(record).constant)
    return float(logdet + df * np.log(H[p, p]) + constant)
