"""Operators and elementwise functions, with R's types and missing values.

Every function takes and returns values of `lme.formula.values` and remembers
nothing. A domain problem such as ``log(-1)`` gives NaN without a warning: the
caller counts the rows lost.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from lme.errors import FormulaError, near
from lme.formula.arguments import number, required, switch, whole
from lme.formula.values import (
    Factor,
    Matrix,
    Value,
    as_double,
    as_factor,
    as_logical,
    as_value,
    describe,
    from_logical,
    is_text,
    label,
    missing,
    object_kind,
)

MAX_SEQUENCE = 1_000_000


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
        with np.errstate(all="ignore"):
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
        x, y = required(x, symbol), required(y, symbol, "the right operand")
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


ELEMENTWISE: dict[str, Callable[..., NDArray[Any]]] = {
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "exp": np.exp,
    "expm1": np.expm1,
    "sqrt": np.sqrt,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "floor": np.floor,
    "ceiling": np.ceil,
    "trunc": np.trunc,
    "plogis": expit,
    "qlogis": logit,
}


def elementwise(name: str) -> Callable[..., Value]:
    """The function of a NumPy ufunc, computing in double."""
    compute = ELEMENTWISE[name]

    def call(x: Value) -> Value:
        numbers = as_double(required(x, name), f"The argument of {name}()")
        with np.errstate(all="ignore"):
            return rewrap(compute(numbers), x)

    return call


def logarithm(x: Value, base: Value = None) -> Value:
    """R's ``log(x, base = exp(1))``."""
    numbers = as_double(required(x, "log"), "The argument of log()")
    with np.errstate(all="ignore"):
        if base is None:
            return rewrap(np.log(numbers), x)
        divisor = number(base, "log", "base", np.e)
        if divisor in (2.0, 10.0):
            exact = np.log2 if divisor == 2 else np.log10
            return rewrap(exact(numbers), x)
        return rewrap(np.log(numbers) / np.log(divisor), x)


def absolute(x: Value) -> Value:
    """R's ``abs``, which keeps integers."""
    return rewrap(np.abs(numeric(required(x, "abs"), "The argument of abs()")), x)


def sign(x: Value) -> Value:
    """R's ``sign``."""
    numbers = as_double(required(x, "sign"), "The argument of sign()")
    return rewrap(np.sign(numbers), x)


def rounded(x: Value, digits: Value = None) -> Value:
    """R's ``round``: to the nearer of two decimals, ties to the even one.

    Notes
    -----
    With digits d the candidates are floor(x 10^d) / 10^d and the one above; the
    one nearer to x as a double wins, so that ``round(0.15, 1)`` is 0.1: the
    double 0.15 is below its decimal text.
    """
    numbers = numeric(required(x, "round"), "The argument of round()")
    places = whole(digits, "round", "digits", 0)
    if numbers.dtype.kind == "i" and digits is None:
        return rewrap(numbers, x)
    numbers = numbers.astype(np.float64, copy=False)
    if places == 0 or abs(places) > 300:
        return rewrap(np.round(numbers) if places <= 0 else numbers, x)
    power = 10.0 ** abs(places)
    with np.errstate(all="ignore"):
        scaled = numbers * power if places > 0 else numbers / power
        low, high = np.floor(scaled), np.ceil(scaled)
        below, above = (low / power, high / power)
        if places < 0:
            below, above = (low * power, high * power)
        down, up = numbers - below, above - numbers
        lower = (down < up) | ((down == up) & (low % 2 == 0))
        result = np.where(lower, below, above)
    # Beyond 2^53 there are no decimals left to round.
    return rewrap(np.where(np.abs(scaled) < 2.0**53, result, numbers), x)


def parallel(name: str) -> Callable[..., Value]:
    """R's ``pmin`` and ``pmax`` over any number of vectors."""
    exact, ignoring = {
        "pmin": (np.minimum, np.fmin),
        "pmax": (np.maximum, np.fmax),
    }[name]

    def call(vectors: tuple[Value, ...], na_rm: Value = None) -> Value:
        compute = ignoring if switch(na_rm, name, "na.rm", False) else exact
        arrays = [numeric(v, f"An argument of {name}()") for v in vectors]
        if not arrays:
            raise FormulaError(f"{name}() was called without arguments.")
        arrays = aligned(f"{name}()", *arrays)
        result = arrays[0]
        for array in arrays[1:]:
            result = compute(result, array)
        return rewrap(result, *vectors)

    return call


def if_else(test: Value, yes: Value, no: Value) -> Value:
    """R's ``ifelse(test, yes, no)``: missing where the test is missing."""
    for branch in (yes, no):
        if not isinstance(branch, np.ndarray):
            raise FormulaError(
                f"A branch of ifelse() is {describe(branch)}.",
                "Numbers, strings or logical values were expected.",
                "Compare a factor with its labels instead.",
            )
    truth, absent = as_logical(required(test, "ifelse", "test"))
    first, second = common_type((yes, no))
    first, second, truth, absent = aligned("ifelse()", first, second, truth, absent)
    # R's result has the length of the test, even where a branch is longer.
    if len(truth) == 1 and max(len(first), len(second)) > 1:
        first, second = first[:1], second[:1]
    return with_missing(np.where(truth, first, second), absent)


def with_missing(x: NDArray[Any], absent: NDArray[np.bool_]) -> NDArray[Any]:
    """A vector with more of its elements missing."""
    if not absent.any():
        return x
    if x.dtype.kind == "f":
        return np.where(absent, np.nan, x)
    return np.where(absent, None, x.astype(object))


def common_type(values: tuple[Value, ...]) -> list[NDArray[Any]]:
    """Vectors coerced as R does: logical < integer < double < character."""
    vectors: list[NDArray[Any]] = []
    order = ["logical", "integer", "double", "character"]
    highest = 0
    for value in values:
        if isinstance(value, Matrix):
            value = value.values.ravel(order="F")
        if not isinstance(value, np.ndarray):
            raise FormulaError(
                f"c() or ifelse() got {describe(value)}.",
                "Numbers, strings or logical values were expected.",
            )
        kinds = {"b": "logical", "i": "integer", "f": "double"}
        kind = kinds.get(value.dtype.kind) or object_kind(value)[0]
        highest = max(highest, order.index(kind))
        vectors.append(value)
    target = order[highest]
    if target == "character":
        return [_as_strings(v) for v in vectors]
    if target == "double":
        return [as_double(v) for v in vectors]
    if any(v.dtype.kind == "O" for v in vectors):
        scalar = bool if target == "logical" else int
        return [
            np.array([None if e is None else scalar(e) for e in v], dtype=object)
            for v in vectors
        ]
    return [v.astype(bool if target == "logical" else np.int64) for v in vectors]


def _as_strings(x: NDArray[Any]) -> NDArray[Any]:
    texts = [None if m else label(e) for e, m in zip(x, missing(x), strict=True)]
    return np.array(texts, dtype=object)


def combine(values: tuple[Value, ...]) -> Value:
    """R's ``c``: one vector of the widest type among the arguments."""
    present = tuple(v for v in values if v is not None)
    if not present:
        return None
    joined = np.concatenate(common_type(present))
    return as_value(joined) if joined.dtype.kind == "O" else joined


def sequence(start: Value, end: Value) -> Value:
    """R's ``from:to`` for numbers; for two factors their interaction."""
    a, b = number(start, ":", "from", np.nan), number(end, ":", "to", np.nan)
    if not (np.isfinite(a) and np.isfinite(b)) or abs(b - a) >= MAX_SEQUENCE:
        raise FormulaError("A sequence must have finite ends and at most 1e6 elements.")
    steps = np.arange(int(abs(b - a) + 1e-10) + 1)
    values = a + (steps if a <= b else -steps)
    return values.astype(np.int64) if a == int(a) else values


def seq(
    start: Value = None, to: Value = None, by: Value = None, length: Value = None
) -> Value:
    """R's ``seq(from, to, by, length.out)``."""
    begin = number(start, "seq", "from", 1.0)
    if to is None and by is None and length is None:
        return sequence(np.array([1.0]), np.array([begin]))
    if by is None and length is None:
        return sequence(np.array([begin]), to)
    count = whole(length, "seq", "length.out", -1)
    step = number(by, "seq", "by", 1.0)
    if to is not None and length is not None:
        if not 1 <= count <= MAX_SEQUENCE:
            raise FormulaError(f"seq() was asked for {count} elements.")
        end = number(to, "seq", "to", np.nan)
        return np.linspace(begin, end if count > 1 else begin, count)
    if to is not None:
        span = number(to, "seq", "to", np.nan) - begin
        if not step or not np.isfinite(span / step) or span / step < 0:
            raise FormulaError("seq() cannot reach its end with this 'by'.")
        count = int(min(span / step + 1e-10, MAX_SEQUENCE)) + 1
    if not 1 <= count <= MAX_SEQUENCE:
        raise FormulaError("A sequence must have between 1 and 1e6 elements.")
    values = begin + np.arange(count) * step
    if to is not None:
        end = number(to, "seq", "to", np.nan)
        values = np.minimum(values, end) if step > 0 else np.maximum(values, end)
    return values


def is_member(x: Value, table: Value) -> Value:
    """R's ``x %in% table``, never missing unless the table holds a missing one."""
    left, right = as_factor(required(x, "%in%")), as_factor(required(table, "%in%"))
    known = set(right.levels)
    inside = np.array([t in known for t in left.levels] + [(right.codes < 0).any()])
    return np.asarray(inside[left.codes], dtype=bool)


def is_missing(x: Value) -> Value:
    """R's ``is.na``."""
    return missing(required(x, "is.na"))


def identity(x: Value) -> Value:
    """R's ``I``, ``offset`` and parentheses: the value itself."""
    return required(x, "I")


def bind_columns(values: tuple[Value, ...], names: tuple[str, ...] = ()) -> Value:
    """R's ``cbind`` of numbers.

    Parameters
    ----------
    values : tuple of Value
        Vectors and matrices.
    names : tuple of str
        For each of them its tag, or the name when it is a bare name, or "".
    """
    if not values:
        raise FormulaError("cbind() was called without arguments.")
    names = names or ("",) * len(values)
    arrays = [as_double(v, "An argument of cbind()") for v in values]
    length = max(map(len, arrays))
    columns: list[NDArray[np.float64]] = []
    labels: list[str] = []
    for value, array, name in zip(values, arrays, names, strict=True):
        if len(array) not in (1, length):
            raise FormulaError(
                f"cbind() got columns of {len(array)} and {length} rows.",
                "All columns must have the same length.",
            )
        block = array[:, None] if array.ndim == 1 else array
        columns.append(np.broadcast_to(block, (length, block.shape[1])))
        if isinstance(value, Matrix):
            labels.extend(value.columns or ("",) * block.shape[1])
        else:
            labels.append(name)
    return Matrix(np.hstack(columns), tuple(labels) if any(labels) else None)
