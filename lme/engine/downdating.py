"""A model without some of its rows: cross-products are sums over rows.

Taking rows away subtracts their products, whatever the number of those that stay; the
pattern of levels that occur together is kept, so that a kernel can go on with it.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from lme.engine.crossproducts import CrossProducts, Pattern
from lme.engine.lmm import Problem
from lme.engine.relcov import Factor

Array = NDArray[np.float64]
Index = NDArray[np.intp]

#: Smallest singular value of the kept rows of an orthonormal basis at which they still
#: have full rank; squares of it drown in rounding errors above `_DOUBTFUL`.
_DEPENDENT = 1e-7
_DOUBTFUL = 1e-9


def rows_of(factors: tuple[Factor, ...], rows: Index) -> tuple[Factor, ...]:
    """Grouping factors in some rows, with the levels that they had."""
    return tuple(
        replace(factor, codes=factor.codes[rows], values=factor.values[rows])
        for factor in factors
    )


def some_products(pattern: Pattern, dense: Array, rows: Index) -> CrossProducts:
    """``[Z D]'[Z D]`` of some rows, on the pattern of all.

    Parameters
    ----------
    pattern : Pattern
    dense : (n, r) array
    rows : (m,) intp
    """
    pairs = {
        key: (first, second, index[rows])
        for key, (first, second, index) in pattern.pairs.items()
    }
    part = Pattern(rows_of(pattern.factors, rows), pairs)
    return part.cross_products(dense[rows])


def subtract(whole: CrossProducts, part: CrossProducts) -> CrossProducts:
    """Cross-products of the rows that are not in `part`.

    Parameters
    ----------
    whole, part : CrossProducts
        On one pattern.
    """
    return replace(
        whole,
        diagonal=tuple(
            a - b for a, b in zip(whole.diagonal, part.diagonal, strict=True)
        ),
        pairs={
            key: replace(pair, blocks=pair.blocks - part.pairs[key].blocks)
            for key, pair in whole.pairs.items()
        },
        dense=tuple(a - b for a, b in zip(whole.dense, part.dense, strict=True)),
        gram=whole.gram - part.gram,
    )


def without_rows(problem: Problem, pattern: Pattern, rows: Index) -> Problem:
    """The model without some rows, on the same basis and pattern.

    Parameters
    ----------
    problem : Problem
    pattern : Pattern
        Of the problem's factors.
    rows : (m,) intp
        Rows to leave out, each once.

    Notes
    -----
    The basis is no longer orthonormal, and the residual no longer that of least
    squares; the criterion needs neither. Levels that lose all rows stay, with random
    effects of zero.
    """
    kept = np.ones(problem.n, dtype=bool)
    kept[rows] = False
    stay = np.flatnonzero(kept)
    dense = np.column_stack([problem.basis, problem.residual])
    if 2 * rows.size <= problem.n:
        cross = subtract(problem.cross, some_products(pattern, dense, rows))
    else:
        cross = some_products(pattern, dense, stay)
    return replace(
        problem,
        y=problem.y[stay],
        X=problem.X[stay],
        offset=None if problem.offset is None else problem.offset[stay],
        sqrt_weights=(
            None if problem.sqrt_weights is None else problem.sqrt_weights[stay]
        ),
        basis=problem.basis[stay],
        residual=problem.residual[stay],
        factors=rows_of(problem.factors, stay),
        cross=cross,
        shared={},
    )


def full_rank(basis: Array, gram: Array) -> bool:
    """Whether some rows of an orthonormal basis still have full column rank.

    Parameters
    ----------
    basis : (m, p) array
        The rows.
    gram : (p, p) array
        Their cross-products.
    """
    if len(basis) < basis.shape[1]:
        return False
    if not basis.shape[1] or np.linalg.eigvalsh(gram)[0] > _DOUBTFUL:
        return True
    return bool(np.linalg.svd(basis, compute_uv=False)[-1] > _DEPENDENT)
