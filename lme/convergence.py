"""The verdict on a search: converged, singular or not, and what to do about it.

The gradient is exact, so it is judged in the metric of the Hessian: the decrease that
a Newton step still promises, which no change of units can alter. There is nothing to
guess and no false alarm to suppress.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

#: Relative size below which an eigenvalue of the Hessian counts as zero.
FLAT = 1e-8
#: Change of the criterion, when theta changes by its own size, that counts as none.
NO_CHANGE = 1e-3
#: A diagonal element of the relative factor (columns in unit mean square) below this
#: is a direction without variance; the tolerance of lme4's isSingular.
SINGULAR = 1e-4


@dataclass(frozen=True, slots=True)
class Verdict:
    """How the search ended.

    Attributes
    ----------
    converged : bool
        The optimum was reached.
    singular : bool
        Some direction of some term has no variance.
    unique : bool
        No direction of the parameters leaves the criterion unchanged.
    message : str
        One sentence with the verdict, then what to do where there is something.
    decrease : float
        Decrease of the criterion that a further Newton step promises.
    gradient : (k,) array
        Gradient of the criterion in the internal, unit-free parameters.
    hessian : (k, k) array
        Model of the Hessian in the same parameters (average information with secant
        corrections).
    eigenvalues : (k,) array
        Of the average-information Hessian alone, ascending; one that is zero beside
        the largest means parameters that are not unique.
    boundary : tuple of str
        Each direction without variance, in words.
    kernel : str
    optimizer : str
    evaluations : int
    seconds : float
        Wall time of set-up and search, without the formula.
    """

    converged: bool
    singular: bool
    unique: bool
    message: str
    decrease: float
    gradient: Array
    hessian: Array
    eigenvalues: Array
    boundary: tuple[str, ...]
    kernel: str
    optimizer: str
    evaluations: int
    seconds: float

    def __str__(self) -> str:
        return self.message


def boundary_directions(
    factor: Array,
    internal: Array,
    scale: Array,
    columns: Sequence[str],
    group: str,
) -> list[str]:
    """Directions without variance of one term, in words.

    Parameters
    ----------
    factor : (p, p) array
        Relative covariance factor in the user's units.
    internal : (p, p) array
        The same in the internal, unit-free basis.
    scale : (p,) array
        Root mean squares of the term's columns.
    columns : sequence of str
    group : str
    """
    if (np.abs(internal.diagonal()) >= SINGULAR).all():
        return []
    covariance = factor @ factor.T
    variances = covariance.diagonal() * scale**2
    out = []
    zero = variances < SINGULAR**2
    for name, empty in zip(columns, zero, strict=True):
        if empty:
            kind = "intercept" if name == "(Intercept)" else f"slope of {name}"
            out.append(f"the {kind} for {group} has no variance")
    alive = np.flatnonzero(~zero)
    rank = int((np.linalg.svd(internal, compute_uv=False) >= SINGULAR).sum())
    lost = alive.size - rank
    if lost <= 0:
        return out
    if alive.size == 2:
        a, b = (int(column) for column in alive)
        sign = "+1" if covariance[a, b] > 0 else "-1"
        out.append(
            f"the correlation of {columns[a]} and {columns[b]} for {group} is {sign}"
        )
    else:
        out.append(
            f"{lost} of the {alive.size} directions of the effects for {group} "
            "have no variance (some combinations of them are perfectly correlated)"
        )
    return out


def judge(
    *,
    status: str,
    decrease: float,
    theta: Array,
    gradient: Array,
    hessian: Array,
    information: Array,
    boundary: Sequence[str],
    kernel: str,
    optimizer: str,
    evaluations: int,
    seconds: float,
) -> Verdict:
    """Form the verdict; see `Verdict` for the arguments."""
    eigenvalues = np.asarray(np.linalg.eigvalsh(information), dtype=np.float64)
    top = float(np.abs(eigenvalues).max()) if eigenvalues.size else 1.0
    converged = status == "converged"
    size = max(1.0, float(np.linalg.norm(theta)))
    flat = int((eigenvalues <= max(FLAT * top, NO_CHANGE / size**2)).sum())
    unique = flat == 0
    if not converged:
        reason = {
            "max_evaluations": f"it was cut short after {evaluations} evaluations",
            "stalled": "its steps became too small to change the criterion",
        }.get(status, status)
        message = (
            f"Not converged: {reason}; a further step promises a decrease of "
            f"{decrease:.2g}. Give it more evaluations "
            "(control={'max_evaluations': ...}), start elsewhere (start=...) or "
            "simplify the random effects."
        )
    elif not unique:
        message = (
            f"Converged, but {flat} direction{'s' if flat > 1 else ''} of the variance "
            "parameters can change without changing the fit: the model is not "
            "identifiable. The fixed effects and the objective are right, the "
            "variance components are not unique; drop a redundant random term."
        )
    elif boundary:
        message = (
            f"Converged to a singular fit: {'; '.join(boundary)}. "
            "Drop it, or keep it knowingly."
        )
    else:
        message = (
            f"Converged: the gradient is zero (predicted decrease {decrease:.1g}) "
            "and the Hessian is positive definite."
        )
    return Verdict(
        converged=converged,
        singular=bool(boundary),
        unique=unique,
        message=message,
        decrease=float(decrease),
        gradient=gradient,
        hessian=hessian,
        eigenvalues=eigenvalues,
        boundary=tuple(boundary),
        kernel=kernel,
        optimizer=optimizer,
        evaluations=evaluations,
        seconds=seconds,
    )
