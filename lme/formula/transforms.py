"""Numeric transformations that remember the training data: scale, poly, mean.

Each pair ``*_fit`` and ``*_apply`` returns what must be remembered with the value,
and repeats the value on new data.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError
from lme.formula import polynomials
from lme.formula.arguments import State, check_size, required, switch, vector, whole
from lme.formula.values import Matrix, Value, as_double, rows

MAX_DEGREE = 100


def scale_fit(
    x: Value, center: Value = None, scale: Value = None
) -> tuple[State, Value]:
    """R's ``scale``: columns less their mean, over their standard deviation.

    Notes
    -----
    Missing values are left out of both statistics, and the divisor is n - 1.
    Without centring the scale is the root of sum(x^2) / (n - 1).
    """
    values = _columns(x, "scale")
    count = values.shape[1]
    middle = _statistic(center, values, column_means, "center")
    centred = values if middle is None else values - middle
    spread = _statistic(scale, centred, _root_mean_squares, "scale")
    state = {"center": middle, "scale": spread, "columns": count}
    return state, scale_apply(state, x)


def scale_apply(state: State, x: Value, *_: Value) -> Value:
    """`scale_fit` repeated on new data with the remembered statistics."""
    values = _columns(x, "scale", state["columns"])
    if state["center"] is not None:
        values = values - state["center"]
    if state["scale"] is not None:
        values = values / state["scale"]
    return Matrix(values, x.columns if isinstance(x, Matrix) else None)


def _columns(x: Value, function: str, count: int | None = None) -> NDArray[np.float64]:
    values = as_double(required(x, function), f"The argument of {function}()")
    values = values[:, None] if values.ndim == 1 else values
    if count is not None and values.shape[1] != count:
        raise FormulaError(
            f"{function}() got {values.shape[1]} columns in new data.",
            f"It was fitted with {count}.",
        )
    return values


def _statistic(
    option: Value,
    values: NDArray[np.float64],
    compute: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    name: str,
) -> NDArray[np.float64] | None:
    """The numbers given, or computed when the option is TRUE; None when FALSE."""
    if option is None or (isinstance(option, np.ndarray) and option.dtype.kind == "b"):
        return compute(values) if option is None or option.all() else None
    given = vector(option, "scale", name)
    if len(given) != values.shape[1] or np.isnan(given).any():
        raise FormulaError(
            f"scale() got {len(given)} values in {name!r}.",
            f"It needs TRUE, FALSE or {values.shape[1]} number(s).",
        )
    return np.array(given)


def column_means(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of each column over its values that are not missing.

    Notes
    -----
    A second pass over the residuals makes up for the rounding of the first.
    """
    present = ~np.isnan(values)
    count = present.sum(axis=0)
    first = np.where(present, values, 0).sum(axis=0) / count
    rest = np.where(present, values - first, 0).sum(axis=0) / count
    return np.asarray(np.where(np.isfinite(first), first + rest, first))


def _root_mean_squares(values: NDArray[np.float64]) -> NDArray[np.float64]:
    present = ~np.isnan(values)
    squares = np.where(present, values**2, 0).sum(axis=0)
    return np.asarray(np.sqrt(squares / np.maximum(1, present.sum(axis=0) - 1)))


def poly_fit(
    x: Value,
    more: tuple[Value, ...],
    degree: Value = None,
    coefs: Value = None,
    raw: Value = None,
    simple: Value = None,
) -> tuple[State, Value]:
    """R's ``poly``: orthonormal or raw polynomials in one or more variables.

    Notes
    -----
    The columns are orthonormal on the training data; their recurrence
    coefficients are remembered, see `lme.formula.polynomials`. With several
    variables they are products, up to the total degree.
    """
    if coefs is not None:
        raise FormulaError("poly() got 'coefs'.", "It remembers them by itself.")
    if len(more) == 1 and rows(more[0]) == 1 and not isinstance(more[0], Matrix):
        degree, more = more[0], ()
    top = whole(degree, "poly", "degree", 1)
    raw_powers = switch(raw, "poly", "raw", False)
    variables = _variables(x, more)
    if not 1 <= top <= MAX_DEGREE:
        raise FormulaError(
            f"poly() got degree {top}.", f"It must be in 1 to {MAX_DEGREE}."
        )
    check_size(len(variables[0]), (top + 1) * len(variables), "poly")
    state: State = {
        "degree": top,
        "variables": len(variables),
        "recurrences": None,
    }
    if raw_powers:
        return state, _products([_powers(v, top) for v in variables], top)
    pairs = [_orthonormal(v, top) for v in variables]
    state["recurrences"] = tuple(recurrence for recurrence, _ in pairs)
    return state, _products([values for _, values in pairs], top)


def poly_apply(state: State, x: Value, more: tuple[Value, ...], *_: Value) -> Value:
    """`poly_fit` evaluated on new data by the remembered recurrences."""
    variables = _variables(x, more)[: state["variables"]]
    top = state["degree"]
    if state["recurrences"] is None:
        return _products([_powers(v, top) for v in variables], top)
    pairs = zip(state["recurrences"], variables, strict=True)
    return _products([polynomials.evaluate(r, v)[:, 1:] for r, v in pairs], top)


def _powers(x: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    return np.asarray(x[:, None] ** np.arange(1, degree + 1))


def _variables(x: Value, more: tuple[Value, ...]) -> list[NDArray[np.float64]]:
    variables: list[NDArray[np.float64]] = []
    for value in (required(x, "poly"), *more):
        block = as_double(value, "An argument of poly()")
        variables.extend([block] if block.ndim == 1 else list(block.T))
    if not variables:
        raise FormulaError("poly() got a matrix without columns.")
    return variables


def _orthonormal(
    x: NDArray[np.float64], degree: int
) -> tuple[State, NDArray[np.float64]]:
    """The recurrence and the columns of degree 1 to `degree`."""
    if not np.isfinite(x).all():
        raise FormulaError(
            "poly() got missing or infinite values.",
            "Orthogonal polynomials need a number in every row.",
            "Drop these rows first, or use raw = TRUE.",
        )
    distinct = len(np.unique(x))
    if degree >= distinct:
        raise FormulaError(
            f"poly() got degree {degree} for {distinct} distinct values.",
            f"The degree can be at most {distinct - 1}.",
        )
    recurrence, basis = polynomials.orthonormal(x, degree)
    if not np.isfinite(basis).all():
        raise FormulaError(
            f"poly() cannot make degree {degree} of these values.",
            remedy="Use a smaller degree, or scale the variable.",
        )
    return recurrence, basis[:, 1:]


def _products(columns: list[NDArray[np.float64]], degree: int) -> Matrix:
    """All products up to a total degree, the first variable's degree fastest."""
    if len(columns) == 1:
        return Matrix(columns[0], tuple(map(str, range(1, degree + 1))))
    if len({len(c) for c in columns}) > 1:
        raise FormulaError("poly() combines vectors of different lengths.")
    check_size(1, (degree + 1) ** len(columns), "poly")
    powers = [
        cell[::-1]
        for cell in product(range(degree + 1), repeat=len(columns))
        if 0 < sum(cell) <= degree
    ]
    check_size(len(columns[0]), len(powers), "poly")
    values = np.ones((len(columns[0]), len(powers)))
    for j, cell in enumerate(powers):
        for block, power in zip(columns, cell, strict=True):
            if power:
                values[:, j] *= block[:, power - 1]
    return Matrix(values, tuple(".".join(map(str, cell)) for cell in powers))


def quantile7(x: NDArray[np.float64], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quantiles of R's type 7: linear between order statistics.

    Examples
    --------
    >>> quantile7(np.array([4.0, 1.0, 2.0]), np.array([0.25]))
    array([1.5])
    """
    ordered = np.sort(x)
    index = (len(x) - 1) * p
    low = np.floor(index).astype(np.intp)
    high = np.ceil(index).astype(np.intp)
    weight = index - low
    between = (1 - weight) * ordered[low] + weight * ordered[high]
    # Equal neighbours must give their value without rounding.
    return np.where(ordered[low] == ordered[high], ordered[low], between)


def _variance(x: NDArray[np.float64]) -> float:
    if len(x) < 2:
        return float("nan")
    return float(np.sum((x - column_means(x[:, None])[0]) ** 2) / (len(x) - 1))


SUMMARIES: dict[str, Callable[[NDArray[np.float64]], float]] = {
    "mean": lambda x: float(column_means(x[:, None])[0]),
    "sd": lambda x: float(np.sqrt(_variance(x))),
    "var": _variance,
    "min": lambda x: float(x.min()),
    "max": lambda x: float(x.max()),
    "median": lambda x: float(quantile7(x, np.array([0.5]))[0]),
    "sum": lambda x: float(x.sum()),
}


def summary_fit(name: str) -> Callable[..., tuple[State, Value]]:
    """A scalar of the training data, which new data do not change.

    R would compute ``mean(x)`` in ``I(x - mean(x))`` from the new data at hand,
    and so shift the predictions.
    """

    def fit(x: Value, na_rm: Value = None) -> tuple[State, Value]:
        numbers = vector(required(x, name), name, "x")
        absent = np.isnan(numbers)
        if switch(na_rm, name, "na.rm", False):
            numbers = numbers[~absent]
        if not len(numbers):
            raise FormulaError(f"{name}() got no values.")
        result: float | int = np.nan
        if not np.isnan(numbers).any():
            result = SUMMARIES[name](numbers)
        if (
            isinstance(x, np.ndarray)
            and x.dtype.kind in "ib"
            and name in ("min", "max", "sum")
        ):
            result = int(result)
        return {"value": result}, np.array([result])

    return fit


def quantile_fit(
    x: Value, probs: Value = None, na_rm: Value = None
) -> tuple[State, Value]:
    """R's ``quantile(x, probs)`` of the training data, as for knots."""
    numbers = vector(required(x, "quantile"), "quantile", "x")
    absent = np.isnan(numbers)
    if switch(na_rm, "quantile", "na.rm", False):
        numbers = numbers[~absent]
    elif absent.any():
        raise FormulaError("quantile() got missing values.", remedy="Add na.rm = TRUE.")
    p = np.linspace(0, 1, 5) if probs is None else vector(probs, "quantile", "probs")
    if not len(numbers) or not ((p >= 0) & (p <= 1)).all():
        raise FormulaError("quantile() needs values, and probabilities in 0 to 1.")
    result = quantile7(numbers, p)
    return {"value": result}, result


def remembered(state: State, *_: Value) -> Value:
    """The remembered scalar or vector."""
    return np.atleast_1d(state["value"])
