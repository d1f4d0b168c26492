"""A generalized model as arrays, and what is summed over its rows at a predictor.

The criterion needs of the rows only sums: the deviance, ``Z'WZ``, ``Z'g`` and the
like. They are taken here for rows in memory; `pieces` adds them up over parts of the
rows, one part after the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import CrossProducts, Pattern, pattern
from lme.engine.decompositions import orthonormal
from lme.engine.relcov import Factor, Template, Term, assemble
from lme.families.base import Family, Pointwise

Array = NDArray[np.float64]
Blocks = Mapping[tuple[int, int], Array]


@dataclass(frozen=True, slots=True)
class Leverages:
    """Sums with the diagonal h of ``Z Lambda H^-1 Lambda'Z'``.

    Attributes
    ----------
    Z : list of (l, p) arrays
        ``Z'c`` with ``c = h dW/deta``.
    X : (p,) array
        ``X'c`` on the basis.
    slope : float
        Derivative of deviances, constant and ``log|H|`` in the extra parameter, at
        fixed eta.
    random_slope, fixed_slope : list of (l, p) arrays, (p,) array
        As `Z` and `X`, for the derivative of g in the extra parameter.
    """

    Z: list[Array]
    X: Array
    slope: float
    random_slope: list[Array]
    fixed_slope: Array


class RowSums(Protocol):
    """Sums over all rows at one linear predictor.

    Attributes
    ----------
    eta : (n,) array
        Of the rows that are in memory.
    at : Pointwise
        Deviance and derivatives of these.
    extra : float
    """

    eta: Array
    at: Pointwise
    extra: float

    @property
    def deviance(self) -> float:
        """Sum of the deviances; inf where a row has no valid mean."""

    @property
    def alike(self) -> bool:
        """Whether observed and expected weights are the same."""

    @property
    def working(self) -> float:
        """Sum of the squared working residuals, ``g^2 / (4 W)``."""

    @property
    def Zg(self) -> list[Array]:
        """``Z'g`` per factor, (l, p)."""

    @property
    def Xg(self) -> Array:
        """``X'g`` on the basis, (p,)."""

    def complete(self) -> None:
        """Take second derivatives too, if that was not done."""

    def cross(self, observed: bool, fixed: bool = False) -> CrossProducts:
        """``[Z X]'W [Z X]`` on the basis of X; without X unless `fixed`."""

    def fixed_products(self, observed: bool) -> tuple[Array, list[Array]]:
        """``X'WX`` (p, p) and ``Z'WX`` per factor (l, p_f, p), on the basis of X."""

    def product(
        self, observed: bool, b: Sequence[Array], fixed: bool = False
    ) -> tuple[list[Array], Array]:
        """``Z'WZ b`` per factor (l, p), and ``X'WZ b`` (p,) if `fixed`."""

    def leverages(
        self, diagonal: Sequence[Array], pairs: Blocks, observed: bool
    ) -> Leverages:
        """Sums with h, from ``Lambda H^-1 Lambda'`` where ``Z'Z`` has entries."""


@dataclass(frozen=True)
class Problem:
    """A generalized linear mixed model as arrays.

    Attributes
    ----------
    y, weights, offset : (n,) arrays
        Response (a proportion for the binomial), prior weights, offset.
    X : (n, p) array
        Of full column rank.
    basis : (n, p) array
        Orthogonal columns of unit mean square with the span of X.
    R : (p, p) array
        Upper triangular, ``X = basis @ R``.
    family : Family
    factors, template : see `relcov`
    found : Pattern or None
        Which levels occur together, where that was found before.
    """

    y: Array
    weights: Array
    offset: Array
    X: Array
    basis: Array
    R: Array
    family: Family
    factors: tuple[Factor, ...]
    template: Template
    found: Pattern | None = None

    @property
    def p(self) -> int:
        """Number of fixed-effects columns."""
        return int(self.X.shape[1])

    @property
    def n(self) -> int:
        """Number of rows."""
        return int(self.y.size)

    @cached_property
    def pattern(self) -> Pattern:
        """Which levels occur together."""
        return pattern(self.factors) if self.found is None else self.found

    @cached_property
    def data_term(self) -> Array | float:
        """The part of the deviance that depends on the data alone."""
        return self.family.data_term(self.y, self.weights)

    @cached_property
    def empty(self) -> Array:
        """No dense columns, (n, 0)."""
        return np.empty((self.y.size, 0))

    def spread(self, b: Sequence[Array]) -> Array:
        """``Z b`` for b given per factor as (l, p) arrays, (n,)."""
        out = np.zeros(self.y.size)
        for factor, modes in zip(self.factors, b, strict=True):
            if modes.shape[1] == 1:
                out += factor.values[:, 0] * modes[factor.codes, 0]
            else:
                out += np.einsum("np,np->n", factor.values, modes[factor.codes])
        return out

    def gather(self, x: Array) -> list[Array]:
        """``Z'x`` per factor: (l, p) for x (n,), (l, p, r) for x (n, r)."""
        return [factor.gather(x) for factor in self.factors]

    def at(self, gamma: Array, b: Sequence[Array], extra: float, order: int) -> RowSums:
        """The rows at coefficients (on the basis) and random effects.

        Parameters
        ----------
        gamma : (p,) array
        b : sequence of (l, p) arrays
        extra : float
            Log of the dispersion or of the negative binomial's theta.
        order : {1, 2}
            Derivatives that are needed.
        """
        eta = self.offset + self.basis @ gamma + self.spread(b)
        return self.at_predictor(eta, extra, order)

    def at_predictor(self, eta: Array, extra: float, order: int) -> Rows:
        """The rows at a linear predictor (n,)."""
        return Rows(self, eta, extra, self.pointwise(eta, extra, order))

    def pointwise(self, eta: Array, extra: float, order: int) -> Pointwise:
        """The family's functions of the linear predictor."""
        return self.family.pointwise(
            self.y,
            self.weights,
            eta,
            extra,
            order=order,
            data_term=self.data_term,
        )

    def constant(self, extra: float) -> float:
        """What makes deviances ``-2 log-likelihood``."""
        return float(self.family.constant(self.y, self.weights, extra))

    def blocks(self) -> Iterator[Problem]:
        """Problems of some rows each, which together are all rows."""
        yield self

    def response_sample(self) -> tuple[Array, Array | None]:
        """Responses and weights with the mean and variance of all."""
        return self.y, self.weights


def build(
    y: Array,
    X: Array,
    terms: Sequence[Term],
    family: Family,
    weights: Array | None = None,
    offset: Array | None = None,
) -> Problem:
    """Set up the problem.

    Parameters
    ----------
    y : (n,) array
    X : (n, p) array of full column rank
    terms : sequence of Term
    family : Family
    weights, offset : (n,) arrays or None
    """
    n = y.size
    factors, template = assemble(terms, None)
    basis, R = orthonormal(X)
    scale = np.sqrt(n)
    return Problem(
        y=np.ascontiguousarray(y, dtype=float),
        weights=np.ones(n) if weights is None else np.asarray(weights, dtype=float),
        offset=np.zeros(n) if offset is None else np.asarray(offset, dtype=float),
        X=X,
        basis=np.ascontiguousarray(basis * scale),
        R=R / scale,
        family=family,
        factors=factors,
        template=template,
    )


def modes_by_factor(template: Template, b: Sequence[Array]) -> list[Array]:
    """Modes of each grouping factor in the internal basis, from those of the terms.

    Parameters
    ----------
    template : Template
    b : sequence of (l, p) arrays
        User's columns; terms without columns are passed over.
    """
    parts: list[list[Array]] = [[] for _ in template.widths]
    terms = [modes for modes in b if modes.shape[1]]
    for slot, modes in zip(template.slots, terms, strict=True):
        parts[slot.factor].append(modes @ slot.inverse.T)
    return [np.hstack(own) for own in parts]


@dataclass
class Rows:
    """Rows in memory at one linear predictor; see `RowSums`."""

    problem: Problem
    eta: Array
    extra: float
    at: Pointwise

    @property
    def deviance(self) -> float:
        """Sum of the deviances."""
        return float(self.at.deviance.sum())

    @property
    def alike(self) -> bool:
        """Whether observed and expected weights are the same."""
        self.complete()
        return self.at.Wo is self.at.W

    @property
    def working(self) -> float:
        """Sum of the squared working residuals."""
        g, W = self.at.g, self.at.W
        squares = np.divide(0.25 * g**2, W, out=np.zeros_like(g), where=W > 0)
        return float(squares.sum())

    @cached_property
    def Zg(self) -> list[Array]:
        """``Z'g`` per factor."""
        return self.problem.gather(self.at.g)

    @cached_property
    def Xg(self) -> Array:
        """``X'g`` on the basis."""
        return np.asarray(self.problem.basis.T @ self.at.g)

    def complete(self) -> None:
        """Take second derivatives too, if that was not done."""
        if self.at.dW.size < self.eta.size:
            self.at = self.problem.pointwise(self.eta, self.extra, 2)

    def weights(self, observed: bool) -> Array:
        """Diagonal of W, observed or expected."""
        if not observed:
            return self.at.W
        self.complete()
        return self.at.Wo

    def cross(self, observed: bool, fixed: bool = False) -> CrossProducts:
        """``[Z X]'W [Z X]``."""
        problem = self.problem
        columns = problem.basis if fixed else problem.empty
        return problem.pattern.cross_products(columns, self.weights(observed))

    def fixed_products(self, observed: bool) -> tuple[Array, list[Array]]:
        """``X'WX`` and ``Z'WX``."""
        problem = self.problem
        weighted = problem.basis * self.weights(observed)[:, None]
        return problem.basis.T @ weighted, problem.gather(weighted)

    def product(
        self, observed: bool, b: Sequence[Array], fixed: bool = False
    ) -> tuple[list[Array], Array]:
        """``Z'WZ b`` and ``X'WZ b``."""
        problem = self.problem
        weighted = self.weights(observed) * problem.spread(b)
        below = problem.basis.T @ weighted if fixed else np.empty(0)
        return problem.gather(weighted), below

    def leverages(
        self, diagonal: Sequence[Array], pairs: Blocks, observed: bool
    ) -> Leverages:
        """Sums with h."""
        self.complete()
        problem, at = self.problem, self.at
        h = problem.pattern.quadratic(diagonal, dict(pairs))
        c = h * (at.dWo if observed else at.dW)
        slope, dg = 0.0, None
        if problem.family.extra is not None:
            d = problem.family.extra_derivatives(
                problem.y, problem.weights, self.eta, self.extra
            )
            change = d.Wo if observed else d.W
            slope, dg = float(d.deviance.sum() + d.constant + h @ change), d.g
        return Leverages(
            problem.gather(c),
            problem.basis.T @ c,
            slope,
            [] if dg is None else problem.gather(dg),
            np.zeros(problem.p) if dg is None else problem.basis.T @ dg,
        )
