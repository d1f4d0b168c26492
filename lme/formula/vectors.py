"""Functions that choose, join and make vectors: ``ifelse``, ``c``, ``cbind``."""

from __future__ import annotations

from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lme.errors import FormulaError
from lme.formula.arguments import number, required
from lme.formula.arithmetic import aligned
from lme.formula.values import (
    Matrix,
    Value,
    as_double,
    as_factor,
    as_logical,
    as_value,
    describe,
    label,
    missing,
    object_kind,
)

MAX_SEQUENCE = 1_000_000


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
    # A test of one value takes the first of each branch, as in R.
    if len(truth) == 1 and max(len(first), len(second)) > 1:
        first, second = first[:1], second[:1]
    first, second, truth, absent = aligned("ifelse()", first, second, truth, absent)
    result = np.where(truth, first, second)
    return with_missing(result, np.broadcast_to(absent, result.shape))


def with_missing(x: NDArray[Any], absent: NDArray[np.bool_]) -> NDArray[Any]:
    """A vector with more of its elements missing."""
    if not absent.any():
        return x
    result = x.copy() if x.dtype.kind == "f" else x.astype(object)
    result[absent] = np.nan if x.dtype.kind == "f" else None
    return result


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
    if by is None and length is None:
        ends = (1.0, begin) if to is None else (begin, number(to, "seq", "to", np.nan))
        return sequence(*(np.array([end]) for end in ends))
    step = number(by, "seq", "by", 1.0)
    if length is None:
        return _in_steps(begin, number(to, "seq", "to", 1.0), step)
    wanted = number(length, "seq", "length.out", np.nan)
    if not 0 < wanted <= MAX_SEQUENCE:
        raise FormulaError(
            f"seq() was asked for {wanted:g} elements.",
            f"A sequence has between 1 and {MAX_SEQUENCE}.",
        )
    steps = np.arange(ceil(wanted))
    if to is None:
        return begin + step * steps
    end = number(to, "seq", "to", np.nan)
    if start is None:
        return end - step * steps[::-1]
    if by is not None:
        raise FormulaError(
            "seq() got 'from', 'to', 'by' and 'length.out'.",
            "Any three of them determine a sequence.",
            "Leave out one.",
        )
    return np.linspace(begin, end, len(steps))


def _in_steps(begin: float, end: float, step: float) -> NDArray[np.float64]:
    """``begin``, ``begin + step`` and so on, not beyond ``end``."""
    count = (end - begin) / step if step else np.nan
    if not 0 <= count < MAX_SEQUENCE:
        raise FormulaError(
            f"seq() cannot reach {end:g} from {begin:g} in steps of {step:g}.",
            f"A sequence has between 1 and {MAX_SEQUENCE} elements.",
        )
    values = begin + step * np.arange(int(count + 1e-10) + 1)
    return np.clip(values, min(begin, end), max(begin, end))


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
    value: Value = required(x, "I() or offset")
    return value


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
