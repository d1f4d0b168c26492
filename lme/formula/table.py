"""Data of any kind as named columns of formula values; never changed.

A pandas frame is read directly. Everything else that narwhals knows (polars,
pyarrow, modin, ...) and plain mappings of arrays become the same values.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lme.errors import DataError, DataTypeError
from lme.formula.values import (
    Factor,
    Value,
    as_value,
    label,
    rows,
    take,
    whole_numbers,
)


class Table:
    """Columns of a data set, each converted once and only when asked for.

    Parameters
    ----------
    data : DataFrame, mapping of arrays, or a frame that narwhals reads
        The data set.

    Raises
    ------
    DataTypeError
        When `data` is none of these.
    DataError
        When columns have different lengths.
    """

    def __init__(self, data: Any) -> None:
        self._values: dict[str, Value] = {}
        self._refused: dict[str, DataTypeError] = {}
        self._dates: set[str] = set()
        self._frame: Any = None
        self._index: pd.Index[Any] | None = None
        if isinstance(data, Table):
            raise DataTypeError("The data are a Table already.")
        if isinstance(data, pd.DataFrame):
            self._read_pandas(data)
        elif isinstance(data, Mapping):
            self._read_mapping(data)
        elif isinstance(data, np.ndarray) and data.dtype.names:
            self._read_mapping({name: data[name] for name in data.dtype.names})
        else:
            self._read_narwhals(data)

    def _read_pandas(self, data: pd.DataFrame) -> None:
        if data.columns.nlevels > 1:
            raise DataTypeError(
                "The columns of the data have several levels.",
                "Expected one name for each column.",
                "Flatten them, such as with df.columns = df.columns.map('_'.join).",
            )
        self._frame = data
        self._index = data.index
        self.nrow = len(data)
        names = data.columns.tolist()
        self._lookup = {
            name if isinstance(name, str) else str(name): name for name in names
        }
        self._doubled = set() if len(self._lookup) == len(names) else _doubled(names)

    def _read_mapping(self, data: Mapping[Any, Any]) -> None:
        for name, column in data.items():
            try:
                self._values[str(name)] = self._convert(str(name), _plain(column))
            except DataTypeError as error:
                # Raised when the column is asked for, as with a data frame.
                self._refused[str(name)] = _bad_column(str(name), error)
        if self._refused and not self._values:
            raise next(iter(self._refused.values()))
        lengths = {name: rows(value) for name, value in self._values.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(
                "The columns of the data have different lengths: "
                + ", ".join(f"{k} {v}" for k, v in list(lengths.items())[:8])
                + ".",
                "Expected arrays of one length.",
            )
        self.nrow = next(iter(lengths.values()), 0)
        self._lookup = {str(name): str(name) for name in data}
        self._doubled = set()

    def _read_narwhals(self, data: Any) -> None:
        import narwhals as nw

        if type(data).__module__.startswith("pyarrow") and hasattr(data, "schema"):
            data = _table_of(data)
        try:
            frame = nw.from_native(data, eager_only=True)
        except TypeError as error:
            lazy = hasattr(data, "collect")
            raise DataTypeError(
                f"The data are of type {type(data).__name__}.",
                "Expected a pandas, polars or pyarrow table, or a dict of arrays.",
                "Call .collect() first." if lazy else "",
            ) from error
        self._frame = frame
        self.nrow = len(frame)
        self._lookup = {name: name for name in frame.columns}
        self._doubled = set()

    def part(self, start: int, stop: int) -> Table:
        """The rows from `start` to before `stop`, of which nothing is copied yet."""
        piece = copy.copy(self)
        chosen = slice(start, stop)
        piece.nrow = len(range(*chosen.indices(self.nrow)))
        piece._dates = set(self._dates)
        piece._values = {}
        if isinstance(self._frame, pd.DataFrame):
            piece._frame = self._frame.iloc[chosen]
        elif self._frame is not None:
            piece._frame = self._frame[chosen]
        else:
            piece._values = {k: take(v, chosen) for k, v in self._values.items()}
        if self._index is not None:
            piece._index = self._index[chosen]
        return piece

    @property
    def columns(self) -> list[str]:
        """Names of all columns, in order."""
        if self._doubled:
            self._refuse_doubled(min(self._doubled))
        return list(self._lookup)

    @property
    def index(self) -> pd.Index[Any]:
        """Labels of the rows: those of pandas, else 0, 1, ..."""
        return pd.RangeIndex(self.nrow) if self._index is None else self._index

    def __contains__(self, name: object) -> bool:
        return name in self._lookup

    def __getitem__(self, name: str) -> Value:
        """The column `name` as a formula value.

        Raises
        ------
        DataError
            When several columns have that name.
        DataTypeError
            When it holds neither numbers, strings, bools nor categories.
        """
        value = self._values.get(name)
        if value is not None:
            return value
        if name in self._doubled:
            self._refuse_doubled(name)
        if name in self._refused:
            raise self._refused[name]
        try:
            if isinstance(self._frame, pd.DataFrame):
                value = self._convert(name, self._frame[self._lookup[name]])
            else:
                value = self._convert(name, self._frame.get_column(name))
        except DataTypeError as error:
            raise _bad_column(name, error) from error
        self._values[name] = value
        return value

    def _convert(self, name: str, column: Any) -> Value:
        if _is_date(getattr(column, "dtype", None)):
            self._dates.add(name)
            return _from_dates(column)
        if isinstance(column, pd.Series):
            return _from_series(column)
        if hasattr(column, "to_native"):
            return _from_narwhals(column)
        return as_value(column)

    def refuse_date(self, name: str) -> None:
        """Raise DataTypeError if the column `name` holds dates or times.

        Dates may group rows; as numbers they would need a unit.
        """
        if name in self._dates:
            raise DataTypeError(
                f"The column {name!r} holds dates or times.",
                "Expected numbers, strings, bools or categories; dates may group"
                " rows on the right of a bar.",
                "Make a number of it, such as the days since the first date.",
            )

    def _refuse_doubled(self, name: str) -> None:
        raise DataError(
            f"The data have more than one column named {name!r}.",
            "Column names must be different from each other.",
            "Rename the columns.",
        )


def _table_of(data: Any) -> Any:
    """A record batch of pyarrow as a table; anything else as it is."""
    import pyarrow as pa

    return pa.Table.from_batches([data]) if isinstance(data, pa.RecordBatch) else data


def _doubled(names: list[Any]) -> set[str]:
    seen: set[str] = set()
    doubled: set[str] = set()
    for name in map(str, names):
        (doubled if name in seen else seen).add(name)
    return doubled


def _bad_column(name: str, error: DataTypeError) -> DataTypeError:
    return DataTypeError(
        f"The column {name!r} cannot be used. {error.found}",
        error.expected,
        error.remedy,
    )


def _plain(column: Any) -> Any:
    """A column of a mapping as a Series where it is one, else as NumPy knows it."""
    if isinstance(column, pd.Series | Factor):
        return column
    if isinstance(column, pd.MultiIndex):
        raise DataTypeError(
            "It is an index of several levels.", "Expected one value for each row."
        )
    if isinstance(column, pd.api.extensions.ExtensionArray | pd.Index):
        return pd.Series(column)
    if isinstance(column, list | tuple):
        # NumPy would turn a NaN among strings into the string "nan".
        entries = np.empty(len(column), dtype=object)
        entries[:] = column
        return entries
    if isinstance(column, np.ma.MaskedArray) and column.ndim == 1:
        # NumPy's functions look below the mask.
        entries = column.data.astype(object)
        entries[np.ma.getmaskarray(column)] = None
        return entries
    if isinstance(column, np.ndarray):
        return pd.Series(column) if column.dtype.kind in "mM" else column
    if hasattr(column, "to_numpy"):
        return column.to_numpy()
    if np.ndim(column) == 0:
        raise DataTypeError(
            f"It is a single {type(column).__name__}.", "Expected an array."
        )
    return column


def _is_date(dtype: Any) -> bool:
    if isinstance(dtype, np.dtype):
        return dtype.kind in "mM"
    if isinstance(dtype, pd.DatetimeTZDtype | pd.PeriodDtype):
        return True
    if isinstance(dtype, pd.api.extensions.ExtensionDtype):
        return dtype.kind in "mM"
    is_temporal = getattr(dtype, "is_temporal", None)
    return is_temporal is not None and bool(is_temporal())


def _from_dates(series: Any) -> Factor:
    """Dates as categories in their order, labelled as pandas writes them."""
    if not isinstance(series, pd.Series):
        series = pd.Series(series.to_list())
    codes, distinct = pd.factorize(series, sort=True)
    return Factor(
        codes.astype(np.intp), tuple(map(str, pd.Series(distinct).astype(str)))
    )


def _from_series(series: pd.Series[Any]) -> Value:
    dtype = series.dtype
    if isinstance(dtype, np.dtype):
        kind = dtype.kind
        if kind == "f":
            return series.to_numpy().astype(np.float64, copy=False)
        if kind in "iu":
            return whole_numbers(series.to_numpy())
        if kind == "b":
            return series.to_numpy()
        return _checked(series.to_numpy())
    if isinstance(dtype, pd.CategoricalDtype):
        return _from_categorical(series.array)
    return _from_extension(series)


def _from_categorical(array: Any) -> Factor:
    levels = array.categories.tolist()
    if not all(type(level) is str for level in levels):
        levels = [label(level) for level in levels]
    codes = array.codes.astype(np.intp)
    return Factor(codes, tuple(levels), bool(array.ordered))


def _from_extension(series: pd.Series[Any]) -> Value:
    """Nullable, string, sparse and Arrow columns."""
    kind = getattr(series.dtype, "kind", "O")
    if kind == "f":
        return np.asarray(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if kind == "b" and not series.hasnans:
        return np.asarray(series.to_numpy(dtype=bool))
    if kind in "iu" and not series.hasnans:
        return whole_numbers(series.to_numpy(dtype=f"{kind}8"))
    if kind in "iub":
        return as_value(_objects(series))
    return _checked(_objects(series))


def _objects(series: pd.Series[Any]) -> NDArray[Any]:
    """The entries as Python objects, None where missing."""
    values = np.array(series.to_numpy(dtype=object), dtype=object)
    values[series.isna().to_numpy()] = None
    return values


def _from_narwhals(series: Any) -> Value:
    import narwhals as nw

    dtype = series.dtype
    if dtype in (nw.Categorical, nw.Enum):
        return _from_categories(series)
    if dtype.is_numeric() and series.null_count() == 0:
        numbers = np.asarray(series.to_numpy())
        if dtype.is_integer():
            return whole_numbers(numbers)
        return numbers.astype(np.float64)
    if dtype.is_float() or dtype.is_decimal():
        return np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
    if dtype == nw.Boolean and series.null_count() == 0:
        return np.asarray(series.to_numpy()).astype(bool)
    return _checked(np.array(series.to_list(), dtype=object))


def _from_categories(series: Any) -> Value:
    """Categories in the order that the data give them.

    A polars ``Categorical`` gives none, so that it counts as text.
    """
    texts = np.array(series.to_list(), dtype=object)
    native = series.to_native()
    levels = getattr(series.dtype, "categories", None)
    if levels is None and hasattr(native, "unify_dictionaries"):
        chunks = native.unify_dictionaries().chunks
        levels = chunks[0].dictionary.to_pylist() if chunks else []
    elif levels is None and not hasattr(native, "to_physical"):
        levels = series.cat.get_categories().to_list()
    if levels is None:
        return _checked(texts)
    ordered = bool(getattr(getattr(native, "type", None), "ordered", False))
    position = {level: i for i, level in enumerate(levels)} | {None: -1}
    codes = np.fromiter((position[text] for text in texts), np.intp, len(texts))
    return Factor(codes, tuple(map(label, levels)), ordered)


def _checked(values: NDArray[Any]) -> Value:
    if values.dtype.kind == "c":
        raise DataTypeError("It holds complex numbers.", "Expected real numbers.")
    return as_value(values)
