"""Known covariances between levels as users give them: pedigrees, phylogenies, maps.

A matrix is matched with the levels of its grouping factor by its labels. Levels that
it has beyond those of the data, such as ancestors without records, become levels of
the model: they have random effects too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lme.covariance.known import Known, dense_covariance, sparse_precision
from lme.errors import DataError, DataTypeError, OptionError, near
from lme.formula.design import Design, RandomTerm
from lme.formula.levels import label

Array = NDArray[np.float64]

#: Differences between a matrix and its transpose that rounding explains.
_ASYMMETRY = 1e-8
_NAMED = 5


@dataclass(frozen=True)
class Precision:
    """The inverse of a known covariance between levels, for ``covariances=``.

    Parameters
    ----------
    matrix : sparse matrix, DataFrame or array_like, shape (l, l)
        Symmetric and positive definite, such as the inverse of a pedigree's
        relationship matrix; only its entries that are not zero cost anything.
    levels : sequence, optional
        Label of each row; by default the index of a DataFrame, else the levels of the
        data in their order.

    Examples
    --------
    >>> import numpy as np, lme
    >>> from lme.relatedness import Precision
    >>> near = np.array([[2.0, -1.0], [-1.0, 2.0]])
    >>> Precision(near, levels=["north", "south"]).levels
    ('north', 'south')
    """

    matrix: Any = field(repr=False)
    levels: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        if self.levels is not None:
            object.__setattr__(self, "levels", tuple(self.levels))


def relate(design: Design, covariances: Mapping[str, Any] | None) -> Design:
    """The design with known covariances between the levels of grouping factors.

    Parameters
    ----------
    design : Design
    covariances : mapping of str to matrix or Precision, or None
        By the name of the grouping factor.

    Returns
    -------
    Design
        Levels beyond those of the data stand behind them.

    Raises
    ------
    OptionError
        For a grouping factor that the model does not have.
    DataError, DataTypeError
        For matrices that are no covariances, and for levels that they lack.
    """
    if covariances is None:
        return design
    if not isinstance(covariances, Mapping):
        raise DataTypeError(
            f"covariances is of type {type(covariances).__name__}.",
            "Expected a mapping from a grouping factor to a matrix.",
            "Write covariances={'id': K}.",
        )
    groups = list(dict.fromkeys(term.group for term in design.terms))
    for name in covariances:
        if name not in groups:
            raise OptionError(
                f"covariances names {name!r}, which is not a grouping factor.",
                f"The grouping factors are {', '.join(map(repr, groups))}.",
                near(str(name), groups),
            )
    found = {name: _matched(name, given, design) for name, given in covariances.items()}
    terms = tuple(
        replace(term, levels=found[term.group][0], known=found[term.group][1])
        if term.group in found
        else term
        for term in design.terms
    )
    recipe = design.recipe
    if recipe is not None:
        random = tuple(
            replace(each, grouping=replace(each.grouping, levels=term.levels))
            for each, term in zip(recipe.random, terms, strict=True)
        )
        recipe = replace(recipe, random=random)
    return replace(design, terms=terms, recipe=recipe)


def _matched(name: str, given: Any, design: Design) -> tuple[tuple[str, ...], Known]:
    """Levels of a factor, those of the data first, and their covariance."""
    old = next(term.levels for term in design.terms if term.group == name)
    precise = isinstance(given, Precision)
    kind = "precision" if precise else "covariance"
    matrix, labels = _read(name, kind, given)
    if labels is None:
        if matrix.shape[0] != len(old):
            raise DataError(
                f"The {kind} of {name!r} has {matrix.shape[0]} rows and no labels; the "
                f"factor has {len(old)} levels in the data.",
                "Without labels its rows are the levels in their order.",
                "Give a DataFrame with the levels as index and columns, or "
                "Precision(matrix, levels=...).",
            )
        labels = old
    levels, order = _ordered(name, kind, labels, old)
    extra = len(levels) - len(old)
    if extra and _is_interaction(name, design):
        raise DataError(
            f"The {kind} of {name!r} has {extra} levels that the data do not have.",
            "For an interaction of factors it must have those of the data alone.",
            "Make the interaction a column of its own.",
        )
    _check_symmetric(name, kind, matrix, labels)
    if precise:
        moved = matrix[order][:, order]
        mean = sparse.csc_array(0.5 * (moved + moved.T))
        return levels, sparse_precision(mean, name)
    turned = matrix[np.ix_(order, order)]
    symmetric = 0.5 * (turned + turned.T)
    return levels, dense_covariance(symmetric, np.arange(len(old)), name)


def _is_interaction(name: str, design: Design) -> bool:
    if design.recipe is None:
        return False
    return any(
        term.group == name and each.grouping.parts is not None
        for term, each in zip(design.terms, design.recipe.random, strict=True)
    )


def _read(name: str, kind: str, given: Any) -> tuple[Any, tuple[str, ...] | None]:
    """A square matrix of finite numbers (sparse for a precision), and its labels."""
    labels = None
    if isinstance(given, Precision):
        labels, given = given.levels, given.matrix
    if isinstance(given, Mapping):
        raise DataTypeError(
            f"The {kind} of {name!r} is a mapping.",
            "Expected a DataFrame, an array, or a Precision.",
            "Write lme.relatedness.Precision(matrix, levels=...).",
        )
    if hasattr(given, "index") and hasattr(given, "columns"):
        own = tuple(given.index)
        if set(own) != set(given.columns) or len(own) != len(given.columns):
            raise DataError(
                f"The index and the columns of the {kind} of {name!r} differ.",
                "Both are the levels.",
            )
        labels = own if labels is None else labels
        # The columns may come in another order than the rows.
        given = given if own == tuple(given.columns) else given.loc[:, list(own)]
    matrix = _numbers(name, kind, given)
    if labels is None:
        return matrix, None
    if len(labels) != matrix.shape[0]:
        raise DataError(
            f"The {kind} of {name!r} has {matrix.shape[0]} rows and {len(labels)} "
            "labels.",
            "Every row is a level.",
        )
    texts = tuple(label(each) for each in labels)
    if len(set(texts)) != len(texts):
        twice = next(text for text in texts if texts.count(text) > 1)
        raise DataError(
            f"The {kind} of {name!r} has the level {twice!r} more than once.",
            "Every level has one row.",
        )
    return matrix, texts


def _numbers(name: str, kind: str, given: Any) -> Any:
    """A float matrix, dense for a covariance and sparse for a precision; checked."""
    matrix: Any
    try:
        if kind == "precision":
            matrix = sparse.csc_array(given, dtype=np.float64)
        else:
            dense: Any = getattr(given, "toarray", lambda: given)()
            matrix = np.array(dense, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataTypeError(
            f"The {kind} of {name!r} is not a numeric matrix.",
            "Expected a DataFrame, an array or a sparse matrix of numbers.",
        ) from None
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.shape[0]:
        raise DataError(
            f"The {kind} of {name!r} has shape {matrix.shape}.",
            "A square matrix was expected, with a row and a column for each level.",
        )
    entries = matrix.data if kind == "precision" else matrix
    bad = int((~np.isfinite(np.asarray(entries))).sum())
    if bad:
        raise DataError(
            f"The {kind} of {name!r} has {bad} missing or infinite entries.",
            "Every entry must be a number.",
        )
    return matrix


def _ordered(
    name: str, kind: str, labels: tuple[str, ...], old: tuple[str, ...]
) -> tuple[tuple[str, ...], NDArray[np.intp]]:
    """Levels, those of the data first, and the row of each in the matrix."""
    place = {text: i for i, text in enumerate(labels)}
    lacking = [level for level in old if level not in place]
    if lacking:
        shown = ", ".join(map(repr, lacking[:_NAMED]))
        more = f" and {len(lacking) - _NAMED} others" if len(lacking) > _NAMED else ""
        raise DataError(
            f"The {kind} of {name!r} lacks {len(lacking)} of the {len(old)} levels of "
            f"the data: {shown}{more}.",
            "It must have every level that occurs.",
            near(lacking[0], labels) or "Leave out their rows with subset=.",
        )
    seen = set(old)
    levels = (*old, *(text for text in labels if text not in seen))
    return levels, np.array([place[text] for text in levels], dtype=np.intp)


def _check_symmetric(
    name: str, kind: str, matrix: Any, labels: tuple[str, ...]
) -> None:
    gap = abs(matrix - matrix.T)
    size = float(abs(matrix).max())
    if float(gap.max()) <= _ASYMMETRY * size:
        return
    i, j = np.unravel_index(int(gap.argmax()), matrix.shape)
    raise DataError(
        f"The {kind} of {name!r} is not symmetric: it has {matrix[i, j]:.6g} for "
        f"{labels[i]!r} and {labels[j]!r}, and {matrix[j, i]:.6g} the other way round.",
        "A covariance matrix is symmetric.",
    )


def known_terms(design: Design) -> list[RandomTerm]:
    """The random terms with a known covariance between levels."""
    return [term for term in design.terms if term.known is not None]
