"""A design from matrices instead of a formula."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError, DesignError, OptionError, near
from lme.formula.bars import WRAPPERS
from lme.formula.records import Design, RandomTerm

Floats = NDArray[np.float64]

STRUCTURES = tuple(
    dict.fromkeys(name for both in WRAPPERS.values() for name in both if name)
)
_NEW = "The new response"


def design_from_arrays(
    endog: Any,
    exog: Any,
    groups: Any,
    *,
    exog_re: Any = None,
    structure: str | Mapping[str, str] = "us",
    weights: Any = None,
    offset: Any = None,
) -> Design:
    """The design of a model given as matrices.

    Parameters
    ----------
    endog : array_like, shape (n,)
        Response.
    exog : array_like, shape (n, p), or None
        Fixed-effects matrix; names come from a frame's columns, else ``const`` and
        ``x1``, ``x2`` and so on.
    groups : array_like, shape (n,), or mapping of str to array_like
        Level of each row, by grouping factor.
    exog_re : array_like, shape (n, k), mapping, or None
        Random-effects columns by grouping factor; by default an intercept. A column
        that is in `exog` too has its name.
    structure : str or mapping of str to str
        ``"us"`` or ``"diag"``, by grouping factor.
    weights, offset : array_like, shape (n,), or None
        Prior weights and known part of the mean.

    Returns
    -------
    Design
        As from a formula, but without a way to new data.

    Raises
    ------
    DataError, DataTypeError
        For wrong lengths and types, missing values, and infinities.
    OptionError
        For names and structures that are not known.
    """
    y = _numbers("endog", endog, 1)
    n = y.size
    every = {"exog": exog, "groups": groups, "exog_re": exog_re}
    _check_alignment(endog, every | {"weights": weights, "offset": offset})
    if n == 0:
        raise DataError("endog has no rows.", "A model needs observations.")
    X = np.zeros((n, 0)) if exog is None else _numbers("exog", exog, 2, n)
    names = _column_names(exog, X, "x", "const")
    terms = _terms(groups, exog_re, structure, X, names)
    prior = None if weights is None else _numbers("weights", weights, 1, n)
    if prior is not None and (prior <= 0).any():
        raise DataError(
            f"weights has {int((prior <= 0).sum())} values that are not positive.",
            "The residual variance is sigma^2 / weight.",
            "Leave out the rows with a weight of zero.",
        )
    constant = [bool((X[:, j] == 1).all()) for j in range(X.shape[1])]
    first = constant.index(True) if True in constant else -1
    labels = tuple(name for j, name in enumerate(names) if j != first)
    numbers = count(1)
    y_name = str(getattr(endog, "name", None) or "y")
    bars = " + ".join(f"({' + '.join(t.columns)} | {t.group})" for t in terms)
    text = f"{y_name} ~ {' + '.join([*names, bars] if names else ['0', bars])}"
    index = endog.index if isinstance(endog, pd.Series) else pd.RangeIndex(n)
    return Design(
        formula=text,
        expanded=text,
        y=y,
        y_name=y_name,
        X=np.asfortranarray(X),
        column_names=names,
        assign=tuple(0 if j == first else next(numbers) for j in range(X.shape[1])),
        term_labels=labels,
        offset=None if offset is None else _numbers("offset", offset, 1, n),
        weights=prior,
        terms=terms,
        index=index,
        full_index=index,
        kept=np.ones(n, dtype=bool),
        dropped_rows=np.empty(0, dtype=np.intp),
        na_action="omit",
        warnings=(),
        # New data need a formula; without one there is nothing to remember.
        recipe=None,
    )


def _check_alignment(endog: Any, others: Mapping[str, Any]) -> None:
    """Refuse pandas objects whose rows are labelled in another way than endog's."""
    if not isinstance(endog, pd.Series | pd.DataFrame):
        return
    for name, given in others.items():
        parts = given.values() if isinstance(given, Mapping) else [given]
        for part in parts:
            if not isinstance(part, pd.Series | pd.DataFrame):
                continue
            if len(part) == len(endog) and not part.index.equals(endog.index):
                raise DataError(
                    f"The index of {name} differs from that of endog.",
                    "Rows are matched by their position, so the labels must agree.",
                    f"Pass {name}.reindex(endog.index), or plain arrays.",
                )


def response_of(design: Design, y: Any) -> Floats:
    """A new response for the rows of a design.

    Parameters
    ----------
    design : Design
        The design whose rows are wanted.
    y : array_like, shape (nobs,) or (rows,)
        One value a row used, or one a row of the data before missing values were
        dropped.

    Returns
    -------
    ndarray, shape (nobs,)
        Finite numbers.

    Raises
    ------
    DataError, DataTypeError
        If the length fits neither, or values are not finite numbers.
    DesignError
        If all values are equal.
    """
    n, rows = len(design.index), len(design.full_index)
    if isinstance(y, pd.Series):
        _check_index(design, y)
    try:
        values = np.asarray(y)
    except ValueError:  # lists of unequal lengths
        values = np.empty((0, 0))
    if values.dtype.kind == "c":
        raise DataTypeError(
            "The new response holds complex numbers.", "Expected real numbers."
        )
    if values.ndim == 1 and values.size == rows != n:
        values = values[design.kept]
    if values.shape != (n,):
        lengths = f"{n}" if rows == n else f"{n} (rows used) or {rows} (all rows)"
        raise DataError(
            f"{_NEW} has shape {values.shape}.",
            f"It must have one value a row: {lengths}.",
            "Refit the columns of a matrix one by one." if values.ndim == 2 else "",
        )
    found = _numbers(_NEW, values, 1)
    if np.ptp(found) == 0.0 < np.ptp(design.y):
        raise DesignError(
            f"{_NEW} is constant: it is {found[0]:g} in every row.",
            "A response must vary to be modelled.",
            "Look for the wrong column.",
        )
    return found


def _check_index(design: Design, y: pd.Series[Any]) -> None:
    """Refuse a series with the labels of the rows, but in another order."""
    index = design.index if len(y) == len(design.index) else design.full_index
    if len(y) != len(index) or y.index.equals(index):
        return
    # A series with labels of its own, such as those of a simulation, goes by position.
    if y.index.sort_values().equals(index.sort_values()):
        raise DataError(
            "The new response has the labels of the rows in another order.",
            "Expected the rows' order, or a plain array.",
            "Pass y.reindex(result.fittedvalues.index) or y.to_numpy().",
        )


def _numbers(name: str, values: Any, ndim: int, n: int | None = None) -> Floats:
    """`values` as floats of the right shape, finite; a copy.

    The caller may change the arrays later, and the model must stay what it was.
    """
    try:
        array = np.array(values, dtype=np.float64)
    except (TypeError, ValueError):
        if name == _NEW:
            raise DataTypeError(
                f"{_NEW} is not numeric.", "Expected numbers, one for each row."
            ) from None
        raise DataTypeError(
            f"{name} is not numeric.",
            "Matrices hold numbers; text and categories need a formula.",
            "Use lme.lmer with a formula.",
        ) from None
    if array.ndim == 1 and ndim == 2:
        array = array[:, None]
    if array.ndim == 2 and ndim == 1 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != ndim:
        raise DataError(
            f"{name} has shape {array.shape}.",
            f"It must have {ndim} dimension{'s' if ndim > 1 else ''}.",
            "Fit one response, then call refit for the others."
            if name == "endog"
            else "",
        )
    if n is not None and array.shape[0] != n:
        raise DataError(
            f"{name} has {array.shape[0]} rows and endog has {n}.",
            "All must have one row an observation.",
        )
    bad = ~np.isfinite(array)
    if bad.any() and name == _NEW:
        raise DataError(
            f"{_NEW} has {int(bad.sum())} missing or infinite values.",
            "Every row that the model uses needs a number.",
            "To leave rows out, use update(data=...).",
        )
    if bad.any():
        raise DataError(
            f"{name} has {int(bad.sum())} missing or infinite values.",
            "Matrices must be complete.",
            "Drop the rows from all of them first, or use lme.lmer, which does.",
        )
    return array


def _column_names(
    source: Any, array: Floats, letter: str, constant: str
) -> tuple[str, ...]:
    columns = getattr(source, "columns", None)
    if columns is not None:
        names = tuple(str(name) for name in columns)
    elif isinstance(source, pd.Series) and source.name is not None:
        names = (str(source.name),)
    else:
        ones = [bool((column == 1).all()) for column in array.T]
        first = ones.index(True) if True in ones else -1
        numbers = count(1)
        names = tuple(
            constant if j == first else f"{letter}{next(numbers)}"
            for j in range(array.shape[1])
        )
    repeated = [name for name in names if names.count(name) > 1]
    if repeated:
        raise DataError(
            f"{names.count(repeated[0])} columns are called {repeated[0]!r}.",
            "Each column needs a name of its own.",
        )
    return names


def _terms(
    groups: Any, exog_re: Any, structure: Any, X: Floats, names: tuple[str, ...]
) -> tuple[RandomTerm, ...]:
    n = X.shape[0]
    if groups is None:
        raise DataError(
            "groups is missing.",
            "A mixed model needs a grouping factor.",
            "Pass groups=; for a model without random effects use statsmodels' OLS.",
        )
    if isinstance(groups, pd.DataFrame):
        groups = {str(name): groups[name] for name in groups.columns}
    if not isinstance(groups, Mapping):
        name = str(getattr(groups, "name", None) or "group")
        groups = {name: groups}
        exog_re = exog_re if isinstance(exog_re, Mapping) else {name: exog_re}
    elif exog_re is not None and not isinstance(exog_re, Mapping):
        raise DataTypeError(
            "groups has names, but exog_re has none.",
            "exog_re must be a mapping with the same names.",
        )
    exog_re = exog_re or {}
    _check_names("exog_re", exog_re, groups)
    if isinstance(structure, Mapping):
        _check_names("structure", structure, groups)
    terms = []
    for name, labels in groups.items():
        codes, levels = _levels(str(name), labels, n)
        chosen = (
            structure.get(name, "us") if isinstance(structure, Mapping) else structure
        )
        if chosen not in STRUCTURES:
            raise OptionError(
                f"structure is {chosen!r}.",
                f"Expected one of {', '.join(map(repr, STRUCTURES))}.",
            )
        for part in _parts(exog_re.get(name), n):
            values = _numbers(f"exog_re for {name!r}", part, 2, n)
            columns = _column_names(part, values, "z", "(Intercept)")
            if not hasattr(part, "columns"):
                columns = _shared_names(values, columns, X, names)
            values = np.ascontiguousarray(values)
            terms.append(RandomTerm(str(name), columns, chosen, codes, levels, values))
    # lme4's order: more levels first, else as given.
    return tuple(sorted(terms, key=lambda term: -len(term.levels)))


def _shared_names(
    values: Floats, columns: tuple[str, ...], X: Floats, names: tuple[str, ...]
) -> tuple[str, ...]:
    """Names of random-effects columns; those of exog for columns that are in it."""
    found = list(columns)
    for i, column in enumerate(values.T):
        for name, fixed in zip(names, X.T, strict=True):
            if name not in found and np.array_equal(column, fixed):
                found[i] = name
    return tuple(found)


def _parts(columns: Any, n: int) -> Sequence[Any]:
    if columns is None:
        return [np.ones((n, 1))]
    if isinstance(columns, list | tuple) and any(np.ndim(part) for part in columns):
        arrays = [np.asarray(part) for part in columns]
        if all(array.ndim and array.shape[0] == n for array in arrays):
            return columns
    return [columns]


def _check_names(
    option: str, given: Mapping[str, Any], groups: Mapping[str, Any]
) -> None:
    for name in given:
        if name not in groups:
            raise OptionError(
                f"{option} names {name!r}, which is not in groups.",
                f"The grouping factors are {', '.join(map(repr, groups))}.",
                near(str(name), groups),
            )


def _is_column(array: Any) -> bool:
    return isinstance(array, np.ndarray) and array.ndim == 2 and array.shape[1] == 1


def _levels(name: str, labels: Any, n: int) -> tuple[NDArray[np.intp], tuple[str, ...]]:
    try:
        given = labels if isinstance(labels, pd.Series) else np.asarray(labels)
        values = pd.Series(np.ravel(given) if _is_column(given) else given)
        factor = pd.Categorical(values).remove_unused_categories()
    except (TypeError, ValueError, NotImplementedError) as error:
        raise DataTypeError(
            f"The grouping factor {name!r} cannot be used.",
            "Expected one number, string, bool or category for each row.",
        ) from error
    if values.size != n:
        raise DataError(
            f"The grouping factor {name!r} has {values.size} rows and endog has {n}.",
            "It must have one level a row.",
        )
    codes = np.asarray(factor.codes, dtype=np.intp)
    if (codes < 0).any():
        raise DataError(
            f"The grouping factor {name!r} has missing values in "
            f"{int((codes < 0).sum())} rows.",
            "Every row needs a level.",
            "Drop the rows first.",
        )
    return codes, tuple(str(level) for level in factor.categories)
