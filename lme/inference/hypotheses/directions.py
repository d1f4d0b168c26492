"""How ``X'V^-1 X`` answers to the covariance of the response.

With ``W = Z'V^-1 X (X'V^-1 X)^(-1/2)`` everything that degrees of freedom need is a
product of W, of ``B = Z'V^-1 Z``, and of small symmetric matrices that say how the
covariance of one level changes. All of it comes from the cross-products: no array
has a row for each row of the data.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.covariance.known import Known
from lme.engine.crossproducts import by_rows, multiply
from lme.engine.lmm import Evaluation
from lme.engine.relcov import colour, gather, spread
from lme.errors import FitError
from lme.fit import Fit

Array = NDArray[np.float64]

#: Numbers in one chunk of columns of B.
_CHUNK = 4_000_000


@dataclass(frozen=True)
class Direction:
    """A change of V: ``Z_f (I kron change) Z_f'`` for one grouping factor f.

    Attributes
    ----------
    factor : int
    change : (p_f, p_f) array
        Symmetric, in the internal basis.
    known : Known or None
        Covariance K between the levels, in place of the identity matrix.
    parameter : int
        Parameter of the search that it belongs to, where it belongs to one.
    """

    factor: int
    change: Array
    known: Known | None = None
    parameter: int = -1


def evaluated(fit: Fit, gradient: bool = False) -> Evaluation:
    """The criterion at the estimates; its kernel holds the factorization.

    Raises
    ------
    FitError
        If it cannot be evaluated there: nearly nothing is left to the residuals.
    """
    theta = fit.problem.template.internal(fit.theta)
    at = fit.criterion.evaluate(theta, gradient=gradient)
    if theta.size and not at.lambdas:
        raise FitError(
            "The criterion cannot be evaluated at the estimates.",
            "Degrees of freedom and tests need a residual variance above zero.",
            "Look for the response among the random effects.",
        )
    return at


def root(fit: Fit) -> Array:
    """``T`` (p, p) with ``T T' = (X'V^-1 X)^-1``, in the user's columns."""
    if not fit.beta.size:
        return fit.RX
    return np.asarray(np.linalg.inv(fit.RX), dtype=np.float64)


def apply_inverse(at: Evaluation, vectors: Sequence[Array]) -> list[Array]:
    """``Z'V^-1 Z c`` for c given per factor as (l, p, r) arrays."""
    cross = at.criterion.problem.cross
    first, _ = multiply(cross, vectors)
    second, _ = multiply(cross, at.criterion.kernel.solve(first))
    return [a - b for a, b in zip(first, second, strict=True)]


def whitened(at: Evaluation) -> list[Array]:
    """``W = Z'V^-1 X T`` per factor, (l, p_f, p)."""
    cross = at.criterion.problem.cross
    half = np.linalg.inv(at.RX) if at.RX.size else at.RX
    rhs = [dense[:, :, :-1] @ half for dense in cross.dense]
    below, _ = multiply(cross, at.criterion.kernel.solve(rhs))
    return [a - b for a, b in zip(rhs, below, strict=True)]


def sandwiches(directions: Sequence[Direction], W: Sequence[Array]) -> Array:
    """``T'X'V^-1 V_i V^-1 X T`` for each direction, (k, p, p)."""
    p = W[0].shape[2] if W else 0
    out = np.zeros((len(directions), p, p))
    for i, direction in enumerate(directions):
        w = W[direction.factor]
        out[i] = by_rows(w).T @ by_rows(changed(direction, w))
    return out


def changed(direction: Direction, vectors: Array) -> Array:
    """The direction applied to its factor's effects (l, p_f, r)."""
    return spread(direction.known, np.matmul(direction.change, vectors))


def columns_of_inverse(at: Evaluation) -> Iterator[tuple[int, list[Array]]]:
    """``B = T'Z'V^-1 Z T`` in chunks of columns.

    T is a root of the known covariances between levels, else the identity.

    Yields
    ------
    int
        The grouping factor of the columns.
    list of (l_f, p_f, m, p_g) arrays
        Per factor f the rows of B for m levels of that factor g.
    """
    cross = at.criterion.problem.cross
    total = sum(cross.sizes)
    for g, (levels, p) in enumerate(zip(cross.levels, cross.widths, strict=True)):
        step = max(1, _CHUNK // max(1, total * p))
        for start in range(0, levels, step):
            m = min(step, levels - start)
            unit = [
                np.zeros((size, width, m * p))
                for size, width in zip(cross.levels, cross.widths, strict=True)
            ]
            rows = np.repeat(np.arange(start, start + m), p)
            unit[g][rows, np.tile(np.arange(p), m), np.arange(m * p)] = 1.0
            unit[g] = colour(cross.relation(g), unit[g])
            found = [
                gather(cross.relation(f), b)
                for f, b in enumerate(apply_inverse(at, unit))
            ]
            yield g, [b.reshape(*b.shape[:2], m, p) for b in found]
