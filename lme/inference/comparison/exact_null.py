"""The exact distribution of a likelihood ratio for one variance of a linear model.

With one variance under test and none beside it, the statistic depends on normal
variables and the eigenvalues of two matrices alone, whatever the sample size. The
chi-square mixture of large samples has half of its mass at zero; the exact
distribution often has two thirds or more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.engine.decompositions import orthonormal
from lme.errors import FitError
from lme.inference.comparison.boundary import cones
from lme.inference.comparison.candidates import Candidate, Component
from lme.inference.comparison.nesting import Nesting

Array = NDArray[np.float64]

#: Logarithms of the variance ratio, times an average eigenvalue, that are tried.
_GRID = np.linspace(-12.0, 16.0, 141)
#: Random effects whose eigenvalues are computed at most.
_MOST = 5000
#: Numbers in one chunk of replicates.
_NUMBERS = 4_000_000


@dataclass(frozen=True)
class Spectrum:
    """What the null distribution depends on.

    Attributes
    ----------
    mu, mu_count : (r,) arrays
        Distinct positive eigenvalues of ``Z'P_0Z``, with P_0 the projection that
        removes the fixed effects, and how often each occurs.
    xi, xi_count : (s,) arrays
        Those of ``Z'Z``, or of ``Z'P_0Z`` again for a restricted likelihood.
    n : int
        Rows, or rows less fixed effects for a restricted likelihood.
    residual : int
        Rows less fixed effects.
    tested : int
        Fixed effects that are tested with the variance.
    """

    mu: Array
    mu_count: Array
    xi: Array
    xi_count: Array
    n: int
    residual: int
    tested: int


def spectrum(small: Candidate, large: Candidate, nested: Nesting) -> Spectrum:
    """The spectrum for one variance that `large` has and `small` has not.

    Raises
    ------
    FitError
        If the models differ by something else, or have another family.
    """
    if large.distribution != "gaussian(identity)":
        raise FitError(
            f"The models are of the family {large.distribution}.",
            "The exact test is for linear mixed models.",
            "Use test='boot'.",
        )
    if large.residual:
        raise FitError(
            f"The models have the residual structure {' + '.join(large.residual)}.",
            "The exact test is for independent residuals of one variance.",
            "Use test='boot'.",
        )
    if large.known_sigma is not None:
        raise FitError(
            "The models have a known sigma.",
            "The exact test is for a residual variance that is estimated.",
            "Use test='boot'.",
        )
    if large.held or small.held:
        raise FitError(
            "Elements of theta are held in the models.",
            "The exact test is for variances that are estimated.",
            "Use test='boot'.",
        )
    found = cones(large, nested)
    tested = large.X.shape[1] - small.X.shape[1]
    plain = all(
        large.components[c.component].structure in ("us", "diag", "homdiag")
        for c in found
    )
    one = sum(c.size for c in found) == 1 == large.npar - small.npar - tested
    if not (plain and one):
        raise FitError(
            "The models do not differ by one variance.",
            "The exact test is for one more variance, without a covariance.",
            "Use test='boot', or the chi-square mixture.",
        )
    cone = found[0]
    component = large.components[cone.component]
    # A structure of equal variances has one variance for all its columns.
    equal = component.structure == "homdiag"
    columns = component.values if equal else component.values @ cone.null
    q = component.levels * columns.shape[1]
    if q > _MOST:
        raise FitError(
            f"The variance is that of {q} random effects.",
            f"The exact test takes the eigenvalues of at most {_MOST}.",
            "With so many, use the chi-square mixture.",
        )
    return _spectrum(small, large, component, columns)


def _spectrum(
    small: Candidate,
    large: Candidate,
    component: Component,
    columns: Array,
) -> Spectrum:
    n, width = columns.shape
    codes, levels, known = component.codes, component.levels, component.known
    rows = np.repeat(np.arange(n), width)
    where = (codes[:, None] * width + np.arange(width)).ravel()
    Z = sparse.csr_matrix((columns.ravel(), (rows, where)), (n, levels * width))
    if known is not None:
        root = known.colour(np.eye(levels))
        Z = sparse.csr_matrix(Z @ sparse.kron(root, np.eye(width), format="csr"))
    basis, _ = orthonormal(large.X * np.sqrt(large.weights)[:, None])
    ZX = Z.T @ basis
    gram = (Z.T @ Z).toarray()
    mu = _distinct(np.asarray(np.linalg.eigvalsh(gram - ZX @ ZX.T)))
    residual = n - large.X.shape[1]
    tested = large.X.shape[1] - small.X.shape[1]
    if large.reml:
        return Spectrum(*mu, *mu, residual, residual, 0)
    # The effects of one column do not overlap.
    alone = width == 1 and known is None
    inner = np.sort(gram.diagonal()) if alone else np.linalg.eigvalsh(gram)
    xi = _distinct(np.asarray(inner))
    return Spectrum(*mu, *xi, n, residual, tested)


def _distinct(values: Array) -> tuple[Array, Array]:
    """Distinct positive eigenvalues and their multiplicities."""
    values = values[values > 1e-10 * values.max(initial=0.0)]
    if not values.size:
        return np.zeros(0), np.zeros(0)
    # Sorted: a gap that rounding does not explain begins another value.
    new = np.append(True, np.diff(values) > 1e-9 * values[-1])
    counts = np.bincount(np.cumsum(new) - 1).astype(float)
    return np.asarray(values[new]), counts


def exact_statistics(found: Spectrum, nsim: int, rng: np.random.Generator) -> Array:
    """Draws from the null distribution of the statistic, (nsim,).

    Notes
    -----
    Theorem 1 of Crainiceanu & Ruppert (2004, J. R. Stat. Soc. B 66:165,
    doi:10.1111/j.1467-9868.2004.00438.x). With squares of standard normal variables
    ``w_s^2``, T their sum, and ``D(l) = sum_s w_s^2 / (1 + l mu_s)`` the statistic is

        sup over l >= 0 of  n log(T / D(l)) - sum_s log(1 + l xi_s),

    and in addition ``n log(1 + sum_k u_k^2 / T)`` for fixed effects under test. The
    supremum is taken on a grid of log l and improved by a parabola.
    """
    out = np.empty(nsim)
    center = found.mu.mean() if found.mu.size else 1.0
    ratio = np.exp(_GRID) / center
    shrink = 1.0 / (1.0 + np.outer(found.mu, ratio))
    penalty = found.xi_count @ np.log1p(np.outer(found.xi, ratio))
    others = found.residual - int(found.mu_count.sum())
    step = max(1, _NUMBERS // (len(found.mu) + len(ratio)))
    for first in range(0, nsim, step):
        m = min(step, nsim - first)
        squares = rng.chisquare(found.mu_count, (m, len(found.mu)))
        rest = rng.chisquare(others, m) if others else np.zeros(m)
        total = squares.sum(axis=1) + rest
        D = squares @ shrink + rest[:, None]
        values = found.n * np.log(total[:, None] / D) - penalty
        top = np.maximum(_peaks(values), 0.0)
        if found.tested:
            tested = rng.chisquare(found.tested, m)
            top += found.n * np.log1p(tested / total)
        out[first : first + m] = top
    return out


def _peaks(values: Array) -> Array:
    """Largest value of each row (m, g), by the parabola through three points."""
    rows = np.arange(len(values))
    i = np.clip(values.argmax(axis=1), 1, values.shape[1] - 2)
    left, middle, right = (values[rows, i + k] for k in (-1, 0, 1))
    bend = 2.0 * middle - left - right
    slope = 0.5 * (right - left)
    with np.errstate(divide="ignore", invalid="ignore"):
        peak = middle + np.where(bend > 0.0, 0.5 * slope**2 / bend, 0.0)
    peak = np.where(np.abs(slope) <= bend, peak, -np.inf)
    return np.asarray(np.maximum(values.max(axis=1), peak), dtype=np.float64)
