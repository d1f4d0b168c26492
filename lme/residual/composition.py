"""A residual covariance from its terms: deviations times correlation.

``Var(e) = sigma^2 S R S`` with S diagonal, a product of variance functions, and R the
correlation within groups. Searched is a vector phi with the parameters of the terms
one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lme.residual.chain import Chain
from lme.residual.protocol import Array, Codes, Correlation, Rows, VarianceFunction


@dataclass(frozen=True)
class Part:
    """A variance function with its rows and its place in phi."""

    structure: VarianceFunction
    rows: Rows
    place: slice


@dataclass(frozen=True)
class Link:
    """The correlation with its rows, its place in phi, and the gaps in time.

    Attributes
    ----------
    order : (n,) intp
        Rows by group and time.
    linked : (n,) bool
        In that order, whether a row has one before it in its group.
    gap : (m,) array
        Time since the row before, of the linked rows.
    """

    structure: Correlation
    rows: Rows
    place: slice
    order: Codes
    linked: NDArray[np.bool_]
    gap: Array


@dataclass(frozen=True)
class Composition:
    """All terms of a residual structure.

    Attributes
    ----------
    variances : tuple of Part
    link : Link or None
    size : int
        Number of parameters.
    n : int
        Number of rows.
    """

    variances: tuple[Part, ...]
    link: Link | None
    size: int
    n: int

    def log_deviations(self, phi: Array) -> Array:
        """Logarithms of the standard deviations relative to sigma, (n,)."""
        out = np.zeros(self.n)
        for part in self.variances:
            out += part.structure.log_deviations(phi[part.place], part.rows)
        return out

    def deviation_jacobian(self, phi: Array) -> Array:
        """Derivatives of `log_deviations`, (n, size)."""
        out = np.zeros((self.n, self.size))
        for part in self.variances:
            block = part.structure.jacobian(phi[part.place], part.rows)
            out[:, part.place] = block
        return out

    def chain(self, phi: Array) -> Chain | None:
        """The correlation at phi; None without one."""
        if self.link is None:
            return None
        link = self.link
        values, _ = link.structure.neighbours(phi[link.place], link.gap)
        correlation = np.zeros(self.n)
        correlation[link.linked] = values
        return Chain(link.order, link.linked, correlation)

    def chain_jacobian(self, phi: Array) -> Array:
        """Derivatives of the correlations, in the order of the chain, (n, size)."""
        out = np.zeros((self.n, self.size))
        if self.link is not None:
            link = self.link
            _, slopes = link.structure.neighbours(phi[link.place], link.gap)
            out[link.linked, link.place] = slopes
        return out

    def starts(self) -> list[Array]:
        """Where searches begin: equal deviations, and correlations to choose from."""
        base = np.zeros(self.size)
        for part in self.variances:
            base[part.place] = part.structure.start(part.rows)
        if self.link is None:
            return [base]
        out = []
        for values in self.link.structure.start(self.link.gap):
            out.append(base.copy())
            out[-1][self.link.place] = values
        return out

    def natural(self, phi: Array) -> Array:
        """What is reported for phi, (size,)."""
        out = np.empty(self.size)
        for part in self.variances:
            out[part.place] = part.structure.natural(phi[part.place])
        if self.link is not None:
            link = self.link
            out[link.place] = link.structure.natural(phi[link.place], link.gap)
        return out

    def names(self) -> list[tuple[str, str]]:
        """Term and name of each parameter, in the order of phi."""
        every: list[Part | Link] = [*self.variances]
        if self.link is not None:
            every.append(self.link)
        every.sort(key=lambda part: part.place.start)
        return [
            (part.rows.text, name)
            for part in every
            for name in part.structure.names(part.rows)
        ]

    def boundary(self, phi: Array) -> list[str]:
        """Words for parameters at the end of their range."""
        if self.link is None:
            return []
        link = self.link
        return link.structure.boundary(phi[link.place], link.gap)

    def bound(self, phi: Array) -> NDArray[np.bool_]:
        """Parameters at the end of their range, (size,)."""
        out = np.zeros(self.size, dtype=bool)
        if self.link is not None and self.boundary(phi):
            out[self.link.place] = True
        return out


def compose(
    terms: Sequence[tuple[VarianceFunction | Correlation, Rows]], n: int
) -> Composition:
    """Put terms together; each checks its rows.

    Parameters
    ----------
    terms : sequence of (structure, Rows)
        At most one of them a correlation.
    n : int
        Number of rows.
    """
    parts: list[Part] = []
    link: Link | None = None
    at = 0
    for structure, rows in terms:
        size = structure.size(rows)
        place = slice(at, at + size)
        at += size
        if isinstance(structure, Correlation):
            order, gap = structure.gaps(rows)
            linked = gap > 0.0
            link = Link(structure, rows, place, order, linked, gap[linked])
        else:
            structure.check(rows)
            parts.append(Part(structure, rows, place))
    return Composition(tuple(parts), link, at, n)
