"""Kenward and Roger's adjusted covariance, degrees of freedom and F scaling.

Kenward & Roger (1997, Biometrics 53:983, doi:10.2307/2533558), in the version of
Halekoh & Hojsgaard (2014, J. Stat. Softw. 59(9), doi:10.18637/jss.v059.i09), which
leaves out second derivatives of V: there are none when V is linear in its parameters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import by_rows
from lme.engine.lmm import Evaluation
from lme.engine.threads import suited_threads
from lme.errors import FitError
from lme.fit import Fit, fit_lmm
from lme.inference.held_elements import refuse_held
from lme.inference.hypotheses.directions import (
    Direction,
    apply_inverse,
    changed,
    columns_of_inverse,
    evaluated,
    root,
    sandwiches,
    whitened,
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class KenwardRoger:
    """What the method needs of a fit, whatever the hypothesis.

    Attributes
    ----------
    beta : (p,) array
        Of the REML fit.
    covariance : (p, p) array
        Adjusted.
    sigma : float
    root : (p, p) array
        ``root root' = (X'V^-1 X)^-1``.
    inner : (r, p, p) array
        ``T'X'V^-1 G_i V^-1 X T`` for the r derivatives ``G_i`` of V.
    weights : (r, r) array
        Covariance of the parameters of V.
    refitted : bool
        Whether an ML fit was fitted again by REML.
    """

    beta: Array
    covariance: Array
    sigma: float
    root: Array
    inner: Array
    weights: Array
    refitted: bool

    @property
    def label(self) -> str:
        """The method's name, with what it did to an ML fit."""
        return "Kenward-Roger, REML fit" if self.refitted else "Kenward-Roger"

    def df(self, L: Array) -> float:
        """Degrees of freedom of the independent rows of L, (q, p)."""
        return self._approximation(L)[0]

    def scaling(self, L: Array) -> float:
        """Factor of the F statistic."""
        return self._approximation(L)[1]

    def _approximation(self, L: Array) -> tuple[float, float]:
        """Degrees of freedom and scaling that match two moments of F."""
        q = len(L)
        # An orthonormal basis of the hypothesis in the whitened coefficients.
        basis = np.linalg.qr((L @ self.root).T)[0]
        parts = basis.T @ self.inner @ basis
        traces = np.trace(parts, axis1=1, axis2=2)
        A1 = float(traces @ self.weights @ traces)
        A2 = float(np.einsum("ij,iab,jba->", self.weights, parts, parts))
        if A2 == 0.0:
            return np.inf, 1.0
        B = (A1 + 6.0 * A2) / (2.0 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        bottom = 3.0 * q + 2.0 * (1.0 - g)
        c1, c2, c3 = g / bottom, (q - g) / bottom, (q + 2 - g) / bottom
        V0, V1, V2 = 1.0 + c1 * B, 1.0 - c2 * B, 1.0 - c3 * B
        if abs(V0) < 1e-10:
            V0 = 0.0
        rho = _ratio(1.0 - A2 / q, V1) ** 2 * V0 / (V2 * q)
        df = 4.0 + (q + 2) / (q * rho - 1.0)
        near = abs(df - 2.0) < 1e-2
        return df, 1.0 if near else df * (1.0 - A2 / q) / (df - 2.0)


def _ratio(above: float, below: float) -> float:
    """A quotient in which 0/0 is 1."""
    return 1.0 if max(abs(above), abs(below)) < 1e-14 else above / below


def kenward_roger(fit: Fit) -> KenwardRoger:
    """The adjusted covariance and its ingredients.

    Parameters
    ----------
    fit : Fit
        With its data; an ML fit is fitted again by REML.

    Notes
    -----
    Any linear parameters of V do. With V itself in place of the identity matrix of
    the residuals, ``V^-1 V = I`` leaves nothing to compute for that direction but n,
    ``tr(V^-1 G_i)`` and products that are known already.
    """
    refuse_held(fit, "Kenward-Roger", "Use ddf='satterthwaite'.")
    refitted = not fit.reml
    if refitted:
        fit = fit_lmm(fit.design, reml=True, **fit.options)
    at = evaluated(fit)
    G = directions(at)
    r, p = len(G) + 1, fit.beta.size
    with suited_threads(fit.problem.cross.sizes):
        W = whitened(at)
        inner = np.concatenate([sandwiches(G, W), np.eye(p)[None]])
        second = np.empty((r, r, p, p))
        second[-1] = inner
        second[:, -1] = inner
        second[:-1, :-1] = _second(at, G, W)
        traces = trace_products(at, G, fit.problem.n)
    product = np.einsum("iab,jbc->ijac", inner, inner)
    information = (
        traces
        - 2.0 * np.trace(second, axis1=2, axis2=3)
        + np.trace(product, axis1=2, axis2=3)
    )
    weights = _inverse((information + information.T) / 2.0)
    T = root(fit)
    plain = fit.sigma**2 * (T @ T.T)
    change = np.einsum("ij,ijab->ab", weights, second - product)
    change = (change + change.T) / 2.0
    adjusted = plain + 2.0 * fit.sigma**2 * (T @ change @ T.T)
    return KenwardRoger(fit.beta, adjusted, fit.sigma, T, inner, weights, refitted)


def _inverse(information: Array) -> Array:
    """Twice the inverse, over the directions that can be told apart."""
    scale = np.sqrt(np.maximum(information.diagonal(), np.finfo(float).tiny))
    inverse = np.linalg.pinv(
        information / np.outer(scale, scale), rcond=1e-12, hermitian=True
    )
    return np.asarray(2.0 * inverse / np.outer(scale, scale))


def directions(at: Evaluation) -> list[Direction]:
    """Derivatives of V in the variances and covariances of the random effects."""
    problem = at.criterion.problem
    template, found = problem.template, []
    for slot in template.slots:
        known = problem.cross.relation(slot.factor)
        p = slot.columns.stop - slot.columns.start
        width = template.widths[slot.factor]
        if not slot.structure.linear:
            raise FitError(
                "Kenward-Roger is not defined for a pattern of correlations.",
                "It needs a covariance that is linear in its parameters.",
                "Use ddf='satterthwaite'.",
            )
        if slot.structure.size(p) == 1:
            change = np.zeros((width, width))
            change[slot.columns, slot.columns] = np.eye(p)
            found.append(Direction(slot.factor, change, known))
            continue
        # The entries of lambda that are free are those of the covariance, too.
        pattern = slot.structure.jacobian(at.theta[slot.theta], p).any(axis=0)
        for a, b in zip(*np.nonzero(pattern), strict=True):
            change = np.zeros((width, width))
            rows = slot.columns.start + a, slot.columns.start + b
            change[rows] = change[rows[::-1]] = 1.0
            found.append(Direction(slot.factor, change, known))
    return found


def _second(at: Evaluation, G: list[Direction], W: list[Array]) -> Array:
    """``T'X'V^-1 G_i V^-1 G_j V^-1 X T`` for all pairs, (k, k, p, p)."""
    k, p = len(G), W[0].shape[2]
    moved = [changed(g, W[g.factor]) for g in G]
    out = np.empty((k, k, p, p))
    for j, (g, right) in enumerate(zip(G, moved, strict=True)):
        padded = [np.zeros_like(w) for w in W]
        padded[g.factor] = right
        B = apply_inverse(at, padded)
        for i, (h, left) in enumerate(zip(G, moved, strict=True)):
            out[i, j] = by_rows(left).T @ by_rows(B[h.factor])
    return out


def trace_products(at: Evaluation, G: list[Direction], n: int) -> Array:
    """``tr(V^-1 G_i V^-1 G_j)``, with V itself as the last direction."""
    k = len(G)
    out = np.zeros((k + 1, k + 1))
    out[k, k] = n
    seen = 0
    widths = at.criterion.problem.cross.widths
    moments = {
        (f, g): np.zeros((p, q, p, q))
        for f, p in enumerate(widths)
        for g, q in enumerate(widths)
    }
    diagonal = [np.zeros((p, p)) for p in widths]
    last = -1
    for g, blocks in columns_of_inverse(at):
        seen, last = (seen if g == last else 0), g
        for f, block in enumerate(blocks):
            levels, p, m, q = block.shape
            flat = block.transpose(1, 3, 0, 2).reshape(p * q, levels * m)
            moments[f, g] += (flat @ flat.T).reshape(p, q, p, q)
        own = blocks[g]
        index = np.arange(own.shape[2])
        diagonal[g] += own[seen + index, :, index, :].sum(axis=0)
        seen += own.shape[2]
    for i, one in enumerate(G):
        out[i, k] = out[k, i] = np.vdot(one.change, diagonal[one.factor])
        for j, two in enumerate(G):
            moment = moments[one.factor, two.factor]
            out[i, j] = np.einsum("ab,bcad,cd->", one.change, moment, two.change)
    return out
