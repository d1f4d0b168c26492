"""The values that a formula computes with: vectors, factors and matrices.

R's vector types are NumPy arrays here, told apart by their dtype:

=====================  ====================================================
R                      here
=====================  ====================================================
double                 float64 array, NaN missing
integer                int64 array; with missing values an object array of
                       ``int`` and None
logical                bool array; with missing values an object array of
                       True, False and None
character              object array of ``str`` and None
factor                 `Factor`
matrix                 `Matrix`
``contr.sum`` unquoted `ContrastFunction`
NULL                   None
=====================  ====================================================

A scalar is an array of length one, as in R.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataTypeError, FormulaError
from lme.formula.levels import format_number as format_number
from lme.formula.levels import label as label
from lme.formula.levels import levels_and_codes, without_missing
from lme.formula.levels import object_kind as object_kind


@dataclass(frozen=True, slots=True)
class Factor:
    """A categorical variable.

    Parameters
    ----------
    codes : ndarray of intp, shape (n,)
        0-based position in `levels` of each row, -1 where missing.
    levels : tuple of str
        Labels, in order.
    ordered : bool
        Whether the levels have an order, which selects polynomial contrasts.
    contrasts : str, tuple or None
        Coding asked for by ``C()``: the name of a contrast function, or a
        matrix of shape (k, m) with its m column names. None means the default.
    """

    codes: NDArray[np.intp]
    levels: tuple[str, ...]
    ordered: bool = False
    contrasts: str | tuple[NDArray[np.float64], tuple[str, ...]] | None = None

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[Any] | slice) -> Factor:
        """The rows selected by a mask, positions or a slice, with all levels."""
        return replace(self, codes=self.codes[rows])

    def drop_unused(self) -> Factor:
        """The same factor without the levels that no row has.

        Contrasts of its own are lost when a level goes, as in R.
        """
        counts = np.bincount(self.codes + 1, minlength=len(self.levels) + 1)[1:]
        used = np.flatnonzero(counts)
        if len(used) == len(self.levels):
            return self
        position = np.full(len(self.levels) + 1, -1, dtype=np.intp)
        position[used] = np.arange(len(used))
        levels = tuple(self.levels[i] for i in used)
        return Factor(position[self.codes], levels, self.ordered)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Several numeric columns that are one variable, such as ``poly(x, 2)``.

    Parameters
    ----------
    values : ndarray of float64, shape (n, k)
        The columns.
    columns : tuple of str or None
        Their names; None numbers them from 1. A matrix of one column adds
        nothing to the variable's name, whatever stands here.
    """

    values: NDArray[np.float64]
    columns: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True, slots=True)
class ContrastFunction:
    """A contrast function named but not called, as in ``C(f, contr.sum)``."""

    name: str


Value: TypeAlias = "NDArray[Any] | Factor | Matrix | ContrastFunction | None"


def as_value(x: Any) -> Value:
    """A Python scalar, sequence, array or series as a formula value.

    Used for literals and for what the user hands over in ``context``.

    Parameters
    ----------
    x : object
        A number, string, bool, None, list, array or pandas object, or already
        a value.

    Raises
    ------
    DataTypeError
        If `x` cannot stand in a formula.
    """
    if x is None or isinstance(x, (Factor, Matrix, ContrastFunction)):
        return x
    if isinstance(x, pd.Series):
        x = x.array
    if isinstance(x, pd.Categorical):
        codes = np.asarray(x.codes, dtype=np.intp)
        return Factor(codes, tuple(map(label, x.categories)), bool(x.ordered))
    if isinstance(x, pd.DataFrame):
        return Matrix(x.to_numpy(dtype=np.float64), tuple(map(str, x.columns)))
    if isinstance(x, pd.api.extensions.ExtensionArray):
        return _from_objects(np.asarray(x, dtype=object))
    try:
        array = np.atleast_1d(np.asarray(x))
    except ValueError:  # lists of unequal lengths
        array = np.empty((0, 0, 0))
    if array.ndim == 2 and array.dtype.kind in "biuf":
        return Matrix(array.astype(np.float64))
    if array.ndim == 1:
        if array.dtype.kind == "b":
            return array
        if array.dtype.kind in "iu":
            return whole_numbers(array)
        if array.dtype.kind == "f":
            return array.astype(np.float64)
        if array.dtype.kind in "UTO":
            # A list of strings and None becomes object; numbers beside strings
            # would have been turned into strings by NumPy.
            return _from_objects(np.atleast_1d(np.array(x, dtype=object)))
    raise DataTypeError(
        f"A value of type {type(x).__name__} cannot stand in a formula.",
        "Numbers, strings, bools and one-dimensional arrays of them can.",
    )


def _from_objects(x: NDArray[np.object_]) -> NDArray[Any]:
    """An object array as the narrowest of the types in this module's table."""
    kind, missing = object_kind(x)
    if kind == "integer" and not missing.all():
        _check_range(min(x[~missing]), max(x[~missing]))
    if kind == "double":
        return without_missing(x, missing).astype(np.float64)
    if missing.any():
        result = x.copy()
        result[missing] = None
        return result
    dtypes: dict[str, Any] = {"logical": bool, "integer": np.int64}
    return x.astype(dtypes.get(kind, object))


def whole_numbers(x: NDArray[Any]) -> NDArray[np.int64]:
    """An array of integers as int64.

    Raises
    ------
    DataTypeError
        For unsigned integers that do not fit: they would turn negative, and as
        floating-point numbers different ones would be equal.
    """
    if x.dtype.kind == "u" and x.dtype.itemsize == 8 and x.size:
        _check_range(0, int(x.max()))
    return x.astype(np.int64, copy=False)


def _check_range(low: int, high: int) -> None:
    limits = np.iinfo(np.int64)
    if low < limits.min or high > limits.max:
        raise DataTypeError(
            f"It holds the whole number {low if low < limits.min else high}.",
            "Whole numbers of at most 64 bits with a sign were expected.",
            "Make strings of them where they name groups, as with .astype(str), or"
            " floating-point numbers where they measure.",
        )


def as_factor(value: Value) -> Factor:
    """A vector as a factor, with R's levels.

    Parameters
    ----------
    value : ndarray or Factor
        Numbers are sorted by size and strings by code point; False comes
        before True.

    Returns
    -------
    Factor
        Numbers whose 15-digit texts agree share a level.

    Examples
    --------
    >>> as_factor(np.array([0.5, 1e5, 0.5])).levels
    ('0.5', '1e+05')
    >>> as_factor(np.array([True, False])).codes
    array([1, 0])
    """
    if isinstance(value, Factor):
        return value
    value = as_vector(value)
    if not isinstance(value, np.ndarray):
        raise FormulaError(
            f"{describe(value)} cannot be made a factor.",
            "A factor is made from a vector of numbers, strings or bools.",
        )
    if value.dtype.kind not in "bifO":
        return as_factor(as_value(value))
    return Factor(*levels_and_codes(value))


def missing(value: Value) -> NDArray[np.bool_]:
    """Which rows of a value are missing, shape (n,); a matrix row in any column."""
    if isinstance(value, Factor):
        return value.codes < 0
    if isinstance(value, Matrix):
        return np.asarray(np.isnan(value.values).any(axis=1))
    if not isinstance(value, np.ndarray) or value.dtype.kind in "bi":
        return np.zeros(rows(value), dtype=bool)
    return np.asarray(np.isnan(value) if value.dtype.kind == "f" else pd.isna(value))


def rows(value: Value) -> int:
    """The number of rows; 0 for a function or NULL."""
    return len(value) if isinstance(value, (np.ndarray, Factor, Matrix)) else 0


def take(value: Value, selected: NDArray[Any] | slice) -> Value:
    """The rows of a value selected by a mask, by positions or by a slice."""
    if isinstance(value, Factor):
        return value.take(selected)
    if isinstance(value, Matrix):
        return Matrix(value.values[selected], value.columns)
    return value[selected] if isinstance(value, np.ndarray) else value


def as_double(value: Value, what: str = "The argument") -> NDArray[np.float64]:
    """A numeric or logical value as float64, shape (n,) or (n, k) for a matrix.

    Parameters
    ----------
    value : Value
        The value to convert; True is 1 and missing is NaN.
    what : str
        Subject of the sentence when it cannot be converted.

    Raises
    ------
    FormulaError
        For a factor, strings or a function.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "fib":
            return value.astype(np.float64, copy=False)
        if value.dtype.kind == "O" and object_kind(value)[0] != "character":
            return np.where(pd.isna(value), np.nan, value).astype(np.float64)
    elif isinstance(value, Matrix):
        return value.values
    raise FormulaError(
        f"{what} is {describe(value)}.",
        "A number was expected.",
        "Use factor(...) for categories and numbers for arithmetic.",
    )


def as_vector(value: Value) -> Value:
    """A matrix of one column as a vector; any other value as it is."""
    if not isinstance(value, Matrix):
        return value
    if value.values.shape[1] != 1:
        raise FormulaError(
            f"{describe(value).capitalize()} stands where a vector was expected.",
            remedy="Use its columns one by one.",
        )
    return value.values[:, 0]


def as_logical(value: Value) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """A numeric or logical value as truth values, and where they are missing."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "b":
        return value, np.zeros(len(value), dtype=bool)
    numbers = as_double(as_vector(value), "The operand of a logical operator")
    absent = np.isnan(numbers)
    return (numbers != 0) & ~absent, absent


def from_logical(truth: NDArray[np.bool_], absent: NDArray[np.bool_]) -> NDArray[Any]:
    """Truth values with missing ones as a logical vector of this module."""
    if not absent.any():
        return truth
    result = truth.astype(object)
    result[absent] = None
    return result


def is_text(value: Value) -> bool:
    """Whether a value is a character vector."""
    return (
        isinstance(value, np.ndarray)
        and value.dtype.kind == "O"
        and object_kind(value)[0] == "character"
    )


def describe(value: Value) -> str:
    """What a value is, as the object of a sentence."""
    if isinstance(value, Factor):
        return f"a factor with {len(value.levels)} levels"
    if isinstance(value, Matrix):
        return f"a matrix of {value.values.shape[1]} columns"
    if isinstance(value, ContrastFunction):
        return f"the function contr.{value.name}"
    if value is None:
        return "NULL"
    if is_text(value):
        return f"the string {value[0]!r}" if len(value) == 1 else "a string vector"
    kinds = {"f": "numeric", "i": "integer", "b": "logical"}
    return f"a {kinds.get(value.dtype.kind, 'logical')} vector of length {len(value)}"
