"""Codings of factors: the numbers that stand for the levels in a model matrix.

Each row of a contrast matrix belongs to a level, each column becomes a column of
the model matrix. Names and signs are those of R's ``contr.*`` functions.

References
----------
Chambers, J. M. and Hastie, T. J. (1992). Statistical Models in S, chapter 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from lme.errors import DesignError, FormulaError, LMEError, near
from lme.formula.polynomials import orthonormal

MAX_LEVELS = 10_000
MAX_POLYNOMIAL = 1_000

Coding: TypeAlias = tuple[NDArray[np.float64], tuple[str, ...]]
ContrastSpec: TypeAlias = (
    "str | ArrayLike | Coding | Callable[[tuple[str, ...]], ArrayLike] | None"
)


def full_dummy(levels: Sequence[str]) -> Coding:
    """One indicator column for each level.

    Examples
    --------
    >>> full_dummy(("a", "b"))[0]
    array([[1., 0.],
           [0., 1.]])
    """
    return np.eye(len(levels)), tuple(levels)


def treatment(levels: Sequence[str], base: int = 0) -> Coding:
    """Indicators of every level but the one at position `base` (0-based)."""
    keep = [i for i in range(len(levels)) if i != base]
    return np.eye(len(levels))[:, keep], tuple(levels[i] for i in keep)


def last_as_base(levels: Sequence[str]) -> Coding:
    """R's ``contr.SAS``: indicators of every level but the last."""
    return treatment(levels, len(levels) - 1)


def sum_to_zero(levels: Sequence[str]) -> Coding:
    """Deviations from the mean of the levels; the last level is -1 throughout."""
    k = len(levels)
    return np.vstack([np.eye(k - 1), -np.ones(k - 1)]), numbered(k - 1)


def helmert(levels: Sequence[str]) -> Coding:
    """Each level against the mean of those before it."""
    k = len(levels)
    matrix = np.triu(-np.ones((k, k - 1)))
    below = np.arange(k - 1)
    matrix[below + 1, below] = below + 1
    return matrix, numbered(k - 1)


def polynomial(
    levels: Sequence[str], scores: NDArray[np.float64] | None = None
) -> Coding:
    """Orthonormal polynomials in the positions of the levels, or in `scores`.

    Parameters
    ----------
    levels : sequence of str, length k
        The levels; only their number matters.
    scores : ndarray of float64, shape (k,), optional
        Distinct positions on the line; equally spaced when not given.

    Notes
    -----
    Accurate for any number of levels. R refuses more than 95, and its columns are
    wrong from about 22 on.
    """
    k = len(levels)
    points = np.arange(1.0, k + 1) if scores is None else scores
    if k > MAX_POLYNOMIAL:
        raise DesignError(
            f"An ordered factor has {k} levels.",
            f"Polynomial contrasts are made for at most {MAX_POLYNOMIAL}.",
            "Use its numbers, or another coding.",
        )
    distinct = len(np.unique(points)) == len(points)
    if not distinct or len(points) != k or not np.isfinite(points).all():
        raise FormulaError(
            f"contr.poly() got {len(points)} scores for {k} levels.",
            "The scores must be different numbers, one for each level.",
        )
    basis = orthonormal(points, k - 1)[1]
    names = [".L", ".Q", ".C"][: k - 1] + [f"^{d}" for d in range(4, k)]
    return np.ascontiguousarray(basis[:, 1:]), tuple(names)


CONTRASTS: dict[str, Callable[[Sequence[str]], Coding]] = {
    "treatment": treatment,
    "sum": sum_to_zero,
    "helmert": helmert,
    "poly": polynomial,
    "SAS": last_as_base,
}


def contrast_name(name: str) -> str:
    """The key in `CONTRASTS` of ``"contr.sum"``, ``"sum"`` or ``"Sum"``.

    Raises
    ------
    FormulaError
        If there is no such coding.
    """
    bare = name.removeprefix("contr.")
    for key in CONTRASTS:
        if bare.lower() == key.lower():
            return key
    raise FormulaError(
        f"There is no contrast function {name!r}.",
        "Known: " + ", ".join(f"contr.{key}" for key in CONTRASTS) + ".",
        near(bare, CONTRASTS),
    )


def numbered(count: int) -> tuple[str, ...]:
    """The names "1" to `count`."""
    return tuple(map(str, range(1, count + 1)))


def contrast_matrix(
    spec: ContrastSpec, levels: Sequence[str], ordered: bool = False
) -> Coding:
    """The matrix that codes a factor, with the names of its columns.

    Parameters
    ----------
    spec : str, array, (array, names), data frame, callable or None
        The name of an R contrast function, with or without ``contr.``; the matrix
        itself, of shape (k, m), or with its m names; a function from the levels
        to a matrix; or None for the default: treatment, and polynomials for an
        ordered factor.
    levels : sequence of str, length k
        The levels in order.
    ordered : bool
        Whether the factor is ordered.

    Returns
    -------
    matrix : ndarray of float64, shape (k, m)
        A matrix has the columns it was given with, as in R. What a function
        returns, and a vector, is completed to k - 1 columns, orthogonal to those
        given and to the intercept, or cut.
    names : tuple of str, length m
        Suffixes of the column names.

    Raises
    ------
    DesignError
        For fewer than two or more than 10,000 levels, or a matrix that does not fit.
    FormulaError
        For an unknown name.

    Examples
    --------
    >>> matrix, names = contrast_matrix("contr.sum", ("a", "b", "c"))
    >>> matrix
    array([[ 1.,  0.],
           [ 0.,  1.],
           [-1., -1.]])
    >>> names
    ('1', '2')
    >>> contrast_matrix(None, ("low", "mid", "high"), ordered=True)[1]
    ('.L', '.Q')
    """
    if len(levels) < 2:
        raise DesignError(
            f"A factor has only {len(levels)} level(s): {', '.join(levels) or 'none'}.",
            "Contrasts need 2 or more levels.",
            "Leave the factor out, or check the rows dropped for missing values.",
        )
    if len(levels) > MAX_LEVELS:
        raise DesignError(
            f"A factor to be coded has {len(levels)} levels.",
            f"At most {MAX_LEVELS} can have columns of their own.",
            "Make it a grouping factor, as in (1 | f).",
        )
    if spec is None:
        spec = "poly" if ordered else "treatment"
    if isinstance(spec, str):
        return CONTRASTS[contrast_name(spec)](levels)
    if callable(spec):
        matrix, names = _named(_called(spec, levels), levels)
        return completed(matrix, names, levels)
    matrix, names = _named(spec, levels)
    width = np.shape(matrix)[1] if _dimensions(matrix) == 2 else None
    return completed(matrix, names, levels, width)


def _named(spec: Any, levels: Sequence[str]) -> tuple[Any, tuple[str, ...] | None]:
    """A contrast matrix and the names of its columns, None where it has none."""
    if isinstance(spec, pd.DataFrame):
        return _rows_by_level(spec, levels), tuple(map(str, spec.columns))
    if isinstance(spec, tuple) and len(spec) == 2 and _dimensions(spec[0]) == 2:
        return spec[0], tuple(map(str, spec[1]))
    return spec, None


def _dimensions(x: Any) -> int:
    try:
        return np.ndim(x)
    except ValueError:  # lists of unequal lengths
        return 0


def _rows_by_level(frame: pd.DataFrame, levels: Sequence[str]) -> Any:
    """The rows of a contrast frame in the order of the levels that label them."""
    labels = [str(label) for label in frame.index]
    if sorted(labels) == sorted(levels):
        return frame.to_numpy()[[labels.index(level) for level in levels]]
    if isinstance(frame.index, pd.RangeIndex):
        return frame.to_numpy()
    raise DesignError(
        f"The rows of a contrast frame are labelled {', '.join(labels[:8])}.",
        f"Expected the levels {', '.join(levels[:8])}, in any order.",
        "Label the rows by the levels, or pass a plain array.",
    )


def _called(spec: Callable[..., Any], levels: Sequence[str]) -> Any:
    try:
        result = spec(tuple(levels))
    except LMEError:
        raise
    except Exception as error:
        raise DesignError(
            f"A contrast function raised {type(error).__name__}: {error}.",
            "It is called with one argument, the tuple of the levels.",
            f"It must return a matrix with {len(levels)} rows.",
        ) from error
    if result is None or isinstance(result, str) or callable(result):
        raise DesignError(
            f"A contrast function returned {result!r}.",
            f"It must return a matrix with {len(levels)} rows.",
        )
    return result


def completed(
    matrix: ArrayLike,
    names: tuple[str, ...] | None,
    levels: Sequence[str],
    how_many: int | None = None,
) -> Coding:
    """A contrast matrix with exactly `how_many` columns, as R's ``contrasts<-``.

    Parameters
    ----------
    matrix : array_like, shape (k,) or (k, m)
        The columns given.
    names : tuple of str or None
        Their names; None numbers them.
    levels : sequence of str, length k
        The levels.
    how_many : int, optional
        The number of columns wanted, k - 1 by default.
    """
    k = len(levels)
    wanted = k - 1 if how_many is None else how_many
    try:
        given = np.array(matrix, dtype=np.float64, ndmin=2)
    except (TypeError, ValueError):
        given = np.empty((0, 0))
    if given.size and np.ndim(matrix) == 1:
        given = given.T
    m = given.shape[-1]
    if given.ndim != 2 or given.shape[0] != k or not np.isfinite(given).all():
        raise DesignError(
            f"A contrast matrix of shape {given.shape} was given for {k} levels.",
            f"It must have {k} rows of finite numbers, one for each level.",
        )
    if names is not None and len(names) != m:
        raise DesignError(
            f"{len(names)} names were given for {m} contrast columns.",
            "Give one name for each column.",
        )
    if not 1 <= wanted <= max(m, k - 1):
        raise DesignError(
            f"{wanted} contrast columns were asked for.",
            f"{k} levels have between 1 and {k - 1}.",
        )
    if m >= wanted:
        return given[:, :wanted], (names or numbered(m))[:wanted]
    start = np.column_stack([np.ones(k), given])
    q, r = np.linalg.qr(start, mode="complete")
    if np.abs(np.diag(r)).min() <= 1e-7 * np.linalg.norm(start, axis=0).max():
        raise DesignError(
            "The columns of a contrast matrix are linearly dependent.",
            "They must be independent of each other and of a constant column.",
        )
    full = np.column_stack([given, q[:, m + 1 : wanted + 1]])
    # R leaves the names of added columns empty where the others have names.
    return full, (numbered(wanted) if names is None else names + ("",) * (wanted - m))
