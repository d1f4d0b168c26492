"""Estimates of many replicates under the names that users know."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lme.convergence import SINGULAR
from lme.covariance import STRUCTURES
from lme.engine.batched import Refits
from lme.engine.batched_parameters import diagonals
from lme.generalized import GLMMFit
from lme.inference.profile.parameters import parameters
from lme.inference.working import MixedFit
from lme.naming import Parameter

Array = NDArray[np.float64]


def parameter_values(fit: MixedFit, theta: Array, beta: Array, scale: Array) -> Array:
    """Every parameter of `lme.inference.profile.parameters.parameters`, (R, m).

    Parameters
    ----------
    fit : Fit or GLMMFit
        The model.
    theta : (R, k) array
        In the user's units.
    beta : (R, p) array
    scale : (R,) array
        Residual standard deviation of a linear model; dispersion or theta of a
        generalized one.

    Returns
    -------
    ndarray
        Standard deviations and correlations, sigma (the root of a dispersion),
        coefficients. A correlation beside a standard deviation of zero is NaN.
    """
    known = parameters(fit)
    out = np.empty((len(theta), len(known)))
    generalized = isinstance(fit, GLMMFit)
    unit = np.ones(len(theta)) if generalized else scale
    root = scale
    if isinstance(fit, GLMMFit) and fit.family.dispersion:
        root = np.sqrt(scale)
    parts = _random_parts(fit, theta)
    for j, each in enumerate(known):
        if each.kind == "beta":
            out[:, j] = beta[:, each.rows[0]]
        elif each.slot < 0:
            out[:, j] = root
        else:
            values = _random_value(parts[each.slot], each)
            out[:, j] = values * unit if each.kind == "sd" else values
    return out


def _random_parts(fit: MixedFit, theta: Array) -> list[tuple[Array, Array | None]]:
    """For each term its parameters, and its factors (R, p, p) if they are linear."""
    out: list[tuple[Array, Array | None]] = []
    first = 0
    for term in fit.design.terms:
        p = len(term.columns)
        if not p:
            continue
        structure = STRUCTURES[term.structure]
        last = first + structure.size(p)
        part = theta[:, first:last]
        factor = None
        if structure.linear:
            J = structure.jacobian(structure.start(p), p)
            factor = np.einsum("rk,kab->rab", part, J)
        out.append((part, factor))
        first = last
    return out


def _random_value(part: tuple[Array, Array | None], each: Parameter) -> Array:
    """Relative standard deviations or correlations, (R,)."""
    theta, factor = part
    if factor is None:
        entry: Array = theta[:, each.entry]
        return entry
    rows = [factor[:, row] for row in each.rows]
    lengths: list[Array] = [np.sqrt(np.einsum("rp,rp->r", v, v)) for v in rows]
    if each.kind == "sd":
        return lengths[0]
    product = lengths[0] * lengths[1]
    inner = np.einsum("rp,rp->r", rows[0], rows[1])
    out: Array = np.full(len(theta), np.nan)
    np.divide(inner, product, out=out, where=product > 0.0)
    limited: Array = np.clip(out, -1.0, 1.0)
    return limited


def singular_replicates(fit: MixedFit, refits: Refits) -> NDArray[np.bool_]:
    """Refits with a direction without variance, (R,); False where a refit failed."""
    diagonal = diagonals(fit.problem.template)
    inner = np.abs(refits.internal[:, diagonal])
    good = np.isfinite(refits.objective)
    out: NDArray[np.bool_] = good & np.asarray((inner < SINGULAR).any(axis=1))
    return out
