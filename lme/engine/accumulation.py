"""Cross-products of rows that are never in memory together.

``A = [Z X y]'[Z X y]`` is a sum over rows, so that it is a sum over blocks of them.
Two passes keep it as precise as with all rows at hand: the first finds the triangular
factors of X, y and the columns of each random term, by a QR decomposition of what is
known so far and one block more; the second adds up the cross-products in the
orthonormal basis, with y replaced by its residual.

References
----------
Demmel, Grigori, Hoemmen and Langou (2012), Communication-optimal parallel and
sequential QR and LU factorizations, SIAM J. Sci. Comput. 34:A206,
doi:10.1137/080731992.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from lme.engine.crossproducts import CrossProducts, Pairs, cross_products, of_factors
from lme.engine.relcov import Factor, Template, Term, assemble
from lme.engine.summed import SummedProblem, Totals

Array = NDArray[np.float64]
Index = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Block:
    """Some rows of a model as arrays.

    Attributes
    ----------
    z : (m,) array
        Response less the offset.
    X : (m, p) array
    root : (m,) array or None
        Square roots of the weights.
    codes : tuple of (m,) intp
        Level of each row, for each grouping factor.
    values : tuple of (m, p_k) arrays
        Columns of each random term.
    """

    z: Array
    X: Array
    root: Array | None
    codes: tuple[Index, ...]
    values: tuple[Array, ...]

    def weighted(self, columns: Array) -> Array:
        """Columns (m,) or (m, r) multiplied by the roots of the weights."""
        if self.root is None:
            return columns
        return columns * (self.root if columns.ndim == 1 else self.root[:, None])


def triangular(rows: Array) -> Array:
    """Triangular factor R (r, r) of some rows (m, r), its diagonal >= 0."""
    width = rows.shape[1]
    if rows.shape[0] < width:
        rows = np.vstack([rows, np.zeros((width - rows.shape[0], width))])
    R = np.asarray(np.linalg.qr(rows, mode="r")) if width else np.zeros((0, 0))
    return np.asarray(np.where(R.diagonal() < 0.0, -1.0, 1.0)[:, None] * R)


def triangles_of(block: Block) -> list[Array]:
    """Triangular factors of [X z] and of the columns of each random term."""
    fixed = np.column_stack([block.weighted(block.X), block.weighted(block.z)])
    return [triangular(fixed), *(triangular(block.weighted(v)) for v in block.values)]


def stacked(first: Sequence[Array], second: Sequence[Array]) -> list[Array]:
    """Triangular factors of the rows of both."""
    pairs = zip(first, second, strict=True)
    return [triangular(np.vstack(pair)) for pair in pairs]


@dataclass(frozen=True, slots=True)
class Coordinates:
    """The basis in which the cross-products are added up.

    Attributes
    ----------
    R : (p, p) array
        Upper triangular: the weighted X is an orthonormal basis times R.
    level : (p,) array
        Coefficients of the response on that basis by least squares.
    template : Template
    factors : tuple of Factor
        Without rows; levels and widths are those of the model.
    groups : tuple of int
        Grouping factor of each term.
    """

    R: Array
    level: Array
    template: Template
    factors: tuple[Factor, ...]
    groups: tuple[int, ...]


def coordinates(
    triangles: Sequence[Array], kept: Index, terms: Sequence[Term], rows: int
) -> Coordinates:
    """Bases of X and of the random terms from their triangular factors.

    Parameters
    ----------
    triangles : sequence of arrays
        Of [X z] with all columns, and of each random term.
    kept : (p,) intp
        Independent columns of X.
    terms : sequence of Term
        Their levels, structures and groups; codes and values are not looked at.
    rows : int
        Number of rows.
    """
    fixed = triangular(triangles[0][:, [*kept, -1]])
    p = len(kept)
    height = max(len(T) for T in triangles[1:])
    made = []
    for term, T in zip(terms, triangles[1:], strict=True):
        # As many rows for all, with the mean squares that the columns have.
        values = np.zeros((height, T.shape[1]))
        values[: len(T)] = T * np.sqrt(height / rows)
        codes = np.zeros(height, dtype=np.intp)
        made.append(replace(term, codes=codes, values=values))
    factors, template = assemble(made, None)
    none = np.zeros(0, dtype=np.intp)
    empty = tuple(replace(f, codes=none, values=f.values[:0]) for f in factors)
    order = {group: i for i, group in enumerate(dict.fromkeys(t.group for t in terms))}
    groups = tuple(order[term.group] for term in terms)
    return Coordinates(fixed[:p, :p], fixed[:p, p], template, empty, groups)


@dataclass(frozen=True, slots=True)
class Part:
    """What one block adds to the cross-products.

    Attributes
    ----------
    which : tuple of intp arrays
        Levels of each factor that occur, ascending.
    cross : CrossProducts
        Over these levels.
    constant : (p + 1,) array
        Products of the weighted constant with the basis, and with itself.
    log_weights : float
        Sum of the logarithms of the weights.
    largest : (float, float)
        Largest absolute response and residual.
    rows : int
    """

    which: tuple[Index, ...]
    cross: CrossProducts
    constant: Array
    log_weights: float
    largest: tuple[float, float]
    rows: int


def part_of(block: Block, at: Coordinates) -> Part:
    """Cross-products of one block, over the levels that occur in it.

    Parameters
    ----------
    block : Block
        With the independent columns of X alone.
    at : Coordinates
    """
    X, z = block.weighted(block.X), block.weighted(block.z)
    basis = X
    if X.shape[1]:
        basis = np.ascontiguousarray(solve_triangular(at.R, X.T, trans="T").T)
    residual = z - basis @ at.level
    columns: list[list[Array]] = [[] for _ in at.factors]
    for slot, values in zip(at.template.slots, block.values, strict=True):
        columns[slot.factor].append(block.weighted(values) @ slot.basis)
    which, factors = [], []
    for codes, parts in zip(block.codes, columns, strict=True):
        occurring, own = _compressed(codes)
        which.append(occurring)
        factors.append(Factor(own, occurring.size, np.hstack(parts)))
    constant = np.ones(z.size) if block.root is None else block.root
    largest = (
        float(np.abs(block.z).max(initial=0.0)),
        float(np.abs(residual).max(initial=0.0)),
    )
    logs = 0.0 if block.root is None else 2.0 * float(np.log(block.root).sum())
    return Part(
        tuple(which),
        cross_products(factors, basis, residual),
        np.append(basis.T @ constant, constant @ constant),
        logs,
        largest,
        z.size,
    )


def _compressed(codes: Index) -> tuple[Index, Index]:
    """Codes that occur, ascending, and the position of each row's among them."""
    bound = int(codes.max(initial=-1)) + 1
    if bound > 4 * codes.size + 65_536:
        occurring, own = np.unique(codes, return_inverse=True)
        return occurring.astype(np.intp), own.astype(np.intp)
    used = np.zeros(bound, dtype=bool)
    used[codes] = True
    position = np.cumsum(used, dtype=np.intp) - 1
    return np.flatnonzero(used), position[codes]


@dataclass(slots=True)
class _Merged:
    """Sums by key, with the number of merges they have seen."""

    keys: NDArray[np.int64]
    blocks: Array
    rank: int = 0


def _merge(first: _Merged, second: _Merged) -> _Merged:
    keys = np.concatenate([first.keys, second.keys])
    # Two ascending runs: a stable sort merges them in linear time.
    order = np.argsort(keys, kind="stable")
    keys = keys[order]
    starts = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
    blocks = np.concatenate([first.blocks, second.blocks])[order]
    return _Merged(
        keys[starts],
        np.add.reduceat(blocks, starts, axis=0) if keys.size else blocks,
        max(first.rank, second.rank) + 1,
    )


class _PairSum:
    """Sums of the blocks of pairs of levels; each is merged a logarithm of times."""

    def __init__(self) -> None:
        self._waiting: list[_Merged] = []

    def add(self, keys: NDArray[np.int64], blocks: Array) -> None:
        """Add the blocks (m, p1, p2) of ascending keys."""
        self._waiting.append(_Merged(keys, blocks))
        while len(self._waiting) > 1 and (
            self._waiting[-2].rank <= self._waiting[-1].rank
        ):
            second = self._waiting.pop()
            self._waiting.append(_merge(self._waiting.pop(), second))

    def total(self) -> _Merged:
        """All of them."""
        while len(self._waiting) > 1:
            second = self._waiting.pop()
            self._waiting.append(_merge(self._waiting.pop(), second))
        return self._waiting[0]


class CrossSum:
    """Adds up the parts of blocks.

    Parameters
    ----------
    at : Coordinates
    """

    def __init__(self, at: Coordinates) -> None:
        self.at = at
        p = at.level.size
        sizes = [(f.levels, f.values.shape[1]) for f in at.factors]
        self._diagonal = [np.zeros((levels, k, k)) for levels, k in sizes]
        self._dense = [np.zeros((levels, k, p + 1)) for levels, k in sizes]
        self._gram = np.zeros((p + 1, p + 1))
        self._pairs: dict[tuple[int, int], _PairSum] = {}
        self._constant = np.zeros(p + 1)
        self._largest = np.zeros(2)
        self._logs: list[float] = []
        self.rows = 0

    def add(self, part: Part) -> None:
        """Add the part of one block."""
        cross = part.cross
        for f, which in enumerate(part.which):
            self._diagonal[f][which] += cross.diagonal[f]
            self._dense[f][which] += cross.dense[f]
        for (f, g), pair in cross.pairs.items():
            width = self.at.factors[g].levels
            keys = part.which[f][pair.rows].astype(np.int64) * width
            keys += part.which[g][pair.cols]
            self._pairs.setdefault((f, g), _PairSum()).add(keys, pair.blocks)
        self._gram += cross.gram
        self._constant += part.constant
        self._largest = np.maximum(self._largest, part.largest)
        self._logs.append(part.log_weights)
        self.rows += part.rows

    def cross(self) -> CrossProducts:
        """The cross-products of all blocks."""
        factors = self.at.factors
        pairs = {}
        for key, found in self._pairs.items():
            total = found.total()
            first, second = (factors[i].levels for i in key)
            rows, cols = np.divmod(total.keys, second)
            pairs[key] = Pairs(
                rows.astype(np.intp),
                cols.astype(np.intp),
                total.blocks,
                (first, second),
            )
        return of_factors(factors, self._diagonal, pairs, self._dense, self._gram)

    def problem(self) -> SummedProblem:
        """The linear mixed model of all blocks."""
        at, n = self.at, self.rows
        p = at.level.size
        along, squares = self._constant[:p], float(self._constant[p])
        none = np.zeros(0)
        return SummedProblem(
            y=none,
            X=np.zeros((0, p)),
            offset=None,
            sqrt_weights=None,
            basis=np.zeros((0, p)),
            R=at.R,
            level=at.level,
            residual=none,
            factors=at.factors,
            template=at.template,
            cross=self.cross(),
            totals=Totals(
                n,
                float(self._largest[0]),
                float(self._largest[1]),
                max(squares - float(along @ along), 0.0) / n,
                float(np.sum(self._logs)),
            ),
        )
