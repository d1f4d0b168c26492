"""One regression in each group, for all groups at once.

Columns are made orthogonal within every group together, by Gram-Schmidt with a second
pass: p steps over the rows, whatever the number of groups.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.families.base import Family

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Codes = NDArray[np.intp]

#: Share of its length below which a column is dependent on those before it (R's).
RANK_TOLERANCE = 1e-7
#: Relative change of the deviance at which a group has converged: R's, and a smaller
#: one where scoring is not Newton's method and the last steps are not much smaller.
_CHANGE, _SMALL_CHANGE = 1e-8, 1e-12
_MAX_ITERATIONS = 60
_MAX_HALVINGS = 12


@dataclass(frozen=True)
class Groups:
    """Rows by group.

    Attributes
    ----------
    codes : (n,) intp
    count : int
    pick : (count, n) sparse matrix
        Sums rows by group.
    """

    codes: Codes
    count: int
    pick: sparse.csr_matrix

    def sums(self, rows: Array) -> Array:
        """Sums by group of (n,) or (n, r)."""
        return np.asarray(self.pick @ rows)


def groups_of(codes: Codes, count: int) -> Groups:
    """The groups that `codes` number."""
    indptr = np.arange(codes.size + 1)
    ones = np.ones(codes.size)
    rows = sparse.csr_matrix((ones, codes, indptr), shape=(codes.size, count))
    return Groups(codes, count, rows.T.tocsr())


@dataclass(frozen=True)
class Regressions:
    """The regression of each of G groups.

    Attributes
    ----------
    beta : (G, p) array
        A solution; 0 for dependent columns.
    unscaled : (G, p, p) array
        ``(X'WX)^-1`` over the independent columns, 0 elsewhere.
    determined : (G, p) bool
        Coefficients on which all solutions agree.
    rank : (G,) int
    deviance : (G,) array
        Residual (weighted) sum of squares, or deviance.
    eta : (n,) array
        Linear predictor, offset included.
    converged : (G,) bool
    """

    beta: Array
    unscaled: Array
    determined: Flags
    rank: NDArray[np.intp]
    deviance: Array
    eta: Array
    converged: Flags


@dataclass(frozen=True)
class Triangles:
    """``X_g = Q_g R_g`` of every group, with dependent columns marked.

    Attributes
    ----------
    Q : (n, p) array
        Orthonormal within groups; 0 for dependent columns.
    R : (G, p, p) array
        Upper triangular, 1 on the diagonal of dependent columns.
    dependent : (G, p) bool
    lengths : (G, p) array
        Of the columns of X.
    """

    Q: Array
    R: Array
    dependent: Flags
    lengths: Array

    def solve(self, groups: Groups, y: Array) -> Array:
        """Least-squares coefficients of y (n,), (G, p)."""
        right = groups.sums(self.Q * y[:, None])
        return np.asarray(np.linalg.solve(self.R, right[:, :, None])[:, :, 0])

    def unscaled(self) -> Array:
        """``(X'X)^-1`` over the independent columns."""
        inverse = np.linalg.inv(self.R) * ~self.dependent[:, None, :]
        inverse *= ~self.dependent[:, :, None]
        return np.asarray(inverse @ np.swapaxes(inverse, 1, 2))

    def determined(self) -> Flags:
        """Coefficients that no dependent column takes part in."""
        if not self.dependent.any():
            return ~self.dependent
        some = np.flatnonzero(self.dependent.any(axis=1))
        bad, lengths = self.dependent[some], self.lengths[some]
        upper = np.triu(self.R[some], 1) * bad[:, None, :]
        # Dependent column j is the sum over k of shares[k, j] times column k.
        shares = np.abs(np.linalg.solve(self.R[some], upper)) * lengths[:, :, None]
        touched = (shares > RANK_TOLERANCE * lengths[:, None, :]) & bad[:, None, :]
        found = ~self.dependent
        found[some] &= ~touched.any(axis=2)
        return found


def triangles(X: Array, groups: Groups) -> Triangles:
    """Gram-Schmidt in every group; a column is dependent by R's tolerance."""
    n, p = X.shape
    Q, R = np.zeros((n, p)), np.zeros((groups.count, p, p))
    dependent = np.zeros((groups.count, p), dtype=bool)
    lengths = np.sqrt(groups.sums(X**2))
    for j in range(p):
        v = X[:, j].copy()
        for _ in range(2 if j else 0):
            shares = groups.sums(Q[:, :j] * v[:, None])
            v -= np.einsum("nk,nk->n", Q[:, :j], shares[groups.codes])
            R[:, :j, j] += shares
        length = np.sqrt(groups.sums(v**2))
        dependent[:, j] = length <= RANK_TOLERANCE * lengths[:, j]
        R[:, j, j] = np.where(dependent[:, j], 1.0, length)
        inverse = np.where(dependent[:, j], 0.0, 1.0 / R[:, j, j])
        Q[:, j] = v * inverse[groups.codes]
    return Triangles(Q, R, dependent, lengths)


def least_squares(
    y: Array, X: Array, groups: Groups, weights: Array | None, offset: Array | None
) -> Regressions:
    """Weighted least squares in every group.

    Parameters
    ----------
    y : (n,) array
    X : (n, p) array
    groups : Groups
    weights, offset : (n,) arrays or None
    """
    known = np.zeros_like(y) if offset is None else offset
    root = np.ones_like(y) if weights is None else np.sqrt(weights)
    made = triangles(X * root[:, None], groups)
    beta = made.solve(groups, root * (y - known))
    eta = known + np.einsum("np,np->n", X, beta[groups.codes])
    deviance = groups.sums((root * (y - eta)) ** 2)
    rank = (~made.dependent).sum(axis=1)
    fine = np.ones(groups.count, dtype=bool)
    return Regressions(
        beta, made.unscaled(), made.determined(), rank, deviance, eta, fine
    )


def scoring(
    y: Array,
    X: Array,
    groups: Groups,
    weights: Array | None,
    offset: Array | None,
    family: Family,
) -> Regressions:
    """Maximum likelihood in every group by Fisher scoring.

    Groups leave the iterations when their deviance has settled; one whose deviance
    never is a number does not converge and has NaN coefficients.

    Parameters
    ----------
    y, X, groups, weights, offset
        As for `least_squares`.
    family : Family
        Without a parameter to be estimated beside a dispersion.
    """
    n, p = X.shape
    known = np.zeros(n) if offset is None else offset
    prior = np.ones(n) if weights is None else weights
    eta = family.link.link(family.start_mean(y, prior))
    beta = np.full((groups.count, p), np.nan)
    deviance = np.full(groups.count, np.inf)
    converged = np.zeros(groups.count, dtype=bool)
    unscaled = np.full((groups.count, p, p), np.nan)
    determined = np.zeros((groups.count, p), dtype=bool)
    rank = np.zeros(groups.count, dtype=np.intp)
    active = np.ones(groups.count, dtype=bool)
    limit = _CHANGE if family.canonical else _SMALL_CHANGE
    for _ in range(_MAX_ITERATIONS):
        members = np.flatnonzero(active)
        if not members.size:
            break
        rows = np.flatnonzero(active[groups.codes])
        number = np.cumsum(active) - 1
        part = groups_of(number[groups.codes[rows]], members.size)
        some = _Rows(y[rows], X[rows], prior[rows], known[rows], part, family)
        found = some.step(eta[rows], beta[members], deviance[members])
        eta[rows] = found.eta
        beta[members], unscaled[members] = found.beta, found.unscaled
        determined[members], rank[members] = found.determined, found.rank
        change = np.abs(found.deviance - deviance[members])
        done = change <= limit * (np.abs(found.deviance) + 0.1)
        deviance[members] = found.deviance
        converged[members] = done
        active[members] = ~done & np.isfinite(found.deviance)
    lost = ~np.isfinite(deviance)
    beta[lost], unscaled[lost], determined[lost] = np.nan, np.nan, False
    return Regressions(beta, unscaled, determined, rank, deviance, eta, converged)


@dataclass(frozen=True)
class _Rows:
    """The rows of the groups that still iterate."""

    y: Array
    X: Array
    prior: Array
    offset: Array
    groups: Groups
    family: Family

    def step(self, eta: Array, beta: Array, deviance: Array) -> Regressions:
        """One scoring step from `eta`, halved where it does not lead to a mean."""
        at = self.family.pointwise(self.y, self.prior, eta, order=1)
        W = np.where(np.isfinite(at.W) & (at.W > 0.0), at.W, 0.0)
        root = np.sqrt(W)
        change = np.divide(-0.5 * at.g, W, out=np.zeros_like(W), where=W > 0.0)
        made = triangles(self.X * root[:, None], self.groups)
        new = made.solve(self.groups, root * (eta - self.offset + change))
        value, values = self._value(new)
        for _ in range(_MAX_HALVINGS):
            # The first step has no coefficients to go back to.
            bad = ~np.isfinite(value) & np.isfinite(beta).all(axis=1)
            if not bad.any():
                break
            new = np.where(bad[:, None], 0.5 * (new + beta), new)
            value, values = self._value(new)
        rank = (~made.dependent).sum(axis=1)
        fine = np.isfinite(value)
        return Regressions(
            new, made.unscaled(), made.determined(), rank, value, values, fine
        )

    def _value(self, beta: Array) -> tuple[Array, Array]:
        """Deviance of each group, and linear predictor."""
        eta = self.offset + np.einsum("np,np->n", self.X, beta[self.groups.codes])
        with np.errstate(all="ignore"):
            rows = self.family.pointwise(self.y, self.prior, eta, order=0).deviance
        value = self.groups.sums(rows)
        return np.where(np.isfinite(value), value, np.inf), eta
