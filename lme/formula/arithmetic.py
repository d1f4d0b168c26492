"""Operators with R's types, missing values and recycling of single values.

A domain problem gives NaN without a warning: the caller counts the rows lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError, near
from lme.formula.arguments import required
from lme.formula.values import (
    Factor,
    Matrix,
    Value,
    as_double,
    as_factor,
    as_logical,
    as_vector,
    from_logical,
    is_text,
)


def numeric(value: Value, what: str) -> NDArray[Any]:
    """The numbers of a value: int64 where R has integers, else float64."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fi":
            return value
        if value.dtype.kind == "b":
            return value.astype(np.int64)
    return as_double(value, what)


def rewrap(result: NDArray[Any], *operands: Value) -> Value:
    """An array with the matrix structure of its operands, if there is one."""
    if result.ndim == 1:
        return result
    names = [v.columns for v in operands if isinstance(v, Matrix)]
    return Matrix(result.astype(np.float64, copy=False), names[0] if names else None)


def aligned(symbol: str, *arrays: NDArray[Any]) -> list[NDArray[Any]]:
    """Arrays ready to be broadcast: equal length, or length one."""
    lengths = {len(a) for a in arrays if len(a) != 1 or a.ndim == 2}
    if len(lengths) > 1:
        raise FormulaError(
            f"{symbol} combines vectors of lengths {sorted(lengths)}.",
            "Both must have one value for each row, or be single values.",
        )
    if len({a.shape[1] for a in arrays if a.ndim == 2}) > 1:
        raise FormulaError(f"{symbol} combines matrices of different widths.")
    if len({a.ndim for a in arrays}) == 1:
        return list(arrays)
    return [a[:, None] if a.ndim == 1 else a for a in arrays]


def _add(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(a + b)


def _subtract(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(a - b)


def _multiply(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(a * b)


def _divide(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.true_divide(a, b))


def _power(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    base = a.astype(np.float64, copy=False)
    # A square is one rounding, which the general power does not guarantee.
    if b.size == 1 and b.flat[0] == 2:
        return base * base
    return np.asarray(np.power(base, b.astype(np.float64, copy=False)))


def _modulo(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.mod(a, b))


def _quotient(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    return np.asarray(np.floor_divide(a, b))


ARITHMETIC: dict[str, Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]]] = {
    "+": _add,
    "-": _subtract,
    "*": _multiply,
    "/": _divide,
    "^": _power,
    "%%": _modulo,
    "%/%": _quotient,
}


def arithmetic(symbol: str) -> Callable[..., Value]:
    """The function of an arithmetic operator, unary where R has it."""
    compute = ARITHMETIC[symbol]
    what = f"An operand of {symbol}"

    def operate(x: Value, y: Value = None) -> Value:
        a = numeric(required(x, symbol), what)
        if y is None and symbol in "+-":
            return rewrap(-a if symbol == "-" else a, x)
        b = numeric(required(y, symbol, "the right operand"), what)
        if a.ndim + b.ndim > 2 or len(a) != len(b):
            a, b = aligned(symbol, a, b)
        if a.dtype.kind == b.dtype.kind == "i" and _too_large(a, b, symbol):
            a, b = a.astype(np.float64), b.astype(np.float64)
        if symbol in ("%%", "%/%") and _integral(x) and _integral(y) and not b.all():
            # Integer division by zero is missing in R.
            b = np.where(b == 0, np.nan, b)
        return rewrap(compute(a, b), x, y)

    return operate


def _integral(value: Value) -> bool:
    """Whether R would hold a numeric value as integers, logical values included."""
    return isinstance(value, np.ndarray) and value.dtype.kind in "biO"


def _too_large(a: NDArray[Any], b: NDArray[Any], symbol: str) -> bool:
    """Whether int64 would overflow, where R gives NA and a double still works."""
    if symbol not in "+-*" or not a.size or not b.size:
        return False
    bounds = [max(abs(int(v.min())), abs(int(v.max()))) for v in (a, b)]
    product = bounds[0] * bounds[1]
    return (product if symbol == "*" else sum(bounds)) >= 2**62


COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "==": np.equal,
    "!=": np.not_equal,
    "<": np.less,
    "<=": np.less_equal,
    ">": np.greater,
    ">=": np.greater_equal,
}


def comparison(symbol: str) -> Callable[..., Value]:
    """The function of a comparison; factors compare by label or by their order."""
    compute = COMPARISONS[symbol]

    def compare(x: Value, y: Value) -> Value:
        x = as_vector(required(x, symbol))
        y = as_vector(required(y, symbol, "the right operand"))
        if isinstance(x, Factor) or isinstance(y, Factor):
            a, b = _factor_operands(x, y, symbol)
        elif is_text(x) or is_text(y):
            a, b = _texts(x), _texts(y)
        else:
            a = as_double(x, f"An operand of {symbol}")
            b = as_double(y, f"An operand of {symbol}")
        a, b = aligned(symbol, a, b)
        absent = _absent(a) | _absent(b)
        if a.dtype.kind == "O":
            truth = np.zeros(absent.shape, dtype=bool)
            a, b = np.broadcast_arrays(a, b)
            truth[~absent] = compute(a[~absent], b[~absent])
        else:
            truth = compute(a, b)
        return from_logical(truth, absent)

    return compare


def _absent(a: NDArray[Any]) -> NDArray[np.bool_]:
    return np.asarray(a == None if a.dtype.kind == "O" else np.isnan(a))  # noqa: E711


def _texts(value: Value) -> NDArray[Any]:
    """A vector as strings, None where missing."""
    factor = as_factor(value)
    return np.array([*factor.levels, None], dtype=object)[factor.codes]


def _factor_operands(
    x: Value, y: Value, symbol: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both operands as positions in one list of levels, NaN where missing."""
    first = x if isinstance(x, Factor) else y
    assert isinstance(first, Factor)
    factors = [as_factor(v) for v in (x, y)]
    both = all(isinstance(v, Factor) for v in (x, y))
    order = symbol not in ("==", "!=")
    if order and not (first.ordered and all(f.ordered for f in factors if both)):
        raise FormulaError(
            f"{symbol} compares an unordered factor.",
            "Only ordered factors have a smaller and a larger level.",
            "Use ordered(...) or compare with == and !=.",
        )
    levels = list(first.levels)
    unknown = [t for f in factors for t in f.levels if t not in set(levels)]
    if both and set(factors[0].levels) != set(factors[1].levels):
        raise FormulaError(
            f"{symbol} compares factors with different levels.",
            "Both factors must have the same levels.",
        )
    if order and unknown:
        raise FormulaError(
            f"{unknown[0]!r} is not a level of the factor beside {symbol}.",
            f"Its levels are {', '.join(levels[:10])}.",
            near(unknown[0], levels),
        )
    position = {text: float(i) for i, text in enumerate([*levels, *unknown])}
    a, b = (
        np.array([position[t] for t in f.levels] + [np.nan])[f.codes] for f in factors
    )
    return a, b


def conjunction(x: Value, y: Value) -> Value:
    """R's ``&``: FALSE & NA is FALSE."""
    (p, q), (a, b) = _logical_pair("&", x, y)
    return from_logical(p & q, (a | b) & (p | a) & (q | b))


def disjunction(x: Value, y: Value) -> Value:
    """R's ``|``: TRUE | NA is TRUE."""
    (p, q), (a, b) = _logical_pair("|", x, y)
    return from_logical(p | q, (a | b) & ~p & ~q)


def _logical_pair(symbol: str, x: Value, y: Value) -> tuple[list[Any], list[Any]]:
    (p, a), (q, b) = as_logical(x), as_logical(y)
    return aligned(symbol, p, q), aligned(symbol, a, b)


def negation(x: Value) -> Value:
    """R's ``!``."""
    truth, absent = as_logical(required(x, "!"))
    return from_logical(~truth & ~absent, absent)
