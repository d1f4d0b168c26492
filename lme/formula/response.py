"""The response in the forms that R knows, and the row-wise arguments."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError, DesignError, FormulaError
from lme.formula.evaluation import Scope, check_names, evaluate
from lme.formula.matrices import check_finite, is_logical, settle
from lme.formula.parser import parse
from lme.formula.syntax import Name, Node
from lme.formula.values import Factor, Matrix, Value, as_double, as_value, describe

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Response:
    """The response as numbers, and what it was before.

    Parameters
    ----------
    y : ndarray of float64, shape (n,)
        The numbers to be modelled; proportions for counts of two columns.
    kind : {"numeric", "logical", "factor", "counts"}
        What stood on the left-hand side.
    levels : tuple of str
        The two levels of a factor, failure first.
    trials : ndarray of float64, shape (n,), or None
        Row sums of ``cbind(successes, failures)``.
    """

    y: Floats
    kind: str
    levels: tuple[str, ...] = ()
    trials: Floats | None = None


def is_binomial(family: Any) -> bool:
    """Whether a family, given by name or as an object, is binomial."""
    if family is None:
        return False
    name = family if isinstance(family, str) else getattr(family, "name", None)
    if not isinstance(name, str):
        name = family.__name__ if isinstance(family, type) else type(family).__name__
    return name.lower() in ("binomial", "bernoulli")


def read_response(name: str, value: Value, family: Any, index: Any) -> Response:
    """The response as numbers.

    Parameters
    ----------
    name : str
        Its text in the formula.
    value : Value
        Its values in the rows used.
    family : str, object or None
        The family; binomial ones read factors, strings and two columns.
    index : Index
        Labels of the rows, for messages.

    Raises
    ------
    DataTypeError, DesignError, DataError
        When the values do not fit the family.
    """
    binomial = is_binomial(family)
    if isinstance(value, Matrix):
        return _counts(name, value, binomial, index)
    logical = is_logical(value)
    settled = settle(value)
    if isinstance(settled, Factor) and not logical:
        return _two_levels(name, settled, binomial)
    if isinstance(settled, Factor):
        return Response(settled.codes.astype(np.float64), "logical", settled.levels)
    y = np.array(as_double(settled), dtype=np.float64)
    check_finite(f"The response {name}", y, index)
    return Response(y, "numeric")


def _counts(name: str, value: Matrix, binomial: bool, index: Any) -> Response:
    counts = value.values
    if not binomial or counts.shape[1] != 2:
        raise DesignError(
            f"The response {name} has {counts.shape[1]} columns.",
            "Expected one column; two, successes and failures, for a binomial family.",
            "To fit the same model to many responses, fit it to one and call"
            " refit() with the others.",
        )
    check_finite(f"The response {name}", value, index)
    if (counts < 0).any():
        raise DataError(
            f"The response {name} has negative counts.",
            "Expected numbers of successes and failures.",
        )
    trials = counts.sum(axis=1)
    y = np.divide(counts[:, 0], trials, out=np.zeros(len(counts)), where=trials > 0)
    return Response(y, "counts", (), trials)


def _two_levels(name: str, factor: Factor, binomial: bool) -> Response:
    if not binomial:
        raise DataTypeError(
            f"The response {name} is text or categories.",
            "Expected numbers.",
            "For two categories fit glmer(..., family='binomial').",
        )
    factor = factor.drop_unused()
    if len(factor.levels) > 2:
        raise DesignError(
            f"The response {name} has {len(factor.levels)} levels.",
            "A binomial family needs two; the first is failure.",
            "Compare two of them, such as with I(f == 'a').",
        )
    return Response(factor.codes.astype(np.float64), "factor", factor.levels)


def row_argument(
    name: str, given: Any, scope: Scope
) -> tuple[Floats | None, Node | None]:
    """An argument with one number for each row: a column, expression or array.

    Returns
    -------
    values : ndarray of float64, shape (rows of the data,), or None
        The numbers; None when nothing is given.
    node : Node or None
        The expression, when text was given.
    """
    if given is None:
        return None, None
    node: Node | None = None
    if isinstance(given, str):
        node, value = _expression(name, given, scope)
    else:
        value = _array_argument(name, given, scope)
    try:
        numbers = as_double(value, f"The argument {name}")
    except FormulaError as error:
        raise DataTypeError(error.found, error.expected) from error
    if numbers.shape != (scope.table.nrow,):
        raise DataError(
            f"The argument {name} has shape {numbers.shape}.",
            f"Expected {scope.table.nrow} numbers, one for each row of the data.",
        )
    return numbers, node


def _expression(name: str, given: str, scope: Scope) -> tuple[Node, Value]:
    """The text of the argument `name` as an expression, and its value."""
    inner = Scope(scope.table, scope.context, scope.memory, scope.learning, given)
    try:
        node: Node = Name(given) if given in scope.table else parse(given)
        check_names([node], inner)
        return node, evaluate(node, inner)
    except FormulaError as error:
        raise FormulaError(
            f"The argument {name} cannot be read. {error.found}",
            error.expected,
            error.remedy,
            text=error.text,
            position=error.position,
            length=error.length,
        ) from error


def _array_argument(name: str, given: Any, scope: Scope) -> Value:
    if isinstance(given, pd.Series):
        same = given.index.equals(scope.table.index)
        if not same and len(given) == scope.table.nrow:
            raise DataError(
                f"The index of {name} differs from that of the data.",
                "Expected the same index, or a plain array in the rows' order.",
                f"Pass {name}.reindex(data.index) or {name}.to_numpy().",
            )
    elif hasattr(given, "to_numpy"):
        given = given.to_numpy()
    try:
        return as_value(given)
    except DataTypeError as error:
        raise DataTypeError(
            f"The argument {name} cannot be used. {error.found}", error.expected
        ) from error


def check_weights(weights: Floats, binomial: bool) -> None:
    """Refuse weights that are not positive; zero is allowed for a binomial family."""
    bad = ~np.isfinite(weights) | (weights < 0 if binomial else weights <= 0)
    if bad.any():
        value = weights[np.flatnonzero(bad)[0]]
        raise DataError(
            f"{int(bad.sum())} weight(s) are not usable, the first is {value:g}.",
            "Weights are finite and positive; the variance is sigma^2 / weight.",
            "Leave rows of weight zero out with subset=.",
        )


def selected_rows(subset: Any, scope: Scope) -> NDArray[np.intp] | None:
    """Positions of the rows that `subset` selects, in its order; None for all."""
    if subset is None:
        return None
    nrow = scope.table.nrow
    if isinstance(subset, slice):
        return np.arange(nrow, dtype=np.intp)[subset]
    if isinstance(subset, str):
        value = _expression("subset", subset, scope)[1]
        if not is_logical(value) or len(value) != nrow:  # type: ignore[arg-type]
            raise DataTypeError(
                f"subset {subset!r} is {describe(value)}.",
                "Expected a condition for each row, such as 'x > 0'.",
            )
        return np.flatnonzero(as_double(value) == 1)
    if isinstance(subset, pd.Series):
        subset = _array_argument("subset", subset, scope)
    try:
        array = np.asarray(subset)
    except ValueError:  # lists of unequal lengths
        array = np.empty((0, 0))
    if array.dtype.kind == "O" and array.ndim == 1:
        array = np.array([False if v is None or v is pd.NA else v for v in array])
    if array.dtype.kind == "b" and array.shape == (nrow,):
        return np.flatnonzero(array)
    if array.dtype.kind in "iu" and array.ndim == 1:
        if len(array) and (array.min() < -nrow or array.max() >= nrow):
            raise DataError(
                f"subset has positions outside the {nrow} rows of the data.",
                f"Positions go from 0 to {nrow - 1}.",
            )
        positions: NDArray[np.intp] = np.arange(nrow, dtype=np.intp)[array]
        return positions
    found = f"an array of shape {array.shape} and type {array.dtype}"
    if not array.ndim:
        found = f"of type {type(subset).__name__}"
    raise DataTypeError(
        f"subset is {found}.",
        f"Expected {nrow} bools, positions, a slice, or an expression such as 'x > 0'.",
    )
