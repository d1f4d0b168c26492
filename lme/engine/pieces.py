"""A generalized model whose rows come in pieces, which are never in memory together.

At a linear predictor each piece gives its sums, over the levels that occur in it; they
are added up to those of all rows. One look at all pieces is one step of PIRLS, one more
a gradient.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import CrossProducts, Pairs, multiply, of_factors
from lme.engine.rows import Blocks, Leverages, Problem, RowSums
from lme.families.base import Pointwise

Array = NDArray[np.float64]
Index = NDArray[np.intp]
PairIndex = Mapping[tuple[int, int], Index]


@dataclass(frozen=True)
class Piece:
    """Some rows of a model.

    Attributes
    ----------
    problem : Problem
        Of these rows, the levels numbered within them.
    which : tuple of intp arrays
        Levels of each factor that occur, ascending.
    pairs : dict of (f, g) with f < g to intp arrays
        Positions of the pairs of levels that occur among those of all rows.
    """

    problem: Problem
    which: tuple[Index, ...]
    pairs: PairIndex

    def local(self, parts: Sequence[Array]) -> list[Array]:
        """What belongs to the levels that occur, of arrays (l, ...) per factor."""
        return [part[own] for part, own in zip(parts, self.which, strict=True)]


class Pieces(Protocol):
    """Where pieces come from."""

    def __iter__(self) -> Iterator[Piece]:
        """Each piece once, in their order."""

    @property
    def pairs(self) -> Mapping[tuple[int, int], tuple[Index, Index]]:
        """Pairs of levels that occur together: levels of the first and the second."""


class _None:
    """No pieces."""

    pairs: Mapping[tuple[int, int], tuple[Index, Index]] = {}

    def __iter__(self) -> Iterator[Piece]:
        return iter(())


@dataclass(frozen=True)
class PiecewiseProblem(Problem):
    """A generalized linear mixed model that has pieces instead of rows.

    Attributes
    ----------
    pieces : Pieces
    count : int
        Number of rows.
    """

    pieces: Pieces = field(default_factory=_None)
    count: int = 0

    @property
    def n(self) -> int:
        """Number of rows."""
        return self.count

    def at(self, gamma: Array, b: Sequence[Array], extra: float, order: int) -> RowSums:
        """All rows at coefficients and random effects; `order` does not matter."""
        return PiecewiseRows(self, gamma, list(b), extra)

    def constant(self, extra: float) -> float:
        """What makes deviances ``-2 log-likelihood``."""
        return sum(block.constant(extra) for block in self.blocks())

    def blocks(self) -> Iterator[Problem]:
        """The problems of the pieces."""
        for piece in self.pieces:
            yield piece.problem

    def response_sample(self) -> tuple[Array, Array | None]:
        """Two responses with the mean and variance of all."""
        total = weight = squares = 0.0
        for block in self.blocks():
            total += float(block.weights @ block.y)
            weight += float(block.weights.sum())
        mean = total / weight
        for block in self.blocks():
            squares += float(block.weights @ (block.y - mean) ** 2)
        # A dispersion is that of a row of unit weight, a count stands for its weight.
        divisor = self.count if self.family.dispersion else weight
        deviation = np.sqrt(squares / divisor)
        return np.array([mean - deviation, mean + deviation]), None


class PiecewiseRows:
    """Sums over all pieces at one linear predictor; see `rows.RowSums`.

    Parameters
    ----------
    problem : PiecewiseProblem
    gamma : (p,) array
    b : list of (l, p) arrays
    extra : float
    """

    eta: Array = np.empty(0)
    at = Pointwise(np.empty(0))

    def __init__(
        self, problem: PiecewiseProblem, gamma: Array, b: list[Array], extra: float
    ) -> None:
        self.problem, self.gamma, self.b, self.extra = problem, gamma, b, extra
        self.deviance = self.working = 0.0
        self.alike = problem.family.canonical
        self.Zg = [np.zeros_like(part) for part in b]
        self.Xg = np.zeros(problem.p)
        self._cross = {False: _Total(problem)}
        if not self.alike:
            self._cross[True] = _Total(problem)
        for piece, rows in self._rows():
            self.deviance += rows.deviance
            if not np.isfinite(self.deviance):
                break
            self.working += rows.working
            _add(self.Zg, piece, rows.Zg)
            self.Xg += rows.Xg
            for observed, total in self._cross.items():
                total.add(piece, rows.cross(observed, fixed=True))

    def _rows(self) -> Iterator[tuple[Piece, RowSums]]:
        order = 1 if self.alike else 2
        for piece in self.problem.pieces:
            b = piece.local(self.b)
            yield piece, piece.problem.at(self.gamma, b, self.extra, order)

    def complete(self) -> None:
        """Nothing: second derivatives are taken where they are needed."""

    def cross(self, observed: bool, fixed: bool = False) -> CrossProducts:
        """``[Z X]'W [Z X]``."""
        found = self._cross[observed and not self.alike].cross
        if fixed:
            return found
        none = tuple(D[:, :, :0] for D in found.dense)
        return replace(found, dense=none, gram=np.zeros((0, 0)))

    def fixed_products(self, observed: bool) -> tuple[Array, list[Array]]:
        """``X'WX`` and ``Z'WX``."""
        found = self.cross(observed, fixed=True)
        return found.gram, list(found.dense)

    def product(
        self, observed: bool, b: Sequence[Array], fixed: bool = False
    ) -> tuple[list[Array], Array]:
        """``Z'WZ b`` and ``X'WZ b``."""
        columns = [part[:, :, None] for part in b]
        above, below = multiply(self.cross(observed, fixed), columns)
        return [part[:, :, 0] for part in above], below[:, 0]

    def leverages(
        self, diagonal: Sequence[Array], pairs: Blocks, observed: bool
    ) -> Leverages:
        """Sums with h."""
        p = self.problem.p
        Z = [np.zeros_like(part) for part in self.b]
        random = [np.zeros_like(part) for part in self.b]
        X, fixed, slope = np.zeros(p), np.zeros(p), 0.0
        for piece, rows in self._rows():
            near = {key: pairs[key][at] for key, at in piece.pairs.items()}
            found = rows.leverages(piece.local(diagonal), near, observed)
            _add(Z, piece, found.Z)
            _add(random, piece, found.random_slope)
            X += found.X
            fixed += found.fixed_slope
            slope += found.slope
        return Leverages(Z, X, slope, random, fixed)


def _add(totals: Sequence[Array], piece: Piece, parts: Iterable[Array]) -> None:
    """Add arrays (l, ...) over the levels of a piece to those over all."""
    for total, own, part in zip(totals, piece.which, parts, strict=False):
        total[own] += part


class _Total:
    """Sum of the cross-products of pieces."""

    def __init__(self, problem: PiecewiseProblem) -> None:
        self.problem = problem
        p = problem.p
        sizes = [(f.levels, f.values.shape[1]) for f in problem.factors]
        self._diagonal = [np.zeros((levels, k, k)) for levels, k in sizes]
        self._dense = [np.zeros((levels, k, p)) for levels, k in sizes]
        self._gram = np.zeros((p, p))
        self._blocks = {
            (f, g): np.zeros((rows.size, sizes[f][1], sizes[g][1]))
            for (f, g), (rows, _) in problem.pieces.pairs.items()
        }

    def add(self, piece: Piece, cross: CrossProducts) -> None:
        """Add those of one piece."""
        _add(self._diagonal, piece, cross.diagonal)
        _add(self._dense, piece, cross.dense)
        self._gram += cross.gram
        for key, pair in cross.pairs.items():
            self._blocks[key][piece.pairs[key]] += pair.blocks

    @cached_property
    def cross(self) -> CrossProducts:
        """Those of all pieces."""
        factors = self.problem.factors
        pairs = {}
        for (f, g), blocks in self._blocks.items():
            rows, cols = self.problem.pieces.pairs[f, g]
            shape = (factors[f].levels, factors[g].levels)
            pairs[f, g] = Pairs(rows, cols, blocks, shape)
        return of_factors(factors, self._diagonal, pairs, self._dense, self._gram)
