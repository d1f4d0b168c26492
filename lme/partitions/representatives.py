"""Rows that stand for all others: the distinct values of variables, over partitions.

What a formula makes of categories depends on which occur, not on how often. So a
design is laid out from the distinct values alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError
from lme.formula.values import (
    Factor,
    Matrix,
    Value,
    missing,
    object_kind,
    rows,
    take,
)

Codes = NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Representative:
    """Rows of one or several variables that stand for those of some partitions.

    Attributes
    ----------
    values : dict of str to Value
        Variables by their text, all of one length.
    first : int
        Number of the first partition that has any of the rows; -1 for none.
    """

    values: dict[str, Value]
    first: int

    def __len__(self) -> int:
        return rows(next(iter(self.values.values())))


def distinct(values: Mapping[str, Value], number: int) -> Representative:
    """The rows that differ from all before them, in their order.

    Parameters
    ----------
    values : mapping of str to Value
        Vectors or factors of one length. A missing value is a value of its own.
    number : int
        Of the partition.
    """
    count = rows(next(iter(values.values())))
    key = np.zeros(count, dtype=np.int64)
    for value in values.values():
        codes, size = _codes(value)
        if int(key.max(initial=0)) * (size + 1) >= 2**62:
            key = pd.factorize(key)[0].astype(np.int64)
        key = key * size + codes
    # The first occurrences, in the order of the rows.
    chosen = np.flatnonzero(~pd.Series(key).duplicated().to_numpy())
    kept = {name: take(value, chosen) for name, value in values.items()}
    return Representative(kept, number if count else -1)


def first_row(values: Mapping[str, Value], number: int) -> Representative:
    """One row, which shows of what kind the variables are."""
    count = rows(next(iter(values.values())))
    # Positions and not a slice: a view would hold the whole column.
    first = np.arange(min(count, 1))
    kept = {name: take(value, first) for name, value in values.items()}
    return Representative(kept, number if count else -1)


def merged(a: Representative, b: Representative, whole: bool = True) -> Representative:
    """Rows that stand for those of both, the first ones first.

    Parameters
    ----------
    a, b : Representative
        Of the same variables.
    whole : bool
        Whether all distinct rows are wanted; one otherwise.

    Raises
    ------
    DataTypeError
        If a variable is of different kinds in the two.
    """
    if b.first < 0:
        return a
    if a.first < 0:
        return b
    joined = {
        name: _joined(name, value, b.values[name], (a.first, b.first))
        for name, value in a.values.items()
    }
    make = distinct if whole else first_row
    return make(joined, a.first)


def _codes(value: Value) -> tuple[NDArray[np.int64], int]:
    """A number from 0 for each distinct value, and a bound of these."""
    if isinstance(value, Factor):
        return value.codes.astype(np.int64) + 1, len(value.levels) + 1
    if isinstance(value, Matrix):
        frame = pd.DataFrame(value.values)
        groups = frame.groupby(list(frame.columns), dropna=False, sort=False)
        return np.asarray(groups.ngroup(), dtype=np.int64), len(frame) + 1
    codes, found = pd.factorize(np.asarray(value), use_na_sentinel=True)
    return np.asarray(codes, dtype=np.int64) + 1, len(found) + 1


def kind_of(value: Value) -> str:
    """What a value holds, in a word of the user's; empty where all are missing."""
    if isinstance(value, Factor):
        return "categories"
    if isinstance(value, Matrix):
        return f"{value.values.shape[1]} columns"
    array = np.asarray(value)
    if array.dtype.kind == "O":
        if missing(array).all():
            return ""
        words = {"character": "text", "logical": "bools"}
        return words.get(object_kind(array)[0], "numbers")
    return {"b": "bools"}.get(array.dtype.kind, "numbers")


def _joined(name: str, a: Value, b: Value, where: tuple[int, int]) -> Value:
    kinds = kind_of(a), kind_of(b)
    if kinds[0] != kinds[1] and all(kinds):
        raise DataTypeError(
            f"{name} holds {kinds[0]} in partition {where[0]} and {kinds[1]} in "
            f"partition {where[1]}.",
            "Expected one type of values in all partitions.",
            "Convert the column, as with ddf.assign(...) or astype, before it is used.",
        )
    if isinstance(a, Factor) and isinstance(b, Factor):
        return _joined_factors(name, a, b, where)
    if isinstance(a, Matrix) and isinstance(b, Matrix):
        return Matrix(np.concatenate([a.values, b.values]), a.columns)
    first, second = np.asarray(a), np.asarray(b)
    if "O" in (first.dtype.kind, second.dtype.kind):
        both = [first.astype(object), second.astype(object)]
        return np.concatenate(both)
    return np.concatenate([first, second])


def _joined_factors(name: str, a: Factor, b: Factor, where: tuple[int, int]) -> Factor:
    if a.levels == b.levels:
        both = np.concatenate([a.codes, b.codes])
        return Factor(both, a.levels, a.ordered, a.contrasts)
    if a.ordered or b.ordered:
        raise DataError(
            f"The ordered categories of {name} differ between the partitions "
            f"{where[0]} and {where[1]}.",
            "Expected the same categories in the same order everywhere.",
            "Set them with ddf[name].astype(pd.CategoricalDtype([...], ordered=True)).",
        )
    position = {text: i for i, text in enumerate(a.levels)}
    levels = list(a.levels)
    for text in b.levels:
        if text not in position:
            position[text] = len(levels)
            levels.append(text)
    moved = np.array([*(position[text] for text in b.levels), -1], dtype=np.intp)
    codes = np.concatenate([a.codes, moved[b.codes]])
    return Factor(codes, tuple(levels), contrasts=a.contrasts)
